--- Retry policies, budgets and a loop, usable for anything and without the rest of the library.
--
-- A policy decides, a budget counts, and only `run` waits, with the sleep that it is given. Which failures
-- are safe to repeat is known to the caller only: see option `on`.

local dates = require "autopilot.base.dates"
local lazy = require "autopilot.base.lazy"
local options = require "autopilot.base.options"
local policies = require "autopilot.retry.policy"

local core = lazy "autopilot.core"
local unpack = table.unpack or unpack -- luacheck: compat

---@class autopilot.retry
---@field policy fun(given: autopilot.RetryPolicyOptions?): autopilot.RetryPolicy
---@field never fun(given: autopilot.RetryPolicyOptions?): autopilot.RetryPolicy
---@field graph fun(given: autopilot.RetryPolicyOptions?): autopilot.RetryPolicy
---@field patient fun(given: autopilot.RetryPolicyOptions?): autopilot.RetryPolicy
local retry = {}

-- The service's interval between two syncs and a margin: the client's defaults. After `in_progress` the wait
-- is as long: that sync was triggered within the interval, so an earlier request would be refused too, and
-- a refused request may extend the interval.
local interval = 600 + 10

---@type table<string, autopilot.RetryPreset>
local presets = {
  -- The policy that `autopilot.client` uses.
  policy = {},
  never = { options = { attempts = 1 } },
  -- The rules of the Microsoft Graph SDKs (the retry handlers of msgraph-sdk-design and Kiota): at most three
  -- retries, after 3, 6 and 12 s, of the statuses 429, 503 and 504 only. A Retry-After is honoured; above
  -- 180 s, where some of the SDKs shorten it, the attempts end. For a sync this is mostly futile: all
  -- attempts fall within half a minute of a cooldown that lasts ten. The SDKs add at most a second of chance;
  -- option `jitter` is for callers with many clients.
  graph = {
    options = { attempts = 4, base = 3, cap = 180, jitter = "none", max_retry_after = 180 },
    retried = { cooldown = true, unreachable = false },
    statuses = { [429] = true, [503] = true, [504] = true },
  },
  -- For scripts that may take their time: also waits out a sync in progress and the cooldown, for as long as
  -- the report says (`retry_after`), else for the whole interval. Ends after an hour.
  patient = {
    options = { attempts = 10, cap = 60, max_elapsed = 3600, max_retry_after = 3600 },
    retried = { in_progress = true, cooldown = true },
    assumed_waits = { in_progress = interval, cooldown = interval },
  },
}

for name, preset in pairs(presets) do
  retry[name] = function(given)
    local made = policies.new("autopilot.retry." .. name, given, preset)
    return made -- no tail call: a mistake is told at the caller's line
  end
end

-- ---- Budgets -----------------------------------------------------------------------------------------

--- A token bucket: how many retries many clients may make together. When a service is down, every client retries,
-- and the retries alone can keep it down. With a shared budget each retry takes a token, and tokens come back
-- slowly. A budget has no clock: its users pass the time, and all of them must read the same clock.
---@class autopilot.RetryBudget
---@field package tokens number as of `updated`
---@field package updated number? reading of the clock; nil until the first token is taken
local Budget = {}
Budget.__index = Budget

local budget_rules = {
  capacity = { type = "number", required = true, min = 1 },
  refill = { type = "number", required = true, min = 0 },
}

--- How many tokens there are at that time. Changes nothing.
---@param clock number seconds
---@return number
function Budget:available(clock)
  local passed = self.updated and math.max(0, clock - self.updated) or 0
  return math.min(self.capacity, self.tokens + passed * self.refill)
end

--- Takes one token for one retry.
---@param clock number seconds
---@return boolean taken false when there is no whole token; nothing is taken then
function Budget:take(clock)
  local available = self:available(clock)
  if available < 1 then
    return false
  end
  self.tokens = available - 1
  -- The clock may go backwards: the same seconds must not count twice.
  self.updated = math.max(clock, self.updated or clock)
  return true
end

--- Adds tokens, such as a share of a token for each request that succeeded. Never above the capacity.
---@param tokens number
function Budget:deposit(tokens)
  self.tokens = math.min(self.capacity, self.tokens + tokens)
end

--- Makes a budget, full at first: `capacity` retries at once, then `refill` a second.
---@param given {capacity: number, refill: number} tokens, at least 1; tokens a second, at least 0
---@return autopilot.RetryBudget
function retry.budget(given)
  local checked = options.check("autopilot.retry.budget", budget_rules, given)
  checked.tokens = checked.capacity
  return setmetatable(checked, Budget)
end

-- ---- The loop around a user's own function -----------------------------------------------------------

-- The function, `sleep` and `on_retry` may yield in every Lua version, and their errors reach the caller
-- unchanged: nothing is called through pcall.

---@class autopilot.RetryWorld
---@field sleep (fun(seconds: number))? waits; default the system's, which blocks
---@field clock (fun(): number)? monotonic seconds; default the system's
---@field now (fun(): number)? Unix seconds; default the system's
---@field random (fun(): number)? numbers in `[0, 1)`; default the system's
--- Seconds, counted from the call: no further attempt begins after it, and no sleep lasts longer.
---@field deadline number?
--- Called before each wait. An error of it is not caught.
---@field on_retry (fun(event: autopilot.RetryEvent))?

---@class autopilot.RetryEvent
---@field attempt integer number of the attempt that failed
---@field delay number seconds until the next
---@field elapsed number seconds since the first began
---@field report any the second value that the function returned

local function policy_complaint(value)
  return type(value.decide) ~= "function" and "must be made by autopilot.retry.policy" or nil
end

local run_rules = {
  policy = { type = "table", required = true, check = policy_complaint },
  fn = { type = "function", required = true },
  world = {
    type = "table",
    fields = {
      sleep = { type = "function" },
      clock = { type = "function" },
      now = { type = "function" },
      random = { type = "function" },
      deadline = { type = "number", above = 0 },
      on_retry = { type = "function" },
    },
  },
}

-- The largest number: a sum of waits beyond it would be infinite.
local longest = (2 - 2 ^ -52) * 2 ^ 1023

local function pack(...)
  return { n = select("#", ...), ... }
end

--- Calls `fn(attempt)` until it succeeds or the policy ends the attempts, and at least once.
-- A call succeeds when its first result is neither nil nor false. Otherwise its second result is
-- the report that the policy judges: a table with `outcome` and perhaps `retry_after`, or any value that
-- the policy's own `on` function understands.
---@param policy autopilot.RetryPolicy
---@param fn fun(attempt: integer): ...
---@param world autopilot.RetryWorld?
---@return any ... all results of `fn` when it succeeded
---@return any report else nil (or false), the last report, and
---@return autopilot.GaveUp gave_up why there was no further attempt
function retry.run(policy, fn, world)
  local given = { policy = policy, fn = fn, world = world }
  world = options.check("autopilot.retry.run", run_rules, given).world
  local sleep, clock = world.sleep or core.sleep, world.clock or core.clock
  local began, deadline = clock(), world.deadline
  local attempt, elapsed, previous_delay = 1, 0, nil
  --- Never less than the run has slept: a clock that stands still or goes backwards must not make it last longer.
  local function update_elapsed(at_least)
    elapsed = math.min(math.max(elapsed, at_least, clock() - began), longest)
  end
  while true do
    local results = pack(fn(attempt))
    if results[1] then
      return unpack(results, 1, results.n)
    end
    update_elapsed(0)
    local report = results[2]
    local delay, reason = policies.ask(policy, {
      attempt = attempt,
      elapsed = elapsed,
      previous_delay = previous_delay,
      report = report,
      remaining = deadline and deadline - elapsed,
      random = world.random,
      clock = clock,
      now = world.now,
    })
    if not delay then
      return results[1], report, reason
    end
    if world.on_retry then
      world.on_retry { attempt = attempt, delay = delay, elapsed = elapsed, report = report }
      update_elapsed(0)
      delay = math.max(0, math.min(delay, (deadline or math.huge) - elapsed))
    end
    sleep(delay)
    update_elapsed(elapsed + delay)
    if deadline and elapsed >= deadline then
      return results[1], report, "deadline" -- the sleep took longer than it was asked to
    end
    attempt, previous_delay = attempt + 1, delay
  end
end

--- Reads a Retry-After header: seconds (fractions too) or an HTTP-date.
---@type fun(text: string?, now: number?): number?
retry.parse_retry_after = dates.read_retry_after

return retry
