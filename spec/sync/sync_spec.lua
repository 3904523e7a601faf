-- client:sync: the report of a request, and of several.

local retry = require "autopilot.retry"
local virtual_world = require "support.virtual_world"

local syncs_started = virtual_world.syncs_started

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

  it("needs no options, and accepts an empty table", function()
    local client = virtual_world
      .new()
      :scripted({ { status = 204 }, last = "repeat" }, { cooldown = 0 })
    assert.equal("started", client:sync().outcome)
    assert.equal("started", client:sync({}).outcome)
  end)

  it("uses an Intune Activity ID as the attempt's client-request-id", function()
    local client = virtual_world.new():emulated { tenants = { contoso = { licensed = false } } }
    local failure = select(2, client:sync())
    assert.equal(failure.client_request_id, failure.activity_id)
    assert.equal(failure.client_request_id, failure.attempts[1].client_request_id)
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

  it("reports not_delivered only if none of them was sent", function()
    local failure = report_of({ unsent, unsent, unsent }, all)
    assert.equal("unreachable", failure.outcome)
    assert.equal("no", failure.delivered)
    assert.equal("client", failure.answered_by)
  end)

  it("does not let a last one that was not sent hide one that may have arrived", function()
    for _, first in ipairs { lost, { status = 500 }, { status = 503 } } do
      local failure, status = report_of({ first, unsent }, all), first.status
      assert.equal(status and "unavailable" or "interrupted", failure.outcome)
      assert.equal("unknown", failure.delivered)
      assert.equal(status, failure.status)
      assert.equal(status and "service" or nil, failure.answered_by)
      assert.equal("unreachable", failure.attempts[2].outcome)
      assert.equal("no", failure.attempts[2].delivered)
      assert.is_truthy(failure.hint:find(status and "service failed" or "may have"))
    end
  end)

  it("reports delivered as soon as one has arrived", function()
    local throttled = { status = 429, headers = { ["Retry-After"] = "1" } }
    assert.equal("yes", report_of({ throttled, unsent }, all).delivered)
    assert.equal("yes", report_of({ lost, { status = 403 } }, all).delivered)
    assert.equal("yes", report_of({ unsent, { status = 204 } }, all).delivered)
  end)

  it("does not claim that nothing was sent if a later one has no token", function()
    local asked = 0
    local client = virtual_world.new():scripted({ { status = 500 } }, {
      token = function()
        asked = asked + 1
        return asked == 1 and "first" or nil
      end,
    })
    local failure = select(2, client:sync())
    assert.equal("unknown", failure.delivered)
    assert.is_nil(tostring(failure.hint):find "not sent")
  end)
end)
