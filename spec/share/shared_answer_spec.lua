-- The form of an answer in a store: what is told, and what is taken of values that others may have written.

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

describe("an answer in a store", function()
  local client = world.new():client()

  it("is read", function()
    local result = assert(shared_answer.read(told {}, client))
    assert.are.equal(2, result.attempts)
    assert.are.equal(503, result.answer.status)
    assert.are.equal("unavailable", result.answer.outcome)
    assert.is_true(result.answer.joined)
  end)

  it("has no other status than one of HTTP", function()
    for _, status in ipairs { -1, 0, 99, 1000, 1e11, 200.5, "503" } do
      local answer = { outcome = "unavailable", delivered = "unknown", status = status }
      local result = assert(shared_answer.read(told { answer = answer }, client))
      assert.is_nil(result.answer.status)
    end
  end)

  it("is not read where its number of attempts is not one, or above a million", function()
    assert.is_truthy(shared_answer.read(told { attempts = 1e6 }, client))
    for _, attempts in ipairs { -1, 1e6 + 1, 1e11, 1.5, "2" } do
      assert.is_nil(shared_answer.read(told { attempts = attempts }, client))
    end
  end)
end)
