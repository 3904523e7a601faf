--- How long to wait after the attempt with a given number.
--
-- Whether to wait at all, and what a Retry-After changes, is decided in `autopilot.retry.policy`. A delay is
-- always finite, not negative and not above the cap: it is computed in floating point, where a delay that is
-- too large becomes infinity, and then the cap.

local backoff = {}

---@alias autopilot.Backoff
---| "constant" the base, every time
---| "linear" base × attempt
---| "quadratic" base × attempt²
---| "exponential" base × factor^(attempt - 1)
---| "decorrelated" anywhere between the base and factor × the previous delay

---@alias autopilot.Jitter
---| "none" the delay as computed, without randomness
---| "full" anywhere between 0 and the delay
---| "equal" half of the delay, and anywhere within the other half

backoff.names = { "constant", "linear", "quadratic", "exponential", "decorrelated" }
backoff.jitters = { "none", "full", "equal" }

local growth = {
  constant = function(base)
    return base
  end,
  linear = function(base, attempt)
    return base * attempt
  end,
  quadratic = function(base, attempt)
    return base * attempt ^ 2
  end,
  exponential = function(base, attempt, factor)
    return base * factor ^ (attempt - 1)
  end,
}

--- A random number between two limits. A result of `random` outside `[0, 1]`, or NaN, counts as 0 or 1.
---@param random fun(): number
---@param lowest number
---@param highest number
---@return number
function backoff.between(lowest, highest, random)
  local drawn = random()
  drawn = drawn >= 0 and math.min(drawn, 1) or 0
  return math.min(highest, lowest + drawn * (highest - lowest))
end

--- Seconds to wait after attempt number `attempt`: finite, at least 0, at most `settings.cap`.
---@param settings autopilot.RetryPolicy its `backoff`, `jitter`, `base`, `factor` and `cap`
---@param attempt integer from 1
---@param previous_delay number? seconds waited before this attempt; only `decorrelated` looks at it
---@param random fun(): number numbers in `[0, 1)`; not called with jitter `none`
---@return number
function backoff.delay(settings, attempt, previous_delay, random)
  local base = settings.base + 0.0 -- a float, because products of Lua 5.3's integers wrap around
  if base == 0 then
    return 0 -- 0 × infinity would be NaN
  end
  local lowest, highest
  if settings.backoff == "decorrelated" then
    -- Each delay depends on the one before, so that the delays of different clients drift apart. This is
    -- random by itself: the jitters `full` and `equal` make no difference.
    lowest = math.min(settings.cap, base)
    highest = math.max(base, previous_delay or 0) * settings.factor
  else
    lowest = 0
    highest = growth[settings.backoff](base, attempt, settings.factor)
  end
  highest = math.min(settings.cap, highest)
  if settings.jitter == "none" then
    return highest
  elseif settings.jitter == "equal" and settings.backoff ~= "decorrelated" then
    lowest = highest / 2
  end
  return backoff.between(lowest, highest, random)
end

return backoff
