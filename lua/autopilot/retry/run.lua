--- The loop around a user's own function: try, ask the policy, wait, try again.
--
-- The function, `sleep` and `on_retry` may yield in every Lua version, and their errors reach the caller
-- unchanged: nothing is called through pcall.

local ask = require("autopilot.retry.policy").ask
local lazy = require "autopilot.base.lazy"
local options = require "autopilot.base.options"

local core = lazy "autopilot.core"
local unpack = table.unpack or unpack -- luacheck: compat

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

local rules = {
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
return function(policy, fn, world)
  local given = { policy = policy, fn = fn, world = world }
  world = options.check("autopilot.retry.run", rules, given).world
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
    local delay, reason = ask(policy, {
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
    end
    sleep(delay)
    update_elapsed(elapsed + delay)
    if deadline and elapsed >= deadline then
      return results[1], report, "deadline" -- the sleep took longer than it was asked to
    end
    attempt, previous_delay = attempt + 1, delay
  end
end
