--- How long to wait after the attempt with a given number: arithmetic, and nothing else.
--
-- Whether to wait at all, and what a Retry-After changes, is left to the policy. Whatever the
-- numbers, a delay is finite, not negative and not above the cap: growth is computed in floating
-- point, where what is too large becomes infinity (and then the cap) instead of wrapping around.

local backoff = {}

---@alias autopilot.Backoff
---| "constant" the base, every time
---| "linear" base × attempt
---| "quadratic" base × attempt²
---| "exponential" base × factor^(attempt - 1)
---| "decorrelated" anywhere between the base and factor × the previous delay

---@alias autopilot.Jitter
---| "none" the delay as computed: no randomness at all
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

local jittered = {
  none = function(delay)
    return delay
  end,
  full = function(delay, random)
    return backoff.draw(random) * delay
  end,
  equal = function(delay, random)
    return delay / 2 + backoff.draw(random) * (delay / 2)
  end,
}

--- A draw that a careless source of randomness cannot push out of `[0, 1]`.
---@param random fun(): number
---@return number
function backoff.draw(random)
  local drawn = random()
  if drawn >= 0 then
    return math.min(drawn, 1)
  end
  return 0 -- negative, or not a number
end

--- The delays of different clients drift apart, since each depends on the one before.
-- It is its own jitter: `full` and `equal` change nothing more, `none` takes the upper end.
local function decorrelated(settings, base, previous_delay, random)
  local lowest = math.min(settings.cap, base)
  local highest = math.min(settings.cap, math.max(base, previous_delay or 0) * settings.factor)
  if settings.jitter == "none" then
    return highest
  end
  return math.min(highest, lowest + backoff.draw(random) * (highest - lowest))
end

--- Seconds to wait after attempt number `attempt`: finite, at least 0, at most `settings.cap`.
---@param settings autopilot.RetryPolicy its `backoff`, `jitter`, `base`, `factor` and `cap`
---@param attempt integer from 1
---@param previous_delay number? seconds waited before this attempt; only `decorrelated` looks at it
---@param random fun(): number numbers in `[0, 1)`; not called with jitter `none`
---@return number
function backoff.delay(settings, attempt, previous_delay, random)
  local base = settings.base + 0.0 -- a float, since products of Lua 5.3's integers wrap around
  if base == 0 then
    return 0 -- 0 × infinity would not be a number
  elseif settings.backoff == "decorrelated" then
    return decorrelated(settings, base, previous_delay, random)
  end
  local grown = growth[settings.backoff](base, attempt, settings.factor)
  return jittered[settings.jitter](math.min(settings.cap, grown), random)
end

return backoff
