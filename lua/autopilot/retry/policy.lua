--- Decides whether, and after how long, a failed attempt is followed by another.
--
-- A policy only answers questions: it never sleeps, counts nothing and never changes, so that one policy
-- serves any number of clients and every loop, also a loop that yields. The loop (`autopilot.client`,
-- `autopilot.retry.run`) counts the attempts, reads the clock and takes the tokens of the budget.

local lazy = require "autopilot.base.lazy"
local merged = require "autopilot.base.merged"
local options = require "autopilot.base.options"

local core = lazy "autopilot.core"

local policy = {}

policy.backoffs = { "constant", "linear", "quadratic", "exponential", "decorrelated" }
policy.jitters = { "none", "full", "equal" }

---@class autopilot.RetryPolicyOptions
---@field [string] autopilot.NoSuchOption
---@field attempts integer? how many at most, the first included; default 4
---@field base number? seconds that the backoff grows from; default 2
---@field factor number? at least 1, for `exponential` (default 2) and `decorrelated` (default 3)
---@field cap number? longest delay in seconds, unless a Retry-After is longer; default 30, or a larger base
---@field backoff autopilot.Backoff? default `exponential`
---@field jitter autopilot.Jitter? default `full`
---@field max_elapsed number? seconds from the first attempt's beginning to that of the last; default no limit
---@field max_retry_after number? longest Retry-After, in seconds, that is waited for; default 180
--- What is retried: a list of outcomes, exceptions from the defaults (`{interrupted = true}`), or a
--- function that decides alone. Default `unreachable`, `unavailable` and `throttled`.
---@field on (string[]|table<string, boolean>|fun(report: any): boolean)?
--- Shared among clients. The policy calls `available(clock)`; the loop that retries calls `take(clock)`.
---@field budget autopilot.RetryBudget?

---@class autopilot.RetryQuestion
---@field attempt integer number of the attempt that failed, from 1
--- The result of the attempt: `outcome` and `retry_after` (seconds), else `retry_at` (Unix seconds), are read.
---@field report any
---@field elapsed number? seconds since the first attempt began; default 0
---@field previous_delay number? seconds waited before this attempt
---@field remaining number? seconds left until the caller's own deadline; default no deadline
---@field random (fun(): number)? numbers in `[0, 1)`; default the system's
---@field clock (fun(): number)? the clock that the budget is used with; default the system's
---@field now (fun(): number)? Unix seconds, only asked about a `retry_at`; default the system's

---@alias autopilot.GaveUp
---| "not_retryable" the policy does not retry failures of this kind
---| "attempts" the policy's number of attempts is reached
---| "retry_after" the service asks for a longer wait than `max_retry_after`
---| "deadline" the next attempt could not begin before `max_elapsed` or the caller's deadline
---| "budget" the shared budget has no token

---@class autopilot.RetryPolicy: autopilot.RetryPolicyOptions without `on`; cannot be changed
--- Seconds to wait before the next attempt, or nil and why there is to be none. The answer depends on
--- the question and the random numbers only, and asking changes nothing.
---@field decide fun(self, question: autopilot.RetryQuestion): number?, autopilot.GaveUp?

--- What a budget must be; nil when it is that.
function policy.budget_complaint(value)
  local is_budget = type(value) == "table"
    and type(value.available) == "function"
    and type(value.take) == "function"
  if not is_budget then
    return "must be made by autopilot.retry.budget, or have methods 'available' and 'take'"
  end
end

-- The defaults fit an action that takes minutes and runs unattended: four attempts (as many as the Graph
-- SDKs make), 2 s apart at first, outlast a short failure of a gateway; full jitter, because administrators
-- schedule this by the clock, at the full hour; no wait above 180 s, the longest of the Graph SDKs too.
local policy_rules = {
  attempts = { type = "integer", default = 4, min = 1 },
  base = { type = "number", default = 2, min = 0 },
  factor = { type = "number", min = 1 },
  cap = { type = "number", min = 0 },
  backoff = { type = "string", default = "exponential", one_of = policy.backoffs },
  jitter = { type = "string", default = "full", one_of = policy.jitters },
  max_elapsed = { type = "number", min = 0 },
  max_retry_after = { type = "number", default = 180, min = 0 },
  budget = { type = "table", check = policy.budget_complaint },
}
local default_cap = 30

-- Every failure that a report can tell, and whether it is retried by default. To retry a success is a
-- mistake, and refused as an unknown name.
local retried_by_default = {
  -- The next attempt has a fair chance, and does no harm.
  unreachable = true,
  unavailable = true,
  throttled = true,
}
-- Not retried: the service allows a tenant one sync in 600 s, and answers the same until that time is over;
-- a lost request may have arrived, and only the caller knows whether a second one does harm; repeating a
-- sign-in with a wrong secret can lock the application out (a token endpoint that fails is another case, see
-- `is_transient`); for the rest an administrator has to change something first.
local not_retried = "cooldown in_progress interrupted token_error unauthenticated forbidden "
  .. "not_licensed not_found rejected redirected unexpected cancelled sync_failed timed_out"
for outcome in not_retried:gmatch "%S+" do
  retried_by_default[outcome] = false
end

local outcome_rules, none_retried = {}, {}
for outcome in pairs(retried_by_default) do
  outcome_rules[outcome] = { type = "boolean" }
  none_retried[outcome] = false
end

local function list_or_table_message()
  return "must be a list of outcomes, or a table {outcome = true or false}"
end

--- Reads the option `on` as it was given. A list becomes a table that names every outcome.
---@return any on that table, or what was given
---@return autopilot.OptionRule rule what it must obey; refuses a table that is empty, or that has both a list and names
local function read_on(on)
  if type(on) ~= "table" or options.is_callable(on) then
    return on, { type = { "table", "function" } }
  end
  local listed, names = merged(none_retried), merged(on)
  for index, outcome in ipairs(on) do
    listed[outcome], names[index] = true, nil
  end
  -- An empty table could mean "nothing" as well as "no exceptions": the caller has to say which.
  if next(on) == nil or (on[1] ~= nil and next(names) ~= nil) then
    return on, { type = "any", check = list_or_table_message }
  end
  return on[1] ~= nil and listed or on, { type = "table", fields = outcome_rules }
end

--- Makes the function that tells which failures are retried, from the caller's option.
local function predicate(on, preset)
  if options.is_callable(on) then
    return on
  end
  local retried, statuses = merged(retried_by_default, preset.retried), preset.statuses
  return function(report)
    if type(report) ~= "table" then
      return false
    end
    local wanted, network = (on or {})[report.outcome], report.network
    if wanted ~= nil then
      return wanted
    elseif report.is_transient == true then
      return true -- the token endpoint failed: nothing was sent, and it may answer the next time
    elseif type(network) == "table" and network.name == "CURLE_SSL_CACERT_BADFILE" then
      return false -- a file that cannot be read now cannot be read in ten seconds either
    elseif statuses and report.status and not statuses[report.status] then
      return false
    end
    return retried[report.outcome] == true
  end
end

--- Random numbers of the C module. Where that is not installed, those of `math.random`, which Lua 5.1 to 5.3
-- seed alike in every process.
local function system_random()
  local is_there, module = pcall(require, "autopilot.core")
  return (is_there and module.random or math.random)()
end

local question_rules = {
  attempt = { type = "integer", required = true, min = 1 },
  report = { type = "any" },
  elapsed = { type = "number", default = 0 },
  previous_delay = { type = "number" },
  remaining = { type = "number" },
  random = { type = "function", default = system_random },
  clock = { type = "function" },
  now = { type = "function" },
}

-- ---- How long to wait --------------------------------------------------------------------------------

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

-- The exponents of `attempt`.
local exponents = { constant = 0, linear = 1, quadratic = 2 }

--- A random number between two limits. A result of `random` outside `[0, 1]`, or NaN, counts as 0 or 1.
local function between(lowest, highest, random)
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
function policy.delay(settings, attempt, previous_delay, random)
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
    local exponent = exponents[settings.backoff]
    lowest = 0
    highest = base * (exponent and attempt ^ exponent or settings.factor ^ (attempt - 1))
  end
  highest = math.min(settings.cap, highest)
  if settings.jitter == "none" then
    return highest
  elseif settings.jitter == "equal" and settings.backoff ~= "decorrelated" then
    lowest = highest / 2
  end
  return between(lowest, highest, random)
end

-- The largest delay: adding to a larger number could give infinity.
local largest = 2 ^ 1023

local function is_wait(value)
  return type(value) == "number" and value >= 0 -- false for NaN; infinity exceeds every limit
end

--- The seconds for which the service asked to send no request, or will refuse one; nil if unknown.
local function asked_wait(assumed_waits, report, now)
  if type(report) ~= "table" then
    return nil
  elseif is_wait(report.retry_after) then
    return report.retry_after
  elseif is_wait(report.retry_at) then
    return math.max(0, report.retry_at - (now or core.now)())
  end
  return report.outcome ~= nil and assumed_waits and assumed_waits[report.outcome] or nil
end

--- A wait that the service asked for, made longer by chance but never shorter: many clients get the same
-- Retry-After, and would come back in the same instant. At least half of the time that is left for the
-- attempt remains.
local function spread_upwards(settings, asked, limit, random)
  if settings.jitter == "none" then
    return asked
  end
  local spread = math.min(settings.cap, math.max(settings.base, asked / 10), (limit - asked) / 2)
  return math.max(asked, math.min(largest, between(asked, asked + spread, random)))
end

-- ---- The decision ------------------------------------------------------------------------------------

local function decide(settings, is_retried, assumed_waits, question)
  local attempt, random = question.attempt, question.random
  if not is_retried(question.report) then
    return nil, "not_retryable"
  elseif attempt >= settings.attempts then
    return nil, "attempts"
  end
  local asked = asked_wait(assumed_waits, question.report, question.now)
  if asked and asked > settings.max_retry_after then
    return nil, "retry_after"
  end
  -- Seconds within which the next attempt must begin.
  local limit = question.remaining or math.huge
  if settings.max_elapsed then
    limit = math.min(limit, settings.max_elapsed - math.max(0, question.elapsed))
  end
  local delay = policy.delay(settings, attempt, question.previous_delay, random)
  if asked and asked >= delay then
    delay = spread_upwards(settings, asked, limit, random)
  end
  if delay >= limit then
    return nil, "deadline"
  elseif settings.budget and settings.budget:available((question.clock or core.clock)()) < 1 then
    return nil, "budget"
  end
  return delay
end

--- Asks a policy, which may be the caller's own, and takes a token of its budget for the attempt that it allows.
---@param asked autopilot.RetryPolicy
---@param question autopilot.RetryQuestion with `clock`
---@return number? delay
---@return autopilot.GaveUp? reason
function policy.ask(asked, question)
  local delay, reason = asked:decide(question)
  if delay and delay >= (question.remaining or math.huge) then
    return nil, "deadline"
  elseif delay and asked.budget and not asked.budget:take(question.clock()) then
    return nil, "budget"
  end
  return delay, reason
end

--- An object that shows the settings and cannot be changed.
local function freeze(settings)
  return setmetatable({}, {
    __index = settings,
    __newindex = function(_, name)
      error(("a retry policy cannot be changed (assigning '%s')"):format(tostring(name)), 2)
    end,
    __tostring = function()
      local form = "autopilot.retry.policy: %s attempts, %s backoff from %s s to %s s, %s jitter"
      local it = settings
      return form:format(it.attempts, it.backoff, it.base, it.cap, it.jitter)
    end,
    __metatable = false,
  })
end

---@class autopilot.RetryPreset
---@field options autopilot.RetryPolicyOptions? taken where the caller gives none
---@field retried table<string, boolean>? which failures are retried, where it differs from the default
---@field statuses table<integer, true>? where given, a failure with another HTTP status is not retried
---@field assumed_waits table<string, number>? seconds after an outcome that came without a Retry-After

--- Makes a policy. A mistake in the options raises at the caller of the function that called this one.
---@param name string the public function, as its caller writes it
---@param given autopilot.RetryPolicyOptions?
---@param preset autopilot.RetryPreset
---@return autopilot.RetryPolicy
function policy.new(name, given, preset)
  local rules, chosen = policy_rules, given
  local is_module = given == package.loaded["autopilot.retry"] -- called with a colon
  if given == nil or type(given) == "table" and not is_module then
    rules, chosen = merged(policy_rules), merged(preset.options, given)
    chosen.on, rules.on = read_on(chosen.on)
  end
  local settings = options.check(name, rules, chosen, 3)
  settings.factor = settings.factor or (settings.backoff == "decorrelated" and 3 or 2)
  settings.cap = settings.cap or math.max(default_cap, settings.base)
  local is_retried = predicate(settings.on, preset)
  settings.on = nil -- a table that could be read from the policy could be changed
  function settings.decide(_, question)
    local checked = options.check("policy:decide", question_rules, question)
    return decide(settings, is_retried, preset.assumed_waits, checked)
  end
  return freeze(settings)
end

return policy
