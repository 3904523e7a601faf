-- What a client reports and learns about a tenant if clocks differ, or if it learns something while its own call
-- is under way.

local retry = require "autopilot.retry"
local scripted = require "autopilot.transport.scripted"
local shared_tenant = require "support.shared_tenant"

local sharing, refused, started = shared_tenant.new, shared_tenant.refused, shared_tenant.started
local start = shared_tenant.start

describe("a client whose clock is wrong", function()
  --- The refusal of a third client. One has started a sync, and one with a clock that was an hour slow has put
  -- something else into the store since, once its clock was that slow.
  local function refusal_after(seconds_slow)
    local here, client = sharing()
    local slow = 3600
    local wrong = client({ { status = 403 } }, {
      now = function()
        return here.time - slow
      end,
    })
    assert((client { started }):sync())
    here:pass(300)
    slow = seconds_slow
    assert.are.equal("forbidden", select(2, wrong:sync({ force = true })).outcome)
    here:pass(200)
    return refused((client {}))
  end

  it("reports another client's sync correctly once the clock was corrected", function()
    local failure = refusal_after(0)
    assert.are.equal("cooldown", failure.outcome)
    assert.are.equal(start + 610, failure.retry_at)
  end)

  it("keeps a sync in the store that it ignores", function()
    local failure = refusal_after(3600)
    assert.are.equal("cooldown", failure.outcome)
    assert.are.equal(start + 610, failure.retry_at)
  end)
end)

describe("a sync by another client while a call's attempt failed", function()
  local patient, default = retry.patient(), retry.policy()

  --- The results of a call whose first token fails; meanwhile another client starts a sync.
  local function call_without_token(policy)
    local _, client = sharing()
    local other, has_failed = client { started }, false
    local function token()
      if has_failed then
        return "good"
      end
      has_failed = true
      assert(other:sync())
      return nil, "the token endpoint failed", { is_transient = true }
    end
    return client({ started }, { retry = policy, token = token }):sync()
  end

  it("does not end the retries after a failure of the token endpoint", function()
    local report, failure = call_without_token(default)
    assert.is_nil(report)
    assert.are.equal("cooldown", failure.outcome)
    assert.are.equal(start + 610, failure.retry_at)
    assert.are.equal("no", failure.delivered)
    report, failure = call_without_token(patient)
    assert.is_nil(failure)
    assert.are.equal("started", report.outcome)
  end)

  it("is reported as the cooldown if the attempt is one to be repeated", function()
    for _, case in ipairs {
      { answer = { network = { stage = "connect" } }, delivered = "no" },
      { answer = { status = 500 }, delivered = "unknown" },
    } do
      local _, client = sharing()
      local other, answer = client { started }, scripted { case.answer }
      local function send(request)
        assert(other:sync { force = true })
        return answer(request)
      end
      local one = client({}, { retry = default, transport = send })
      local report, failure = one:sync()
      assert.is_nil(report)
      assert.are.equal("cooldown", failure.outcome)
      assert.are.equal(start + 610, failure.retry_at)
      assert.are.equal(case.delivered, failure.delivered)
    end
  end)

  it("leaves the whole answer to the caller's own policy", function()
    local _, client = sharing()
    local other, answer = client { started }, scripted { { status = 409, body = "{}" } }
    local judged
    local policy = retry.policy {
      on = function(report)
        judged = report
        return false
      end,
    }
    local one = client({}, {
      retry = policy,
      transport = function(request)
        assert(other:sync { force = true })
        return answer(request)
      end,
    })
    assert.is_nil(one:sync())
    assert.are.equal("in_progress", judged.outcome)
    assert.are.equal("yes", judged.delivered)
    assert.are.equal(610, judged.retry_after)
  end)
end)
