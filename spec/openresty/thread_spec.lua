-- How light threads wait for the helper thread, and what a failed wait means, without nginx.

local fake_openresty = require "support.fake_openresty"

local world

describe("in OpenResty, the helper thread's driver", function()
  local jobs, behaviour, driver

  --- A thread whose transfers finish at the time in their request.
  local function fake_thread()
    local thread = {}
    function thread.listen()
      return not behaviour.has_no_folder and "/tmp/autopilot-7/wake" or nil
    end
    function thread.add(_, ends, attempt)
      jobs[#jobs + 1] = { ends = ends, attempt = attempt }
      return #jobs
    end
    function thread.take()
      for number, job in ipairs(jobs) do
        if not job.is_gone and world.now >= job.ends then
          job.is_gone = true
          return number,
            {
              result = function()
                return "response " .. number
              end,
            }
        end
      end
    end
    function thread.discard(_, number)
      behaviour.discarded[#behaviour.discarded + 1] = number
      jobs[number].is_gone = true
      return behaviour.is_unsent
    end
    function thread.accept()
      behaviour.accepted = behaviour.accepted + 1
      return not behaviour.refuses
    end
    return thread
  end

  --- A connection over which a byte comes when a transfer has finished, or after half a second.
  local function fake_socket()
    local socket = {}
    function socket.settimeouts() end
    function socket.connect(_, address)
      assert.equal("unix:/tmp/autopilot-7/wake", address)
      return not behaviour.refused and 1 or nil, behaviour.refused
    end
    function socket.receive()
      local first = world.now + 0.5
      for _, job in ipairs(jobs) do
        first = job.is_gone and first or math.min(first, job.ends)
      end
      world.ngx.sleep(math.max(0, first - world.now))
      if behaviour.closed then
        return nil, "closed"
      end
      return "+"
    end
    return socket
  end

  before_each(function()
    jobs, behaviour = {}, { accepted = 0, discarded = {} }
    world = fake_openresty.install { transfer_thread = fake_thread }
    world.new_socket = fake_socket
    driver = require("autopilot.openresty.worker").driver()
  end)
  after_each(function()
    world:remove()
  end)

  local function spawn(ends)
    return world:spawn(function()
      return driver:run(ends, { connect = 10, total = 60, token = "token" })
    end)
  end

  it("gives each light thread its own transfer at once, over one connection for all", function()
    local began, threads = world.now, {}
    for index = 1, 50 do
      threads[index] = spawn(began + 1 + (index * 7 % 50) / 10)
    end
    world:run(7)
    for index, thread in ipairs(threads) do
      assert.equal("response " .. index, thread.results[1])
      assert.is_true(thread.ended_at - jobs[index].ends < 0.001)
    end
    assert.equal(1, behaviour.accepted)
    assert.equal("token", jobs[1].attempt.token)
    local slept = #world.slept
    world:run(100)
    assert.equal(slept, #world.slept)
  end)

  it("polls every few milliseconds if it can have no connection", function()
    for _, obstacle in ipairs { "too many open files", "no such file", "no folder", false } do
      behaviour.refused, behaviour.refuses = obstacle, not obstacle
      behaviour.has_no_folder = obstacle == "no folder"
      local thread = spawn(world.now + 1)
      world:run(2)
      assert.matches("^response", thread.results[1])
      assert.is_true(thread.ended_at - jobs[#jobs].ends < 0.006)
    end
  end)

  it("sleeps in phases without semaphores", function()
    local semaphore = package.loaded["ngx.semaphore"].new()
    function semaphore.wait()
      return nil, "API disabled in the context of ssl_session_fetch_by_lua*"
    end
    package.loaded["ngx.semaphore"].new = function()
      return semaphore
    end
    local thread = spawn(world.now + 1)
    world:run(2)
    assert.equal("response 1", thread.results[1])
    assert.is_true(thread.ended_at - jobs[1].ends < 0.02)
  end)

  it("continues after its connection was closed", function()
    local thread = spawn(world.now + 2)
    world:run(0.1)
    behaviour.closed = true
    world:run(3)
    assert.equal("response 1", thread.results[1])
    assert.is_true(thread.ended_at - jobs[1].ends < 0.006)
  end)

  it("soon cancels the transfer of a killed light thread, and no other", function()
    local killed, other = spawn(world.now + 9), spawn(world.now + 9)
    world:run(0.1)
    killed.is_killed = true
    world:run(2)
    assert.same({ 1 }, behaviour.discarded)
    world:run(10)
    assert.equal("response 2", other.results[1])
    assert.same({ 1 }, behaviour.discarded)
  end)

  it("does not cancel for a light thread that a busy nginx resumes late", function()
    local began = world.now
    for _, seconds in ipairs { 0.31, 1.1, 1.19 } do
      spawn(began + seconds)
    end
    local thread = spawn(began + 9)
    world:run(1.15)
    world.now = world.now + 2 -- then the stepper is the first to run
    world:run(9)
    assert.same({}, behaviour.discarded)
    assert.equal("response 4", thread.results[1])
  end)

  it("reports that nginx ended the worker before the answer came", function()
    for _, delivered in ipairs { "unknown", "no" } do
      behaviour.closed, world.is_exiting, behaviour.is_unsent = true, true, delivered == "no"
      local _, failure = world:call(driver.run, driver, world.now + 9)
      assert.same({ delivered, delivered == "no" and 0 or 1, "WORKER_SHUTDOWN" }, {
        failure.delivered,
        failure.sends,
        failure.name,
      })
      assert.equal(delivered == "no" and "connect" or "receive", failure.stage)
      assert.truthy(failure.message:find("worker_shutdown_timeout", 1, true))
    end
  end)
end)
