local policy = require "autopilot.retry.policy"
local overlay = require "support.overlay"

local function settings(given)
  local merged =
    overlay({ backoff = "exponential", jitter = "none", base = 2, factor = 2, cap = 1000 }, given)
  return merged
end

local function always(value)
  return function()
    return value
  end
end

local function no_random()
  error "no randomness was due"
end

--- The first delays with that backoff and no jitter.
local function delays(given, count)
  local list = {}
  for attempt = 1, count do
    list[attempt] = policy.delay(settings(given), attempt, list[attempt - 1], no_random)
  end
  return list
end

--- Mean, smallest and largest delay over draws that are spread evenly.
local function sample(given, previous_delay)
  local sum, smallest, largest, count = 0, math.huge, 0, 10000
  for index = 1, count do
    local random = always((index - 0.5) / count)
    local delay = policy.delay(settings(given), 3, previous_delay, random)
    sum = sum + delay
    smallest, largest = math.min(smallest, delay), math.max(largest, delay)
  end
  return sum / count, smallest, largest
end

describe("autopilot.retry.policy.delay", function()
  it("grows as the names say", function()
    assert.same({ 2, 2, 2, 2 }, delays({ backoff = "constant" }, 4))
    assert.same({ 2, 4, 6, 8 }, delays({ backoff = "linear" }, 4))
    assert.same({ 2, 8, 18, 32 }, delays({ backoff = "quadratic" }, 4))
    assert.same({ 2, 4, 8, 16 }, delays({ backoff = "exponential" }, 4))
    assert.same({ 2, 6, 18, 54 }, delays({ backoff = "exponential", factor = 3 }, 4))
  end)

  it("stops growing at the cap", function()
    for _, name in ipairs { "linear", "quadratic", "exponential", "decorrelated" } do
      assert.equal(5, delays({ backoff = name, cap = 5 }, 10)[10])
    end
    assert.same({ 1, 1 }, delays({ backoff = "constant", cap = 1 }, 2))
    assert.same({ 0, 0 }, delays({ cap = 0 }, 2))
  end)

  it("draws full jitter from all of the delay", function()
    local mean, smallest, largest = sample { jitter = "full" } -- the delay is 8
    assert.near(4, mean, 0.01)
    assert.near(0, smallest, 0.01)
    assert.near(8, largest, 0.01)
  end)

  it("draws equal jitter from the upper half of the delay", function()
    local mean, smallest, largest = sample { jitter = "equal" }
    assert.near(6, mean, 0.01)
    assert.near(4, smallest, 0.01)
    assert.near(8, largest, 0.01)
  end)

  it(
    "draws decorrelated delays between the base and the previous delay times the factor",
    function()
      for _, jitter in ipairs { "full", "equal" } do
        local given = { backoff = "decorrelated", jitter = jitter, factor = 3 }
        local mean, smallest, largest = sample(given, 10)
        assert.near(16, mean, 0.01)
        assert.near(2, smallest, 0.01)
        assert.near(30, largest, 0.01)
      end
    end
  )

  it(
    "takes the base for the previous delay when there was none, or one shorter than the base",
    function()
      local given = { backoff = "decorrelated", jitter = "full", factor = 3 }
      for _, previous_delay in ipairs { false, 0, 1 } do
        local _, smallest, largest = sample(given, previous_delay or nil)
        assert.near(2, smallest, 0.01)
        assert.near(6, largest, 0.01)
      end
    end
  )

  it("never overflows: finite, not negative, not above the cap, for any numbers", function()
    local numbers = { 0, 5e-324, 1, 1e9, 1e300, 1.7976931348623157e308, 9007199254740993 }
    local attempts = { 1, 2, 1025, 1000000000, 9223372036854775807 }
    for _, name in ipairs(policy.backoffs) do
      for _, jitter in ipairs(policy.jitters) do
        for _, base in ipairs(numbers) do
          for _, cap in ipairs(numbers) do
            for _, attempt in ipairs(attempts) do
              local given = settings { backoff = name, jitter = jitter, base = base, cap = cap }
              given.factor = 1e9
              local delay = policy.delay(given, attempt, cap, always(0.9999999999999999))
              assert.is_true(delay >= 0 and delay <= cap) -- false for NaN too
            end
          end
        end
      end
    end
  end)

  it("never waits with a base of 0, however steep the growth", function()
    for _, name in ipairs(policy.backoffs) do
      local given = settings { backoff = name, base = 0, factor = 1e9, jitter = "full" }
      assert.equal(0, policy.delay(given, 1000000000, 0, always(0.5)))
    end
  end)

  it("does not wrap around where numbers are integers", function()
    local largest = 9223372036854775807
    local delay =
      policy.delay(settings { backoff = "linear", base = largest }, largest, nil, no_random)
    assert.equal(1000, delay)
  end)

  it("keeps values of a faulty random source within bounds", function()
    local given = settings { jitter = "full", base = 8 }
    assert.equal(8, policy.delay(given, 1, nil, always(7)))
    assert.equal(0, policy.delay(given, 1, nil, always(-1)))
    assert.equal(0, policy.delay(given, 1, nil, always(0 / 0)))
  end)
end)
