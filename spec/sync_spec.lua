-- client:sync: the report of a request, of several, and of none because it would be in vain.

local mistakes = require "support.mistakes"
local retry = require "autopilot.retry"
local virtual_world = require "support.virtual_world"

local syncs_started = virtual_world.syncs_started

local function with_retry_after(status, seconds)
  return { status = status, headers = { ["Retry-After"] = seconds } }
end

--- Asks once more and asserts that the client answered by itself, until that moment.
local function assert_answered_by_client(world, client, transport, outcome, retry_at)
  local sent = #transport.requests
  local report, failure = client:sync()
  assert.is_nil(report)
  assert.equal(outcome, failure.outcome)
  assert.equal("client", failure.answered_by)
  assert.equal("no", failure.delivered)
  assert.equal("contoso", failure.tenant)
  assert.near(retry_at, failure.retry_at, 1e-6)
  assert.near(retry_at - world.time, failure.retry_after, 1e-6)
  assert.same({}, failure.attempts)
  assert.is_truthy(failure.hint)
  assert.is_nil(failure.status)
  assert.equal(sent, #transport.requests)
end

describe("client:sync", function()
  it("reports a started sync, confirmed by the response of the service", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    local report, failure = client:sync()
    assert.is_nil(failure)
    assert.is_true(report.ok)
    assert.equal("sync", report.operation)
    assert.equal("started", report.outcome)
    assert.equal("contoso", report.tenant)
    assert.equal(204, report.status)
    assert.equal("yes", report.delivered)
    assert.equal("response", report.confirmed_by)
    assert.equal("service", report.answered_by)
    assert.is_nil(report.gave_up)
    assert.is_nil(report.hint)
    assert.is_nil(report.error)
    assert.is_nil(report.network)
    assert.equal(1, #report.attempts)
    assert.equal("started", report.attempts[1].outcome)
    assert.equal(204, report.attempts[1].status)
    assert.equal(1, report.attempts[1].sends)
    assert.equal(1, syncs_started(service))
    assert.same({}, world.slept)
  end)

  it(
    "reports what the service answers: in progress, cooldown, no permission, no licence",
    function()
      local world = virtual_world.new()
      local client, service = world:emulated({ duration = 60 }, { cooldown = 0 })
      client:sync()
      local failure = select(2, client:sync())
      assert.equal("in_progress", failure.outcome)
      assert.equal("service", failure.answered_by)
      world:pass(60)
      failure = select(2, client:sync())
      assert.equal("cooldown", failure.outcome)
      assert.equal("service", failure.answered_by)
      assert.equal("yes", failure.delivered)
      assert.equal("not_retryable", failure.gave_up)
      assert.equal(1, syncs_started(service))
      for outcome, rules in pairs {
        forbidden = { tokens = { good = { tenant = "contoso", roles = {} } } },
        not_licensed = { tenants = { contoso = { licensed = false } } },
        unauthenticated = { tokens = { other = { tenant = "contoso" } } },
      } do
        failure = select(2, (virtual_world.new():emulated(rules)):sync())
        assert.equal(outcome, failure.outcome)
        assert.equal("yes", failure.delivered)
        assert.is_truthy(failure.error.code)
        assert.is_truthy(failure.hint)
      end
    end
  )

  it("needs no options, and takes an empty table for none", function()
    local client = virtual_world
      .new()
      :scripted({ { status = 204 }, last = "repeat" }, { cooldown = 0 })
    assert.equal("started", client:sync().outcome)
    assert.equal("started", client:sync({}).outcome)
  end)

  it("wraps up with what an Activity ID of Intune is: the attempt's client-request-id", function()
    local client = virtual_world.new():emulated { tenants = { contoso = { licensed = false } } }
    local failure = select(2, client:sync())
    assert.equal(failure.client_request_id, failure.activity_id)
    assert.equal(failure.client_request_id, failure.attempts[1].client_request_id)
  end)
end)

describe("client:sync inside a cooldown that the client knows of", function()
  it("posts nothing after a sync of its own, and tells exactly when to ask again", function()
    local world = virtual_world.new()
    local client, transport = world:scripted { { status = 204 }, { status = 204 } }
    client:sync()
    local ends = world.time + 610
    assert_answered_by_client(world, client, transport, "cooldown", ends)
    world:pass(100)
    assert_answered_by_client(world, client, transport, "cooldown", ends)
    world:pass(509.9)
    assert_answered_by_client(world, client, transport, "cooldown", ends)
    world:pass(0.2)
    assert.equal("started", client:sync().outcome)
  end)

  it("counts from when the answer had come, however late it was", function()
    local world = virtual_world.new()
    local client, service = world:emulated { faults = { { kind = "slow_answer", seconds = 20 } } }
    client:sync()
    assert.near(610, select(2, client:sync()).retry_after, 1e-6)
    world:pass(610)
    assert.equal("started", client:sync().outcome)
    assert.equal(2, service.requests.sync)
  end)

  it("posts all the same with force", function()
    local client, transport =
      virtual_world.new():scripted { { status = 204 }, { status = 429 }, { status = 204 } }
    client:sync()
    assert.equal("service", select(2, client:sync({ force = true })).answered_by)
    assert.equal("started", client:sync({ force = true }).outcome)
    assert.equal(3, #transport.requests)
  end)

  it("posts all the same where cooldown = 0 says that there is none", function()
    local client, transport = virtual_world.new():scripted(
      { { status = 204 }, { status = 429 }, { status = 204 } },
      { cooldown = 0 }
    )
    client:sync()
    assert.equal("service", select(2, client:sync()).answered_by)
    assert.equal("started", client:sync().outcome)
    assert.equal(3, #transport.requests)
  end)

  it("knows it from a bare 429, too, for at most the whole interval", function()
    local world = virtual_world.new()
    local client, transport = world:scripted { { status = 429 }, { status = 204 } }
    local failure = select(2, client:sync())
    assert.equal("cooldown", failure.outcome)
    assert.equal("service", failure.answered_by)
    local ends = world.time + 610
    world:pass(50)
    assert_answered_by_client(world, client, transport, "cooldown", ends)
    world:pass(560.1)
    assert.equal("started", client:sync().outcome)
  end)

  it("knows it from the record that it has read, whoever asked for that sync", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    service:trigger "contoso"
    local triggered = world.time
    world:pass(200)
    client:status()
    local failure = select(2, client:sync())
    assert.equal("cooldown", failure.outcome)
    assert.equal("client", failure.answered_by)
    -- The last stamp is the sync's end, half a second later; a Date has whole seconds.
    assert.is_true(failure.retry_at >= triggered + 610)
    assert.is_true(failure.retry_at <= triggered + 610.5 + 1.01)
    assert.equal(0, service.requests.sync)
    world:pass(failure.retry_after)
    assert.equal("started", client:sync().outcome)
  end)

  it("is exact in our clock, however wrong that is", function()
    for _, ahead in ipairs { 5 * 3600, -5 * 3600 } do
      local world = virtual_world.new { ahead = ahead }
      local client, service = world:emulated()
      service:trigger "contoso"
      local triggered = world.time
      world:pass(200)
      client:status()
      local failure = select(2, client:sync())
      assert.equal("cooldown", failure.outcome)
      assert.is_true(failure.retry_at >= triggered + 610)
      assert.is_true(failure.retry_at <= triggered + 610.5 + 1.01)
    end
  end)

  it("is each client's own knowledge", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    client:sync()
    local other = world:client { transport = service:transport() }
    assert.equal("service", select(2, other:sync()).answered_by)
  end)
end)

describe("client:sync after a Retry-After", function()
  it("posts nothing before that time, and reports as the service did", function()
    for status, outcome in pairs {
      [429] = "throttled",
      [409] = "in_progress",
      [503] = "unavailable",
    } do
      local world = virtual_world.new()
      local client, transport = world:scripted(
        { with_retry_after(status, "300"), { status = 204 } },
        { retry = false }
      )
      local failure = select(2, client:sync())
      assert.equal(outcome, failure.outcome)
      assert.equal("service", failure.answered_by)
      assert.equal(300, failure.retry_after)
      local ends = world.time + 300
      assert.near(ends, failure.retry_at, 1e-6)
      world:pass(299)
      assert_answered_by_client(world, client, transport, outcome, ends)
      world:pass(1.1)
      assert.equal("started", client:sync().outcome)
      assert.equal(2, #transport.requests)
    end
  end)

  it("posts all the same with force", function()
    local client, transport =
      virtual_world.new():scripted({ with_retry_after(429, "300"), { status = 204 } })
    client:sync()
    assert.equal("started", client:sync({ force = true }).outcome)
    assert.equal(2, #transport.requests)
  end)

  it("posts nothing either where cooldown = 0: a Retry-After is no cooldown", function()
    local world = virtual_world.new()
    local client, transport = world:scripted(
      { with_retry_after(429, "300") },
      { cooldown = 0, retry = false }
    )
    client:sync()
    assert_answered_by_client(world, client, transport, "throttled", world.time + 300)
  end)

  it("remembers that of a read of the status, too", function()
    local world = virtual_world.new()
    local client, transport = world:scripted({ with_retry_after(429, "300") }, { retry = false })
    client:status()
    assert_answered_by_client(world, client, transport, "throttled", world.time + 300)
  end)

  it("is throttled even inside a cooldown", function()
    local client = virtual_world.new():scripted({
      { status = 204 },
      with_retry_after(429, "5"),
    }, { retry = false })
    client:sync()
    assert.equal("throttled", select(2, client:sync({ force = true })).outcome)
  end)

  it("does not take a 409 without one for a reason not to ask again", function()
    local client, transport = virtual_world.new():scripted { { status = 409 }, { status = 204 } }
    assert.equal("in_progress", select(2, client:sync()).outcome)
    assert.equal("started", client:sync().outcome)
    assert.equal(2, #transport.requests)
  end)
end)

describe("client:sync over several attempts", function()
  local function report_of(answers, retried)
    local client = virtual_world.new():scripted(answers, {
      recover = false,
      retry = retry.policy { attempts = #answers, on = retried },
    })
    local report, failure = client:sync()
    assert.equal(#answers, #(report or failure).attempts)
    return report or failure
  end

  local unsent, lost = { network = { stage = "connect" } }, { network = { stage = "receive" } }
  local all = { "unreachable", "interrupted", "unavailable", "throttled" }

  it("says that nothing was delivered only where none of them was sent", function()
    local failure = report_of({ unsent, unsent, unsent }, all)
    assert.equal("unreachable", failure.outcome)
    assert.equal("no", failure.delivered)
    assert.equal("client", failure.answered_by)
  end)

  it("does not let a last one that was not sent hide one that may have arrived", function()
    for _, first in ipairs { lost, { status = 500 }, { status = 503 } } do
      local failure = report_of({ first, unsent }, all)
      assert.equal("interrupted", failure.outcome)
      assert.equal("unknown", failure.delivered)
      assert.is_nil(failure.answered_by)
      assert.equal("unreachable", failure.attempts[2].outcome)
      assert.equal("no", failure.attempts[2].delivered)
      assert.is_truthy(failure.hint:find "may have")
    end
  end)

  it("says yes as soon as one has arrived", function()
    assert.equal("yes", report_of({ with_retry_after(429, "1"), unsent }, all).delivered)
    assert.equal("yes", report_of({ lost, { status = 403 } }, all).delivered)
    assert.equal("yes", report_of({ unsent, { status = 204 } }, all).delivered)
  end)

  it("does not claim that nothing was sent when the token is lacking for a later one", function()
    local asked = 0
    local client = virtual_world.new():scripted({ { status = 500 } }, {
      token = function()
        asked = asked + 1
        return asked == 1 and "first" or nil
      end,
    })
    local failure = select(2, client:sync())
    assert.equal("unknown", failure.delivered)
    assert.is_nil(tostring(failure.hint):find "nothing was sent")
  end)
end)

describe("client:sync with wait", function()
  it("goes on until the sync has completed", function()
    local world = virtual_world.new()
    local client, service = world:emulated { duration = 40 }
    local report = client:sync { wait = true }
    assert.equal("completed", report.outcome)
    assert.equal("sync", report.operation)
    assert.is_true(report.ok)
    assert.equal("yes", report.delivered)
    assert.equal("response", report.confirmed_by)
    assert.equal("service", report.answered_by)
    assert.equal("contoso", report.tenant)
    assert.equal(1, #report.attempts)
    assert.equal(1, service.requests.sync)
    assert.is_true(report.elapsed >= 40)
    assert.is_truthy(report.last_sync)
  end)

  it("tells of a sync that failed", function()
    local client = virtual_world.new():emulated {
      faults = { { kind = "failed_sync", seconds = 30, on = "sync" } },
    }
    local failure = select(2, client:sync { wait = true })
    assert.equal("sync_failed", failure.outcome)
    assert.equal("yes", failure.delivered)
  end)

  it("gives up waiting at the deadline, and keeps what is known of the start", function()
    local world = virtual_world.new()
    local began = world.time
    local client = world:emulated { duration = 4000 }
    local failure = select(2, client:sync { wait = true, deadline = 100 })
    assert.equal("timed_out", failure.outcome)
    assert.equal("deadline", failure.gave_up)
    assert.equal("yes", failure.delivered)
    assert.equal("response", failure.confirmed_by)
    assert.equal("contoso", failure.tenant)
    assert.is_true(world.time <= began + 100)
  end)

  it("waits an hour at most where no deadline is given", function()
    local world = virtual_world.new()
    local began = world.time
    local client = world:emulated { duration = 1e5 }
    assert.equal("timed_out", select(2, client:sync { wait = true }).outcome)
    assert.is_true(world.time <= began + 3600 and world.time > began + 3500)
  end)

  it("raises for a token that could forge a header while it waits, too", function()
    local asked = 0
    local client, service = virtual_world.new():emulated(nil, {
      token = function()
        asked = asked + 1
        return asked == 1 and "good" or "hush\r\nX: y"
      end,
    })
    local line
    local message = mistakes.raised(function()
      line = mistakes.this_line() + 1
      client:sync { wait = true }
    end)
    mistakes.assert_raised_at(line, message, "client:sync: ")
    assert.is_nil(message:find "hush")
    assert.equal(0, service.requests.status)
  end)

  it("reads nothing where no sync was started", function()
    local client, transport = virtual_world.new():scripted { { status = 409 } }
    assert.equal("in_progress", select(2, client:sync { wait = true }).outcome)
    assert.equal(1, #transport.requests)
  end)

  it("does not lose the start to a deadline that leaves no time to wait", function()
    local world = virtual_world.new()
    local client = world:emulated()
    local failure = select(2, client:sync { wait = true, deadline = 0.5 })
    assert.equal("timed_out", failure.outcome)
    assert.equal("yes", failure.delivered)
    assert.equal("contoso", failure.tenant)
    assert.equal(204, failure.attempts[1].status)
  end)
end)
