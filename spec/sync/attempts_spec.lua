-- The retry loop: which requests are repeated, when, and what ends it.

local retry = require "autopilot.retry"
local scripted = require "autopilot.transport.scripted"
local virtual_world = require "support.virtual_world"

local raised = require("support.mistakes").raised

--- The failure of a sync whose requests are answered so, with `recover` off.
local function failure_of(world, answers, given, call)
  given = given or {}
  given.recover = false
  local client, transport = world:scripted(answers, given)
  local report, failure = client:sync(call)
  assert.is_nil(report)
  return failure, transport
end

local function throttled(retry_after, date)
  return { status = 429, headers = { ["Retry-After"] = retry_after, ["Date"] = date } }
end

describe("autopilot.client: retries", function()
  it("are made if nothing was sent, if the service failed and if it throttles", function()
    for _, answer in ipairs {
      { network = { stage = "connect" } },
      { status = 500 },
      { status = 503 },
      throttled "3",
    } do
      local world = virtual_world.new { random = 0.5 }
      local client, transport = world:scripted({ answer, { status = 204 } }, { recover = false })
      local report = client:sync()
      assert.equal("started", report.outcome)
      assert.equal("yes", report.delivered)
      assert.is_nil(report.gave_up)
      assert.equal(2, #report.attempts)
      assert.equal(2, #transport.requests)
      assert.equal(1, #world.slept)
    end
  end)

  it("are not made after other failures by default", function()
    for _, answer in ipairs {
      { status = 200 },
      { status = 302 },
      { status = 400 },
      { status = 400, body = "Request not applicable to target tenant." },
      { status = 401 },
      { status = 403 },
      { status = 404 },
      { status = 409 },
      { status = 422 },
      { status = 429 },
      { network = { stage = "receive" } },
    } do
      local world = virtual_world.new()
      local failure = failure_of(world, { answer })
      assert.equal("not_retryable", failure.gave_up)
      assert.equal(1, #failure.attempts)
      assert.equal(0, #world.slept)
    end
  end)

  it("of an interrupted request are made only if the caller allows it", function()
    local world = virtual_world.new()
    local client, transport = world:scripted(
      { { network = { stage = "receive" } }, { status = 204 } },
      { recover = false, retry = retry.policy { on = { interrupted = true } } }
    )
    assert.equal("started", client:sync().outcome)
    assert.equal(2, #transport.requests)
  end)

  it("end after the policy's number of attempts", function()
    local failure, transport =
      failure_of(virtual_world.new(), { { status = 503 }, last = "repeat" })
    assert.equal("unavailable", failure.outcome)
    assert.equal("attempts", failure.gave_up)
    assert.equal(4, #transport.requests)
    assert.equal(4, #failure.attempts)
  end)

  it("are not made with retry = false", function()
    local world = virtual_world.new()
    local failure, transport = failure_of(world, { { status = 503 } }, { retry = false })
    assert.equal("unavailable", failure.outcome)
    assert.equal("attempts", failure.gave_up)
    assert.equal(1, #transport.requests)
    assert.equal(0, #world.slept)
  end)

  it("wait as long as the policy says, with the client's own randomness", function()
    local world = virtual_world.new { random = 0.5 }
    local failure = failure_of(world, { { status = 503 }, last = "repeat" }, {
      retry = retry.policy { attempts = 3, base = 8, factor = 2, jitter = "full" },
    })
    assert.same({ 4, 8 }, world.slept)
    assert.same({ 0, 4, 8 }, {
      failure.attempts[1].delay,
      failure.attempts[2].delay,
      failure.attempts[3].delay,
    })
    assert.near(12, failure.elapsed, 1e-6)
  end)

  it("take one token of the shared budget each, and end without one", function()
    local budget = retry.budget { capacity = 1, refill = 0 }
    local policy = retry.policy { budget = budget }
    local answers = { { status = 503 }, last = "repeat" }
    local failure, transport = failure_of(virtual_world.new(), answers, { retry = policy })
    assert.equal("budget", failure.gave_up)
    assert.equal(2, #transport.requests)
    local other, others = failure_of(virtual_world.new(), answers, { retry = policy })
    assert.equal("budget", other.gave_up)
    assert.equal(1, #others.requests)
  end)
end)

describe("autopilot.client: a Retry-After", function()
  it("is waited for, and never shortened", function()
    for _, seconds in ipairs { "60", "2.128", "180" } do
      for _, random in ipairs { 0, 0.5, 0.999 } do
        local world = virtual_world.new { random = random }
        world:scripted({ throttled(seconds), { status = 204 } }):sync()
        assert.is_true(world.slept[1] >= tonumber(seconds))
      end
    end
  end)

  it("that is a date is relative to the service's own Date, for any local clock", function()
    for _, ahead in ipairs { 0, 7 * 3600, -7 * 3600 } do
      local world = virtual_world.new { ahead = ahead }
      local service_now = math.floor(world:service_time())
      local client = world:scripted({
        throttled(virtual_world.date(service_now + 90), virtual_world.date(service_now)),
        { status = 204 },
      }, { retry = retry.policy { jitter = "none" } })
      client:sync()
      assert.near(90, world.slept[1], 1e-6)
    end
  end)

  it("beyond the limit ends the attempts, and reports when to ask again", function()
    local world = virtual_world.new()
    local failure, transport = failure_of(world, { throttled "181" })
    assert.equal("throttled", failure.outcome)
    assert.equal("retry_after", failure.gave_up)
    assert.equal(181, failure.retry_after)
    assert.near(world.time + 181, failure.retry_at, 1e-6)
    assert.equal(1, #transport.requests)
    assert.equal(0, #world.slept)
  end)

  it("that the client remembers is reported when it ends the attempts", function()
    for status, outcome in pairs { [409] = "in_progress", [429] = "cooldown" } do
      local world = virtual_world.new()
      local policy = retry.policy { on = { outcome }, max_retry_after = 100 }
      local answer, is_first = scripted { { status = 204 }, { status = status } }, true
      local client
      client = world:client {
        recover = false,
        retry = policy,
        transport = function(request)
          if is_first then
            is_first = false
            assert(client:sync()) -- by another coroutine, say
          end
          return answer(request)
        end,
      }
      local failure = select(2, client:sync())
      assert.equal(outcome, failure.outcome)
      assert.equal("retry_after", failure.gave_up)
      assert.near(world.time + 610, failure.retry_at, 1e-6)
      assert.near(610, failure.retry_after, 1e-6)
    end
  end)

  it("beyond the deadline ends the attempts, too", function()
    local world = virtual_world.new()
    local failure = failure_of(world, { throttled "60" }, nil, { deadline = 60 })
    assert.equal("deadline", failure.gave_up)
    assert.equal(60, failure.retry_after)
    assert.equal(0, #world.slept)
  end)

  it("beyond the deadline ends them with a policy of the caller's own", function()
    local world = virtual_world.new()
    local own = {
      decide = function()
        return 60
      end,
    }
    local failure = failure_of(world, { { status = 500 } }, { retry = own }, { deadline = 60 })
    assert.equal("deadline", failure.gave_up)
    assert.equal(0, #world.slept)
  end)
end)

describe("autopilot.client: a deadline", function()
  it("shortens the time limits of a request, both connect and total", function()
    local client, transport = virtual_world.new():scripted {
      { status = 204 },
      { status = 204 },
      { status = 204 },
      { status = 204 },
    }
    for _, case in ipairs { { 100, 10, 60 }, { 30, 10, 30 }, { 4, 4, 4 } } do
      client:sync { deadline = case[1], force = true }
      local timeout = transport.requests[#transport.requests].timeout
      assert.near(case[2], timeout.connect, 1e-6)
      assert.near(case[3], timeout.total, 1e-6)
    end
    client:sync { force = true }
    assert.same({ connect = 10, total = 60 }, transport.requests[4].timeout)
  end)

  it("limits a retry to the remaining time", function()
    local world = virtual_world.new()
    local timeouts = {}
    local client = world:client {
      recover = false,
      retry = retry.policy { jitter = "none", base = 5 },
      transport = function(request)
        timeouts[#timeouts + 1] = request.timeout.total
        world:pass(20)
        return { status = 503, headers = {}, body = "" }
      end,
    }
    local failure = select(2, client:sync { deadline = 50 })
    assert.same({ 5 }, world.slept)
    assert.equal(2, #timeouts)
    assert.near(50, timeouts[1], 1e-6)
    assert.near(25, timeouts[2], 1e-6)
    assert.equal("deadline", failure.gave_up)
    assert.is_true(failure.elapsed <= 50)
  end)

  it("shortens a sleep if the handler of the event before has taken its time", function()
    local world = virtual_world.new()
    local given = {
      retry = retry.policy { jitter = "none", base = 20 },
      on_event = function(event)
        world:pass(event.type == "retry" and 50 or 0)
      end,
    }
    local failure = failure_of(world, { { status = 503 } }, given, { deadline = 60 })
    assert.same({ 10 }, world.slept)
    assert.equal("deadline", failure.gave_up)
    assert.equal("unavailable", failure.outcome)
  end)

  it("is exceeded by no request and no sleep, whatever the service does", function()
    local function run(takes, recovers)
      local world = virtual_world.new { random = 0.9 }
      local began = world.time
      local client = world:client {
        recover = recovers,
        retry = retry.policy { attempts = 100 },
        transport = function(request)
          assert.is_true(world.time + request.timeout.total <= began + 40 + 1e-6)
          assert.is_true(request.timeout.connect <= request.timeout.total)
          if takes >= request.timeout.total then
            world:pass(request.timeout.total)
            return nil, { stage = "connect", timeout = true, message = "", delivered = "no" }
          end
          world:pass(takes)
          return { status = 503, headers = {}, body = "" }
        end,
      }
      local failure = select(2, client:sync { deadline = 40 })
      assert.is_true(recovers or failure.gave_up == "deadline")
      assert.is_true(world.time <= began + 40 + 1e-6)
      assert.is_truthy(tostring(failure))
    end
    for _, takes in ipairs { 0, 0.1, 1, 7, 1000 } do
      run(takes, true)
      run(takes, false)
    end
  end)

  it("that passes while the provider fetches a token prevents the request", function()
    local world = virtual_world.new()
    local client, transport = world:scripted({}, {
      token = function()
        world:pass(31)
        return "late"
      end,
    })
    local failure = select(2, client:sync { deadline = 30 })
    assert.equal("deadline", failure.gave_up)
    assert.equal("no", failure.delivered)
    assert.equal(0, #transport.requests)
    assert.is_true(failure.network.timeout)
  end)

  it("holds for a read of the status as well", function()
    local world = virtual_world.new { random = 0.99 }
    local began = world.time
    local client, transport = world:scripted { { status = 503 }, last = "repeat" }
    client.policy = retry.policy { attempts = 100 }
    local failure = select(2, client:status { deadline = 20 })
    assert.equal("deadline", failure.gave_up)
    assert.is_true(world.time <= began + 20)
    assert.is_true(transport.requests[1].timeout.total <= 20)
  end)
end)

describe("autopilot.client: sleep", function()
  it("may yield, in every Lua version", function()
    local world = virtual_world.new { random = 0.5 }
    local client = world:scripted({ { status = 503 }, { status = 204 } }, {
      recover = false,
      sleep = function(seconds)
        world:pass(seconds)
        coroutine.yield(seconds)
      end,
    })
    local thread = coroutine.create(function()
      return client:sync()
    end)
    local _, seconds = coroutine.resume(thread)
    assert.is_true(seconds > 0)
    local ok, report = coroutine.resume(thread)
    assert.is_true(ok)
    assert.equal("started", report.outcome)
  end)

  it("that raises passes its error to the caller, and the client can be used again", function()
    local client = virtual_world.new():scripted({ { status = 503 }, { status = 204 } }, {
      recover = false,
      sleep = function()
        error("woken", 0)
      end,
    })
    assert.equal("woken", raised(client.sync, client))
    assert.equal("started", client:sync().outcome)
  end)

  it("during which the client is closed ends the call, and nothing more is sent", function()
    local client, transport
    client, transport = virtual_world.new():scripted({ { status = 503 } }, {
      recover = false,
      sleep = function()
        client:close()
      end,
    })
    local report, failure = client:sync()
    assert.is_nil(report)
    assert.is_false(failure.ok)
    assert.equal("unknown", failure.delivered)
    assert.equal(1, #transport.requests)
  end)
end)

describe("autopilot.client: a user's own policy", function()
  it("gets the failure, the time, and the clock, sleep and randomness", function()
    local world = virtual_world.new()
    local questions = {}
    local policy = {
      decide = function(_, question)
        questions[#questions + 1] = question
        if question.attempt < 2 then
          return 7
        end
        return nil, "attempts"
      end,
    }
    local failure = failure_of(world, { { status = 503 }, last = "repeat" }, { retry = policy }, {
      deadline = 100,
    })
    assert.equal("attempts", failure.gave_up)
    assert.same({ 7 }, world.slept)
    assert.equal("unavailable", questions[1].report.outcome)
    assert.near(0, questions[1].elapsed, 1e-6)
    assert.near(7, questions[2].elapsed, 1e-6)
    assert.equal(7, questions[2].previous_delay)
    assert.near(93, questions[2].remaining, 1e-6)
  end)
end)
