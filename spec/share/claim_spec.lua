-- Of all calls that share a store, one at a time sends a request for a tenant; the others return its answer.

local overlapping_calls = require "support.overlapping_calls"
local world = require "support.virtual_world"

local start, started = overlapping_calls.start, overlapping_calls.started
local report_of = overlapping_calls.report_of

local overlap

describe("calls for one tenant with one store", function()
  before_each(function()
    overlap = overlapping_calls.new()
  end)

  it("post once, and share the report", function()
    overlap:serve { started }
    local begun = overlap:calls(60)
    overlap:run()
    assert.are.equal(1, #overlap.transport.requests)
    local posted = 0
    for _, task in ipairs(begun) do
      local report = report_of(task)
      assert.is_true(report.ok)
      assert.are.equal("started", report.outcome)
      assert.are.equal(204, report.status)
      assert.are.equal("yes", report.delivered)
      assert.are.equal("response", report.confirmed_by)
      assert.are.equal("the-service's", report.request_id)
      assert.are.equal(
        overlap.transport.requests[1].headers["client-request-id"],
        report.client_request_id
      )
      if report.attempts[1] then
        posted = posted + 1
        assert.is_nil(report.joined)
        assert.are.equal("service", report.answered_by)
      else
        assert.is_true(report.joined)
        assert.are.equal("client", report.answered_by)
      end
    end
    assert.are.equal(1, posted)
  end)

  it("continue soon after the answer is there", function()
    overlap:serve { started }
    local begun = overlap:calls(60)
    overlap:run()
    for _, task in ipairs(begun) do
      assert.is_true(task.ended <= start + 0.5 + 0.05)
    end
  end)

  it("report cooldown afterwards", function()
    overlap:serve { started }
    overlap:calls(3)
    overlap:run()
    local late = overlap:calls(3)
    overlap:run()
    for _, task in ipairs(late) do
      assert.are.equal("cooldown", report_of(task).outcome)
      assert.is_nil(report_of(task).joined)
    end
    assert.are.equal(1, #overlap.transport.requests)
  end)

  it("wait together for the sync to complete", function()
    local record = world.record {
      trigger = start + 0.2,
      last_sync = start + 0.9,
      date = start + 1.5,
    }
    overlap:serve { started, record, record, record }
    local begun = overlap:calls(3, nil, { wait = true })
    overlap:run()
    local posts = 0
    for _, request in ipairs(overlap.transport.requests) do
      posts = posts + (request.method == "POST" and 1 or 0)
    end
    assert.are.equal(1, posts)
    for _, task in ipairs(begun) do
      assert.are.equal("completed", report_of(task).outcome)
      assert.are.equal("yes", report_of(task).delivered)
    end
  end)

  it("let one of them retry after a failure", function()
    overlap:serve { { status = 503 }, { status = 503 }, started }
    local begun = overlap:calls(20, { recover = false })
    overlap:run()
    assert.are.equal(3, #overlap.transport.requests)
    for _, task in ipairs(begun) do
      assert.are.equal("started", report_of(task).outcome)
    end
  end)

  it("count another's attempts in their reports", function()
    overlap:serve { { status = 500 }, { status = 500 }, { status = 500 }, { status = 500 } }
    local begun = overlap:calls(20)
    overlap:run()
    assert.are.equal(4, #overlap.transport.requests)
    for _, task in ipairs(begun) do
      local report = report_of(task)
      assert.are.equal("unavailable", report.outcome)
      assert.are.equal("unknown", report.delivered)
      assert.are.equal("attempts", report.gave_up)
    end
  end)

  it("share a refusal", function()
    overlap:serve { { status = 429 } }
    local begun = overlap:calls(20)
    overlap:run()
    assert.are.equal(1, #overlap.transport.requests)
    for _, task in ipairs(begun) do
      assert.are.equal("cooldown", report_of(task).outcome)
    end
  end)

  it("retry for themselves if the request surely was not sent, at most two", function()
    local unsent =
      { network = { stage = "connect", name = "REFUSED", message = "", delivered = "no" } }
    overlap:serve { unsent, unsent, unsent, unsent }
    local begun = overlap:calls(20, { retry = false })
    overlap:run()
    assert.are.equal(2, #overlap.transport.requests)
    for _, task in ipairs(begun) do
      assert.are.equal("unreachable", report_of(task).outcome)
      assert.are.equal("no", report_of(task).delivered)
    end
  end)

  it("continue with the next call when the first could not send", function()
    local unsent =
      { network = { stage = "connect", name = "REFUSED", message = "", delivered = "no" } }
    overlap:serve { unsent, started }
    local begun = overlap:calls(10, { retry = false })
    overlap:run()
    assert.are.equal(2, #overlap.transport.requests)
    local outcomes = {}
    for _, task in ipairs(begun) do
      local outcome = report_of(task).outcome
      outcomes[outcome] = (outcomes[outcome] or 0) + 1
    end
    assert.are.same({ unreachable = 1, started = 9 }, outcomes)
  end)

  it("do not report another client's bad token as their own", function()
    overlap:serve { { status = 401 }, started }
    local bad = overlap:spawn(function()
      return overlap:client({ token = "bad" }):sync()
    end)
    local good = overlap:calls(5)
    overlap:run()
    assert.are.equal("unauthenticated", report_of(bad).outcome)
    for _, task in ipairs(good) do
      assert.are.equal("started", report_of(task).outcome)
    end
    assert.are.equal(2, #overlap.transport.requests)
  end)

  it("do not report another client's missing token as their own", function()
    overlap:serve { { status = 503, headers = { ["Retry-After"] = "3" } }, started }
    local asked = 0
    local bad = overlap:spawn(function()
      return overlap
        :client({
          token = function()
            asked = asked + 1
            if asked > 1 then
              return nil, "the vault is sealed"
            end
            return "good"
          end,
        })
        :sync()
    end)
    local good = overlap:calls(5)
    overlap:run()
    assert.are.equal("token_error", report_of(bad).outcome)
    assert.are.equal("unknown", report_of(bad).delivered)
    for _, task in ipairs(good) do
      assert.are.equal("started", report_of(task).outcome)
    end
    assert.are.equal(2, #overlap.transport.requests)
  end)

  it("never take over a claim when the store fails, after any time", function()
    overlap:serve {}
    overlap.transport = function()
      return { status = 500 }
    end
    local get, is_down = overlap.store.get, false
    overlap.store.get = function(self, key)
      if is_down then
        return nil, "down"
      end
      return get(self, key)
    end
    local key = "autopilot:3:https://graph.microsoft.com:contoso:claim"
    local before
    overlap:spawn(function()
      overlap
        :client({
          retry = false,
          recover = false,
          transport = function(request)
            overlap:sleep(75) -- longer than it was allowed to, and than its claim lasts
            before, is_down = get(overlap.store, key), true
            return overlap.transport(request)
          end,
        })
        :sync()
    end)
    overlap:spawn(function()
      overlap:sleep(74)
      overlap.store:set(key, "another", 60)
    end)
    overlap:run()
    assert.are.equal("another", before)
    assert.are.equal("another", get(overlap.store, key))
  end)

  it("hold no claim while a token is fetched", function()
    overlap:serve { started }
    local slow_one = overlap:spawn(function()
      return overlap
        :client({
          token = function()
            overlap:sleep(500)
            return "good"
          end,
        })
        :sync()
    end)
    local quick = overlap:calls(1)
    overlap:run()
    assert.is_true(quick[1].ended < start + 1)
    assert.are.equal("cooldown", report_of(slow_one).outcome)
    assert.are.equal(1, #overlap.transport.requests)
  end)
end)
