local retry = require "autopilot.retry"

local function taken(budget, clock, tries)
  local count = 0
  for _ = 1, tries do
    if budget:take(clock) then
      count = count + 1
    end
  end
  return count
end

describe("autopilot.retry.budget", function()
  it("gives as many tokens as its capacity, and then refuses", function()
    assert.equal(3, taken(retry.budget { capacity = 3, refill = 1 }, 100, 10))
  end)

  it("refills with time, also by fractions, and never above its capacity", function()
    local budget = retry.budget { capacity = 3, refill = 0.5 }
    taken(budget, 100, 3)
    assert.is_false(budget:take(101))
    assert.equal(0.5, budget:available(101))
    assert.is_true(budget:take(102))
    assert.equal(3, taken(budget, 1e9, 10))
  end)

  it("loses no part of a refill when it is asked too early", function()
    local budget = retry.budget { capacity = 1, refill = 0.125 }
    budget:take(0)
    for second = 1, 7 do
      assert.is_false(budget:take(second))
    end
    assert.is_true(budget:take(8))
  end)

  it("takes nothing when it is only queried", function()
    local budget = retry.budget { capacity = 1, refill = 0 }
    for _ = 1, 5 do
      assert.equal(1, budget:available(7))
    end
    assert.is_true(budget:take(7))
    assert.equal(0, budget:available(7))
    assert.is_false(budget:take(1e9))
  end)

  it("refills nothing when the clock goes backwards, nor twice for the same seconds", function()
    local budget = retry.budget { capacity = 5, refill = 1 }
    taken(budget, 100, 5)
    assert.equal(0, budget:available(50))
    assert.equal(2, taken(budget, 102, 5))
    assert.is_false(budget:take(60))
    budget:take(103)
    assert.is_false(budget:take(50))
    assert.is_false(budget:take(103))
  end)

  it("gives no additional tokens after a clock reading from the past", function()
    local budget = retry.budget { capacity = 2, refill = 1 }
    budget:take(100)
    assert.is_true(budget:take(40)) -- the second of the two
    assert.is_false(budget:take(100))
  end)

  it("raises at the caller's line for a mistake in its options", function()
    local function mistake(given)
      local line = debug.getinfo(1, "l").currentline + 2
      local ok, message = pcall(function()
        local made = retry.budget(given)
        return made
      end)
      assert.is_false(ok)
      assert.matches("budget_spec%.lua:" .. line .. ": autopilot%.retry%.budget: ", message)
      return message
    end
    assert.matches("option 'capacity' is required$", mistake { refill = 1 })
    assert.matches("option 'refill' is required$", mistake { capacity = 1 })
    assert.matches("'capacity' must be at least 1", mistake { capacity = 0.5, refill = 1 })
    assert.matches("'refill' must be at least 0", mistake { capacity = 1, refill = -1 })
    assert.matches("did you mean 'refill'", mistake { capacity = 1, refil = 1 })
  end)
end)
