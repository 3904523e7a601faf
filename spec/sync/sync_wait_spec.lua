-- client:sync with wait goes on until the sync has completed, and keeps what is known of its start.

local retry = require "autopilot.retry"
local virtual_world = require "support.virtual_world"

describe("client:sync with wait", function()
  it("waits until the sync has completed", function()
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

  it("reports a sync that failed", function()
    local client = virtual_world.new():emulated {
      faults = { { kind = "failed_sync", seconds = 30, on = "sync" } },
    }
    local failure = select(2, client:sync { wait = true })
    assert.equal("sync_failed", failure.outcome)
    assert.equal("yes", failure.delivered)
  end)

  it("stops waiting at the deadline, and reports what is known of the start", function()
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

  it("waits an hour at most by default", function()
    local world = virtual_world.new()
    local began = world.time
    local client = world:emulated { duration = 1e5 }
    assert.equal("timed_out", select(2, client:sync { wait = true }).outcome)
    assert.is_true(world.time <= began + 3600 and world.time > began + 3500)
  end)

  it("counts that hour from the call, also after a long wait for the start", function()
    local world = virtual_world.new()
    local began = world.time
    local client, service = world:emulated({ duration = 1e5 }, { retry = retry.patient() })
    service:inject { kind = "throttle", retry_after = 1200, on = "sync" }
    local failure = select(2, client:sync { wait = true })
    assert.equal("timed_out", failure.outcome)
    assert.equal("yes", failure.delivered)
    assert.is_true(world.time <= began + 3600 and world.time > began + 3500)
  end)

  it("reports that a portal answered a read after the start", function()
    local page = { status = 403, body = "<p>Blocked</p>", intermediary = true }
    local client = virtual_world.new():scripted { { status = 204 }, page }
    local failure = select(2, client:sync { wait = true })
    assert.equal("unexpected", failure.outcome)
    assert.equal("yes", failure.delivered)
    assert.equal("response", failure.confirmed_by)
    assert.equal("intermediary", failure.answered_by)
  end)

  it("does not say that the service answered where a token is missing after the start", function()
    local asked = 0
    local client = virtual_world.new():emulated(nil, {
      token = function()
        asked = asked + 1
        return asked == 1 and "good" or nil, "none"
      end,
    })
    local failure = select(2, client:sync { wait = true })
    assert.equal("token_error", failure.outcome)
    assert.is_nil(failure.answered_by)
  end)

  it("tells when to ask again where a Retry-After leaves no time to wait", function()
    local world = virtual_world.new()
    local client, service = world:emulated { duration = 5000 }
    service:inject { kind = "throttle", retry_after = 900, on = "status" }
    local failure = select(2, client:sync { wait = true, deadline = 300 })
    assert.equal("timed_out", failure.outcome)
    assert.near(900, failure.retry_after, 1e-6)
    assert.near(world.time + 900, failure.retry_at, 1e-6)
  end)

  it("names the end of the cooldown if a Retry-After ends before", function()
    local world = virtual_world.new()
    local began = world.time
    local client, service = world:emulated { duration = 5000 }
    service:inject { kind = "throttle", retry_after = 200, on = "status" }
    local failure = select(2, client:sync { wait = true, deadline = 100 })
    assert.equal("timed_out", failure.outcome)
    assert.near(began + 610, failure.retry_at, 1e-3)
  end)

  it("tells when to ask again after a sync that failed", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    service:inject { kind = "failed_sync", on = "sync" }
    local failure = select(2, client:sync { wait = true })
    assert.equal("sync_failed", failure.outcome)
    local refusal = select(2, client:sync())
    assert.equal("cooldown", refusal.outcome)
    assert.near(refusal.retry_at, failure.retry_at, 1e-6)
  end)

  it("sends no token with control characters while it waits, either", function()
    local asked = 0
    local client, service = virtual_world.new():emulated(nil, {
      token = function()
        asked = asked + 1
        return asked == 1 and "good" or "hush\r\nX: y"
      end,
    })
    local failure = select(2, client:sync { wait = true })
    assert.equal("token_error", failure.outcome)
    assert.is_nil(tostring(failure):find "hush")
    assert.equal(0, service.requests.status)
  end)

  it("reads nothing if no sync was started", function()
    local client, transport = virtual_world.new():scripted { { status = 409 } }
    assert.equal("in_progress", select(2, client:sync { wait = true }).outcome)
    assert.equal(1, #transport.requests)
  end)

  it("reports the start also if the deadline leaves no time to wait", function()
    local world = virtual_world.new()
    local client = world:emulated()
    local failure = select(2, client:sync { wait = true, deadline = 0.5 })
    assert.equal("timed_out", failure.outcome)
    assert.equal("yes", failure.delivered)
    assert.equal("contoso", failure.tenant)
    assert.equal(204, failure.attempts[1].status)
  end)
end)
