-- The form of an answer in a store: what is read, and how values of other programs are treated.

local overlapping_calls = require "support.overlapping_calls"
local shared_answer = require "autopilot.share.shared_answer"
local world = require "support.virtual_world"

local start = world.start

--- An answer as another client tells it.
local function told(fields)
  local value = {
    id = "the-claim",
    told_by = "the-claim",
    sent = ("%.0f.0"):format(start - 10),
    took = 1,
    attempts = 2,
    answer = { outcome = "unavailable", delivered = "unknown", status = 503 },
  }
  for name, field in pairs(fields) do
    value[name] = field
  end
  return value
end

describe("an answer that is read from a store", function()
  local client = world.new():client()

  it("has all its fields", function()
    local result = assert(shared_answer.read(told {}, client))
    assert.are.equal(2, result.attempts)
    assert.are.equal(503, result.answer.status)
    assert.are.equal("unavailable", result.answer.outcome)
    assert.is_true(result.answer.joined)
  end)

  it("has only a status that HTTP allows", function()
    for _, status in ipairs { -1, 0, 99, 1000, 1e11, 200.5, "503" } do
      local answer = { outcome = "unavailable", delivered = "unknown", status = status }
      local result = assert(shared_answer.read(told { answer = answer }, client))
      assert.is_nil(result.answer.status)
    end
  end)

  it("is ignored if its number of attempts is not a number from 1 to a million", function()
    assert.is_truthy(shared_answer.read(told { attempts = 1e6 }, client))
    for _, attempts in ipairs { -1, 1e6 + 1, 1e11, 1.5, "2" } do
      assert.is_nil(shared_answer.read(told { attempts = attempts }, client))
    end
  end)
end)

describe("a Retry-After that has expired when the answer is read", function()
  it("is omitted", function()
    local overlap = overlapping_calls.new()
    overlap:serve { { status = 429, headers = { ["Retry-After"] = "1" } } }
    local get, is_slow = overlap.store.get, false
    overlap.store.get = function(self, key)
      overlap:sleep(is_slow and 2 or 0)
      return get(self, key)
    end
    local begun = overlap:calls(2, {
      retry = false,
      transport = function(request)
        overlap:sleep(0.5)
        is_slow = true
        return overlap.transport(request)
      end,
    })
    overlap:run()
    assert.are.equal(1, #overlap.transport.requests)
    local report = overlapping_calls.report_of(begun[2])
    assert.are.equal("throttled", report.outcome)
    assert.is_true(report.joined)
    assert.is_nil(report.retry_after)
    assert.is_nil(report.retry_at)
  end)
end)
