--- The loop around a function of the user's own: try, ask the policy, wait, try again.
--
-- The function, `sleep` and `on_retry` may yield in every Lua, and an error of theirs reaches the caller as
-- it was raised: nothing is called through pcall.

local ask = require("autopilot.retry.policy").ask
local lazy = require "autopilot.base.lazy"
local options = require "autopilot.base.options"

local core = lazy "autopilot.core"

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

--- Notes how long the run has lasted: never less than it has slept, because a clock that stands still or
-- goes backwards must not make the run longer than its deadline.
local function update_elapsed(run, at_least)
  local passed = math.max(run.elapsed, at_least, run.world.clock() - run.started)
  run.elapsed = math.min(passed, longest)
end

--- Asks the policy about an attempt that failed.
local function decide(run, attempt, report)
  local world = run.world
  return ask(run.policy, {
    attempt = attempt,
    elapsed = run.elapsed,
    previous_delay = run.previous_delay,
    report = report,
    remaining = world.deadline and world.deadline - run.elapsed,
    random = world.random,
    clock = world.clock,
    now = world.now,
  })
end

local function wait(run, attempt, delay, report)
  local world, before = run.world, run.elapsed
  if world.on_retry then
    world.on_retry { attempt = attempt, delay = delay, elapsed = before, report = report }
  end
  world.sleep(delay)
  run.previous_delay = delay
  update_elapsed(run, before + delay)
end

local try -- forward: it is called again from `judge`

--- Returns what the function returned, or tries again.
local function judge(run, attempt, ...)
  local result, report = ...
  if result then
    return ...
  end
  update_elapsed(run, 0)
  local delay, reason = decide(run, attempt, report)
  if not delay then
    return result, report, reason
  end
  wait(run, attempt, delay, report)
  local deadline = run.world.deadline
  if deadline and run.elapsed >= deadline then
    return result, report, "deadline" -- the sleep took longer than it was asked to
  end
  return try(run, attempt + 1)
end

function try(run, attempt)
  return judge(run, attempt, run.fn(attempt))
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
  local run = options.check("autopilot.retry.run", rules, given)
  run.world.sleep = run.world.sleep or core.sleep
  run.world.clock = run.world.clock or core.clock
  run.started, run.elapsed = run.world.clock(), 0
  return try(run, 1)
end
