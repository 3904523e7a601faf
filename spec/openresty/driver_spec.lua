-- How the transfers of an OpenResty worker are driven, without nginx.

local fake_openresty = require "support.fake_openresty"

local world

describe("in OpenResty, the worker", function()
  after_each(function()
    world:remove()
  end)

  local function fake_core()
    local core = { process = 1, sets = 0, threads = 0 }
    core.process_id = function()
      return core.process
    end
    core.transfer_set = function()
      core.sets = core.sets + 1
      return {}
    end
    core.transfer_thread = function()
      core.threads = core.threads + 1
      return {
        listen = function()
          return "/tmp/autopilot-7/wake"
        end,
      }
    end
    return core
  end

  local function threadless_core()
    local core = fake_core()
    core.transfer_thread = function()
      return nil, "no thread can be started"
    end
    return core
  end

  local function assert_polls(driver)
    assert.equal(require "autopilot.openresty.polling", getmetatable(driver.mover))
  end

  it("has one driver, the same on each call", function()
    local core = fake_core()
    world = fake_openresty.install(core)
    local worker = require "autopilot.openresty.worker"
    assert.equal(worker.driver(), worker.driver())
    assert.same({ 1, 0 }, { core.threads, core.sets })
  end)

  it("makes nothing before the first call, and never uses another process's", function()
    local core = fake_core()
    world = fake_openresty.install(core)
    local autopilot = require "autopilot.openresty"
    autopilot.setup { driver = "thread" }
    autopilot.client { token = "secret" }
    assert.same({ 0, 0 }, { core.threads, core.sets })
    local worker = require "autopilot.openresty.worker"
    local of_the_parent = worker.driver()
    core.process = 2
    assert.not_equal(of_the_parent, worker.driver())
    assert.equal(2, core.threads)
  end)

  it("polls if there can be no thread, and logs that once", function()
    local core = threadless_core()
    world = fake_openresty.install(core)
    local worker = require "autopilot.openresty.worker"
    assert_polls(worker.driver())
    assert.equal(worker.driver(), worker.driver())
    assert.same({
      "warn: autopilot: no thread can be started; transfers are polled in the event loop",
    }, world.log)
  end)

  it("reports that nothing was sent if it can have neither thread nor set", function()
    local core = threadless_core()
    core.transfer_set = function()
      error "not enough memory or descriptors"
    end
    world = fake_openresty.install(core)
    local drive = require("autopilot.openresty.worker").drive
    local response, failure = world:call(drive.run, drive)
    assert.is_nil(response)
    assert.same({ "no", "CURLE_FAILED_INIT" }, { failure.delivered, failure.name })
  end)

  it("changes to a thread once that is possible, and logs it", function()
    local core = fake_core()
    local start, tries, works = core.transfer_thread, {}, false
    core.transfer_thread = function()
      tries[#tries + 1] = world.now
      if works then
        return start()
      end
      return nil, "no unix-domain socket can be made"
    end
    world = fake_openresty.install(core)
    local worker = require "autopilot.openresty.worker"
    local polling = worker.driver()
    for _ = 1, 2000 do
      world.now = world.now + 1
      assert.equal(polling, worker.driver())
    end
    -- The times between two tries double, to five minutes.
    assert.is_true(#tries < 20, #tries)
    assert.equal(1, tries[2] - tries[1])
    assert.equal(2, tries[3] - tries[2])
    assert.equal(300, tries[#tries] - tries[#tries - 1])
    works = true
    world.now = world.now + 300
    local thread = worker.driver()
    assert.not_equal(polling, thread)
    world.now = world.now + 1000
    assert.equal(thread, worker.driver())
    assert.equal(1, core.threads)
    assert_polls(polling)
    assert.same({
      "warn: autopilot: no unix-domain socket can be made; transfers are polled in the event loop",
      "notice: autopilot: a helper thread moves the transfers from now on",
    }, world.log)
  end)

  it("does not retry a thread that its build does not have", function()
    local core = fake_core()
    core.transfer_thread = false
    world = fake_openresty.install(core)
    local worker = require "autopilot.openresty.worker"
    local polling = worker.driver()
    core.transfer_thread = function()
      error "there is none"
    end
    world.now = world.now + 1000
    assert.equal(polling, worker.driver())
  end)

  it("makes no thread if polling is chosen", function()
    local core = threadless_core()
    world = fake_openresty.install(core)
    local worker = require "autopilot.openresty.worker"
    worker.driver()
    worker.use "polling"
    core.transfer_thread = function()
      error "it was told to poll"
    end
    worker.driver()
    world.now = world.now + 1000
    worker.driver()
  end)

  it("polls if that is chosen, and logs nothing", function()
    local core = fake_core()
    world = fake_openresty.install(core)
    require("autopilot.openresty").setup { driver = "polling" }
    assert_polls(require("autopilot.openresty.worker").driver())
    assert.equal(0, core.threads)
    assert.same({}, world.log)
  end)
end)
