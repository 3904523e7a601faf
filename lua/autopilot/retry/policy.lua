--- Decides whether, and after how long, a failed attempt is followed by another.
--
-- A policy only answers: it never sleeps, never counts and never changes, so that one serves any
-- number of clients and every loop, also one that yields. Attempts, clocks and the budget's tokens
-- are kept by whoever runs the loop (`autopilot.client`, `autopilot.retry.run`).

local backoff = require "autopilot.retry.backoff"
local condition = require "autopilot.retry.condition"
local options = require "autopilot.base.options"
local world = require "autopilot.retry.world"

---@class autopilot.RetryPolicyOptions
--- How many at most, the first included; default 4.
---@field attempts integer?
--- Seconds that the backoff grows from; default 2.
---@field base number?
--- At least 1, for `exponential` (default 2) and `decorrelated` (default 3); others ignore it.
---@field factor number?
--- Longest delay in seconds, unless a Retry-After is longer; default 30, or a larger base.
---@field cap number?
---@field backoff autopilot.Backoff? default `exponential`
---@field jitter autopilot.Jitter? default `full`
--- Seconds from the begin of the first attempt within which the last must begin; default no limit.
---@field max_elapsed number?
--- Longest Retry-After, in seconds, that is waited for; default 180.
---@field max_retry_after number?
--- What is retried: a list of outcomes, exceptions from the defaults (`{interrupted = true}`), or a
--- function that decides alone. Default `unreachable`, `unavailable` and `throttled`.
---@field on string[]|table<string, boolean>|fun(report: any): boolean|nil
--- Shared among clients. The policy asks `available(clock)`; `take` is for who makes the retry.
---@field budget autopilot.RetryBudget?

---@class autopilot.RetryQuestion
---@field attempt integer number of the attempt that failed, from 1
--- What came of it: `outcome`, `retry_after` (seconds) or else `retry_at` (Unix seconds) matter.
---@field report any
---@field elapsed number? seconds since the first attempt began; default 0
---@field previous_delay number? seconds waited before this attempt
---@field remaining number? seconds left until the caller's own deadline; default no deadline
---@field random (fun(): number)? numbers in `[0, 1)`; default the system's
---@field clock (fun(): number)? the clock that the budget is used with; default the system's
---@field now (fun(): number)? Unix seconds, only asked about a `retry_at`; default the system's

---@alias autopilot.GaveUp
---| "not_retryable" such a failure is not retried
---| "attempts" there were enough
---| "retry_after" the service asks for more patience than `max_retry_after`
---| "deadline" the next attempt could not begin before `max_elapsed` or the caller's deadline
---| "budget" the shared budget has no token

---@class autopilot.RetryPolicy
---@field attempts integer
---@field base number
---@field factor number
---@field cap number
---@field backoff autopilot.Backoff
---@field jitter autopilot.Jitter
---@field max_elapsed number?
---@field max_retry_after number
--- Whoever makes the retry that was decided takes a token for it: `policy.budget:take(clock)`.
---@field budget autopilot.RetryBudget?
--- Seconds to wait before the next attempt, or nil and why there should be none. The same question,
--- with the same numbers drawn, always has the same answer, and asking changes nothing.
---@field decide fun(self, question: autopilot.RetryQuestion): number?, autopilot.GaveUp?

local function budget_complaint(value)
  if type(value.available) ~= "function" or type(value.take) ~= "function" then
    return "must be made by autopilot.retry.budget, or have methods 'available' and 'take'"
  end
end

-- Defaults, chosen for an action that takes minutes and that nobody waits for at a keyboard:
-- four attempts (the Graph SDKs make four) from 2 s on last about as long as a gateway's hiccup;
-- full jitter, because administrators schedule this by the clock, all at the full hour;
-- and 180 s is the longest wait of the Graph SDKs too, so nothing waits longer than people know.
local policy_rules = {
  attempts = { type = "integer", default = 4, min = 1 },
  base = { type = "number", default = 2, min = 0 },
  factor = { type = "number", min = 1 },
  cap = { type = "number", min = 0 },
  backoff = { type = "string", default = "exponential", one_of = backoff.names },
  jitter = { type = "string", default = "full", one_of = backoff.jitters },
  max_elapsed = { type = "number", min = 0 },
  max_retry_after = { type = "number", default = 180, min = 0 },
  budget = { type = "table", check = budget_complaint },
}
local default_cap = 30

local question_rules = {
  attempt = { type = "integer", required = true, min = 1 },
  report = { type = "any" },
  elapsed = { type = "number", default = 0 },
  previous_delay = { type = "number" },
  remaining = { type = "number" },
  random = { type = "function", default = world.random },
  clock = { type = "function", default = world.clock },
  now = { type = "function", default = world.now },
}

-- Adding to a number near the largest must not give infinity.
local largest = 2 ^ 1023

local function is_wait(value)
  return type(value) == "number" and value >= 0 -- false for NaN; infinity exceeds every limit
end

--- The seconds for which the service asked to be left alone (or is known to refuse), or nil.
local function asked_wait(assumed_waits, report, now)
  if type(report) ~= "table" then
    return nil
  elseif is_wait(report.retry_after) then
    return report.retry_after
  elseif is_wait(report.retry_at) then
    return math.max(0, report.retry_at - now())
  end
  return report.outcome ~= nil and assumed_waits[report.outcome] or nil
end

--- A wait that the service asked for, made longer by chance but never shorter.
-- Many clients are told the same Retry-After, and would come back in the same instant. The spread
-- leaves at least half of the time that the attempt has left.
local function spread_upwards(settings, asked, limit, random)
  if settings.jitter == "none" then
    return asked
  end
  local spread = math.min(settings.cap, math.max(settings.base, asked / 10), (limit - asked) / 2)
  return math.max(asked, math.min(largest, asked + backoff.draw(random) * spread))
end

--- Seconds in which the next attempt must begin.
local function time_left(settings, question)
  local left = question.remaining or math.huge
  if settings.max_elapsed then
    left = math.min(left, settings.max_elapsed - math.max(0, question.elapsed))
  end
  return left
end

local function decide(settings, is_retried, assumed_waits, question)
  if not is_retried(question.report) then
    return nil, "not_retryable"
  elseif question.attempt >= settings.attempts then
    return nil, "attempts"
  end
  local asked = asked_wait(assumed_waits, question.report, question.now)
  if asked and asked > settings.max_retry_after then
    return nil, "retry_after"
  end
  local limit = time_left(settings, question)
  local random = question.random
  local delay = backoff.delay(settings, question.attempt, question.previous_delay, random)
  if asked and asked >= delay then
    delay = spread_upwards(settings, asked, limit, random)
  end
  if delay >= limit then
    return nil, "deadline"
  elseif settings.budget and settings.budget:available(question.clock()) < 1 then
    return nil, "budget"
  end
  return delay
end

local function describe(settings)
  return ("autopilot.retry.policy: %s attempts, %s backoff from %s s to %s s, %s jitter"):format(
    settings.attempts,
    settings.backoff,
    settings.base,
    settings.cap,
    settings.jitter
  )
end

--- Nothing can be assigned to the object; its settings can be read.
local function freeze(settings, methods)
  return setmetatable({}, {
    __index = function(_, name)
      return methods[name] or settings[name]
    end,
    __newindex = function(_, name)
      error(("a retry policy cannot be changed (assigning '%s')"):format(tostring(name)), 2)
    end,
    __tostring = function()
      return describe(settings)
    end,
    __metatable = false,
  })
end

--- What of the options is the caller's and what the preset's, with the rules that they must obey.
-- The rule for `on` depends on the form in which it was given.
local function prepare(given, preset)
  local rules, merged = {}, {}
  for name, rule in pairs(policy_rules) do
    rules[name] = rule
  end
  for name, value in pairs(preset) do
    merged[name] = value
  end
  for name, value in pairs(given) do
    merged[name] = value
  end
  local exact
  merged.on, rules.on, exact = condition.read(given.on)
  return rules, merged, exact
end

local policy = {}

---@class autopilot.RetryPreset
---@field options autopilot.RetryPolicyOptions taken where the caller gives none
---@field is_retried (fun(report: any): boolean)? decides where the caller's `on` does not
--- Seconds to wait after an outcome that came without a Retry-After.
---@field assumed_waits table<string, number>?

--- Makes a policy. A mistake in the options raises.
---@param name string the public function, as its caller writes it
---@param given autopilot.RetryPolicyOptions?
---@param preset autopilot.RetryPreset
---@param level integer as for `error`, counted from the caller of this function
---@return autopilot.RetryPolicy
function policy.new(name, given, preset, level)
  local rules, merged, exact = policy_rules, given, false
  if given == nil or type(given) == "table" then
    rules, merged, exact = prepare(given or {}, preset.options)
  end
  local settings = options.check(name, rules, merged, level + 1)
  settings.factor = settings.factor or (settings.backoff == "decorrelated" and 3 or 2)
  settings.cap = settings.cap or math.max(default_cap, settings.base)
  local is_retried = condition.compile(settings.on, exact, preset.is_retried or condition.default)
  settings.on = nil -- else it could be read from the policy, and changed
  local assumed_waits = preset.assumed_waits or {}

  local methods = {}
  function methods.decide(_, question)
    local checked = options.check("policy:decide", question_rules, question)
    return decide(settings, is_retried, assumed_waits, checked)
  end
  return freeze(settings, methods)
end

return policy
