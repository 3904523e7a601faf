-- client:ensure, when a sync or a request for it fails: retries temporary failures, and reports all others.

local ensured = require "support.ensured"
local retry = require "autopilot.retry"
local virtual_world = require "support.virtual_world"

local record = virtual_world.record

local actions, assert_requests = ensured.actions, ensured.assert_requests
local syncs_started = virtual_world.syncs_started

describe("client:ensure after a failed sync that counts", function()
  it("starts another if there is time", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    service:inject { kind = "failed_sync", seconds = 10, on = "sync" }
    local report = client:ensure()
    assert.equal("completed", report.outcome)
    assert.equal("yes", report.delivered)
    assert.equal(2, service.requests.sync)
    assert.equal(2, #report.attempts)
    assert.is_truthy(actions(report):find "sync started.*sync started")
  end)

  it("reports the failure if there is no time for another", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    service:inject { kind = "failed_sync", seconds = 10, on = "sync" }
    local failure = select(2, client:ensure { timeout = 300 })
    assert.equal("sync_failed", failure.outcome)
    assert.equal("deadline", failure.gave_up)
    assert.equal("yes", failure.delivered)
    assert.equal(1, service.requests.sync)
    assert.is_true(world.time <= virtual_world.start + 300)
  end)

  it("starts another after another client's failed sync", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    local since = world.time - 10
    service:trigger("contoso", { duration = 20, failed = true })
    world:pass(5)
    assert.equal("completed", client:ensure({ since = since }).outcome)
    assert.equal(1, service.requests.sync)
  end)

  it("reports it with wait = false if the cooldown forbids another", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    local since = world.time - 10
    service:trigger("contoso", { duration = 20, failed = true })
    world:pass(100)
    local failure = select(2, client:ensure { since = since, wait = false })
    assert.equal("sync_failed", failure.outcome)
    assert.is_true(failure.retry_at > world.time + 500)
    assert_requests(service, 0, 1)
    assert.same({}, world.slept)
  end)
end)

describe("client:ensure when requests fail", function()
  it("counts a sync whose answer was lost, or whose request arrived twice", function()
    for _, kind in ipairs { "lost_answer", "duplicated" } do
      for _, duration in ipairs { 0.5, 20 } do
        local world = virtual_world.new()
        local client, service = world:emulated { duration = duration }
        service:inject { kind = kind, on = "sync" }
        local report = client:ensure { since = world.time - 5 }
        assert.equal("completed", report.outcome)
        assert.equal("yes", report.delivered)
        assert.equal(1, #report.attempts)
        assert.equal(1, syncs_started(service))
      end
    end
  end)

  it("posts again if a request was lost", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    service:inject { kind = "lost_request", on = "sync" }
    assert.equal("completed", client:ensure().outcome)
    assert.equal(1, syncs_started(service))
  end)

  it("does not post again after a lost answer if the record tells of no trigger", function()
    for _, recovers in ipairs { true, false } do
      local world = virtual_world.new()
      local lost = { network = { stage = "receive", delivered = "unknown" } }
      local silent = { status = 200, body = [[{"syncStatus":"completed"}]] }
      local client, transport = world:scripted({
        record { trigger = world.time - 5000, last_sync = world.time - 4999 },
        lost,
        silent,
        silent,
      }, { recover = recovers })
      local failure = select(2, client:ensure())
      assert.equal("interrupted", failure.outcome)
      assert.equal("unknown", failure.delivered)
      assert.equal(1, #failure.attempts)
      assert.equal(recovers and 4 or 3, #transport.requests)
    end
  end)

  it("accepts a record that is out of date", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    for _ = 1, 3 do
      service:inject { kind = "stale_read", on = "status", seconds = 60 }
    end
    assert.equal("completed", client:ensure().outcome)
    assert.equal(1, service.requests.sync)
  end)

  it("repeats a read that failed, and posts nothing before one has succeeded", function()
    local world = virtual_world.new { random = 0.5 }
    local client, service = world:emulated()
    service:inject { kind = "status", status = 503, on = "status" }
    service:inject { kind = "unsent", on = "status" }
    assert.equal("completed", client:ensure().outcome)
    assert.equal("status", service.log[1].operation)
    assert.equal(1, service.requests.sync)
  end)

  it("makes one pass with wait = false: no retry, no sleep", function()
    for _, fault in ipairs {
      { kind = "status", status = 503, on = "status" },
      { kind = "unsent", on = "status" },
      { kind = "unsent", on = "sync" },
      { kind = "status", status = 500, on = "sync" },
      { kind = "throttle", retry_after = 1, on = "sync" },
    } do
      local world = virtual_world.new()
      local client, service = world:emulated()
      service:inject(fault)
      local report, failure = client:ensure { wait = false }
      assert.is_nil(report)
      assert.is_false(failure.ok)
      assert.equal("ensure", failure.operation)
      assert.same({}, world.slept)
      assert.is_true(service.requests.status + service.requests.sync <= 2)
    end
  end)

  it("reports a permanent failure of the read", function()
    for outcome, rules in pairs {
      forbidden = { tokens = { good = { tenant = "contoso", roles = {} } } },
      unauthenticated = { tokens = { other = { tenant = "contoso" } } },
      not_licensed = { tenants = { contoso = { licensed = false } } },
    } do
      local world = virtual_world.new()
      local client, service = world:emulated(rules)
      local failure = select(2, client:ensure())
      assert.equal(outcome, failure.outcome)
      assert.equal("no", failure.delivered)
      assert.is_truthy(failure.hint)
      assert_requests(service, 0, 1)
    end
  end)

  it("reports a refusal of the sync itself", function()
    local read = "DeviceManagementServiceConfig.Read.All"
    local client, service =
      virtual_world.new():emulated { tokens = { good = { tenant = "contoso", roles = { read } } } }
    local failure = select(2, client:ensure())
    assert.equal("forbidden", failure.outcome)
    assert.equal("yes", failure.delivered)
    assert.equal("service", failure.answered_by)
    assert_requests(service, 1, 1)
  end)

  it("asks for no token while the Retry-After of a token endpoint lasts", function()
    for _, seconds in ipairs { 100, 5000 } do
      local asked = 0
      local client, service = virtual_world.new():emulated(nil, {
        token = function()
          asked = asked + 1
          if asked == 2 then -- for the request; the first was for the read before it
            return nil, "down", { retry_after = seconds }
          end
          return "good"
        end,
      })
      local failure = select(2, client:ensure())
      assert.equal("token_error", failure.outcome)
      assert.near(seconds, failure.retry_after, 1)
      assert.equal(2, asked)
      assert_requests(service, 0, 1)
    end
  end)

  it("asks again after a refusal whose Retry-After is over", function()
    local world = virtual_world.new()
    local client, service = world:emulated(nil, { retry = retry.policy { attempts = 2 } })
    service:inject { kind = "throttle", retry_after = 1, on = "sync" }
    service:inject { kind = "unsent", on = "sync" }
    assert.equal("completed", client:ensure().outcome)
    assert.equal(1, syncs_started(service))
  end)

  it("neither sleeps nor reports progress after the client was closed", function()
    local world = virtual_world.new()
    local client, service
    local sleeps, told = 0, 0
    client, service = world:emulated(nil, {
      sleep = function(seconds)
        sleeps = sleeps + 1
        world:pass(seconds)
        client:close()
      end,
    })
    service:inject { kind = "throttle", retry_after = 1, on = "sync" }
    local failure = select(
      2,
      client:ensure {
        on_progress = function()
          told = told + 1
        end,
      }
    )
    assert.equal("throttled", failure.outcome)
    assert.equal("not_retryable", failure.gave_up)
    assert.same({ 1, 0 }, { sleeps, told })
  end)

  it("reports a missing token", function()
    local client = virtual_world.new():scripted({}, { token = function() end })
    assert.equal("token_error", select(2, client:ensure()).outcome)
  end)

  it("never accepts a failed sync as done, even if it moved the last sync's stamp", function()
    local begin = virtual_world.start
    local failed = record { status = "failed", trigger = begin - 700, last_sync = begin - 690 }
    local world = virtual_world.new()
    local client, transport = world:scripted {
      failed,
      { status = 204 },
      record { trigger = begin, last_sync = begin },
    }
    assert.equal("completed", client:ensure({ since = begin - 1000 }).outcome)
    assert.equal("POST", transport.requests[2].method)

    local recent = record { status = "failed", trigger = begin - 60, last_sync = begin - 30 }
    for _, options in ipairs { { wait = false }, { timeout = 100 } } do
      options.max_age = 100
      local failure = select(2, virtual_world.new():scripted({ recent }):ensure(options))
      assert.equal("sync_failed", failure.outcome)
      assert.equal("client", failure.answered_by)
      assert.near(begin - 30 + 610, failure.retry_at, 2)
    end
  end)
end)
