-- How a light thread waits for the helper thread, and what a failed wait means, without nginx.

local fake_openresty = require "support.fake_openresty"

local world

describe("in OpenResty, the helper thread's driver", function()
  local calls, behaviour
  local answered = {
    result = function()
      return "response"
    end,
  }

  before_each(function()
    calls, behaviour = {}, { withdraw = false, byte = "+" }
    local thread = {}
    function thread.address()
      return "/proc/self/fd/7"
    end
    function thread.submit(_, _, attempt)
      behaviour.total = attempt.total
      calls[#calls + 1] = "submit"
      return 42
    end
    function thread.claim(_, number)
      calls[#calls + 1] = "claim " .. number
      return behaviour.transfer
    end
    function thread.withdraw(_, number)
      calls[#calls + 1] = "withdraw " .. number
      return behaviour.withdraw
    end
    world = fake_openresty.install {
      transfer_thread = function()
        return thread
      end,
    }
    local socket = {}
    function socket.settimeouts(_, _, _, milliseconds)
      behaviour.patience = milliseconds
    end
    function socket.connect(_, address)
      calls[#calls + 1] = "connect " .. address
      return not behaviour.refused and 1 or nil, behaviour.refused
    end
    function socket.send(_, text)
      calls[#calls + 1] = "send " .. text
      return not behaviour.unsent and #text or nil, behaviour.unsent
    end
    function socket.receive()
      return behaviour.byte, "closed"
    end
    function socket.setkeepalive()
      calls[#calls + 1] = "keep"
    end
    function socket.close()
      calls[#calls + 1] = "close"
    end
    world.new_socket = function()
      return socket
    end
  end)
  after_each(function()
    world:remove()
  end)

  local function run()
    return world:call(function()
      local driver = require("autopilot.openresty.thread").new()
      return driver:run("request", { connect = 10, total = 60, token = "token" })
    end)
  end

  it("submits, waits and claims, and keeps the connection", function()
    behaviour.transfer = answered
    assert.equal("response", run())
    assert.same(
      { "connect unix:/proc/self/fd/7", "submit", "send 42\n", "claim 42", "keep" },
      calls
    )
    assert.equal(70000, behaviour.patience)
  end)

  it("waits no longer than a transfer can last", function()
    behaviour.transfer = answered
    require("autopilot.openresty.thread").new():run("request", { connect = 10, total = 1e12 })
    assert.equal(86410000, behaviour.patience)
  end)

  it("fails when the thread does not know the transfer", function()
    local transfer, failure = run()
    assert.is_nil(transfer)
    assert.same({ "unknown", "HELPER_THREAD" }, { failure.delivered, failure.name })
  end)

  it("submits nothing when nginx has no connection left until the time is over", function()
    behaviour.refused = "no such file or directory"
    local began = world.now
    local transfer, failure = run()
    assert.is_nil(transfer)
    assert.same({ "no", 0 }, { failure.delivered, failure.sends })
    assert.truthy(failure.message:find("raise worker_connections", 1, true))
    assert.is_true(world.now - began >= 60 and world.now - began < 61)
    for _, call in ipairs(calls) do
      assert.equal("connect unix:/proc/self/fd/7", call)
    end
  end)

  it("fails at once when the process has no descriptor left", function()
    behaviour.refused = "too many open files"
    local began = world.now
    local _, failure = run()
    assert.same({ "no", 0, began }, { failure.delivered, failure.sends, world.now })
    assert.truthy(failure.message:find("no descriptor", 1, true))
    assert.same({ "connect unix:/proc/self/fd/7" }, calls)
  end)

  it("gives what is left of its time to a call that has waited for a connection", function()
    behaviour.refused, behaviour.transfer = "no such file or directory", answered
    local driver = require("autopilot.openresty.thread").new()
    local thread = world:spawn(function()
      return driver:run("request", { connect = 10, total = 60 })
    end)
    world:run(20)
    behaviour.refused = nil
    world:run()
    assert.equal("response", thread.results[1])
    assert.is_true(math.abs(behaviour.total - 40) < 0.1, behaviour.total)
  end)

  it("gives free connections to waiting calls in their order, not to killed ones", function()
    local driver = require("autopilot.openresty.thread").new()
    local served = {}
    behaviour.transfer, behaviour.refused = answered, "no such file or directory"
    for index = 1, 5 do
      world:spawn(function()
        driver:run("request", { connect = 10, total = 60 })
        served[#served + 1] = index
      end)
      world:run(0)
    end
    world.threads[2].is_killed = true
    world:run(1)
    behaviour.refused = nil
    world:run(0.11)
    assert.same({ 1, 3, 4, 5 }, served)
  end)

  it("knows that nothing was sent when the transfer had not begun", function()
    behaviour.unsent, behaviour.withdraw = "broken pipe", true
    local _, failure = run()
    assert.same({ "no", 0, "HELPER_THREAD" }, { failure.delivered, failure.sends, failure.name })
    assert.same({ "withdraw 42", "close" }, { calls[#calls - 1], calls[#calls] })
  end)

  it("says so when the thread took no call because it had no descriptor", function()
    behaviour.byte, behaviour.withdraw = nil, true
    local _, failure = run()
    assert.same({ "no", 0, "HELPER_THREAD" }, { failure.delivered, failure.sends, failure.name })
    assert.truthy(failure.message:find("no descriptors", 1, true))
  end)

  it("says so when nginx ended the worker before the answer came", function()
    behaviour.byte, world.is_exiting = nil, true
    local _, failure = run()
    assert.same({ "unknown", 1, "WORKER_SHUTDOWN" }, {
      failure.delivered,
      failure.sends,
      failure.name,
    })
    assert.truthy(failure.message:find("worker_shutdown_timeout", 1, true))
  end)

  it("does not know what was sent when it had", function()
    behaviour.byte = nil
    local _, failure = run()
    assert.same({ "unknown", 1, "receive" }, { failure.delivered, failure.sends, failure.stage })
    assert.same({ "withdraw 42", "close" }, { calls[#calls - 1], calls[#calls] })
  end)
end)
