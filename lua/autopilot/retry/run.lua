--- The loop for a user's own function: try, ask the policy, wait, try again.
--
-- `fn` and `sleep` may yield, in every Lua: nothing here is called through pcall, and what they
-- raise reaches the caller as it was raised.

local options = require "autopilot.base.options"
local system = require "autopilot.retry.world"

---@class autopilot.RetryWorld
---@field sleep (fun(seconds: number))? waits; default the system's, which blocks
---@field clock (fun(): number)? monotonic seconds; default the system's
---@field now (fun(): number)? Unix seconds; default the system's
---@field random (fun(): number)? numbers in `[0, 1)`; default the system's
--- Seconds, counted from the call: no further attempt begins after it, and no sleep lasts longer.
---@field deadline number?
--- Called before each wait. What it raises is not caught.
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
      sleep = { type = "function", default = system.sleep },
      clock = { type = "function", default = system.clock },
      now = { type = "function", default = system.now },
      random = { type = "function", default = system.random },
      deadline = { type = "number", above = 0 },
      on_retry = { type = "function" },
    },
  },
}

-- Sums of absurd waits end here, instead of at infinity.
local longest = 2 ^ 1023

--- Seconds since the run began, never less than what was slept: a clock that stands still or goes
-- backwards must not make the run longer than its deadline.
local function elapsed(run, at_least)
  local passed = math.max(run.elapsed, at_least or 0, run.world.clock() - run.started)
  run.elapsed = math.min(passed, longest)
  return run.elapsed
end

local function decide(run, attempt, report)
  local world = run.world
  local passed = elapsed(run)
  local delay, reason = run.policy:decide {
    attempt = attempt,
    elapsed = passed,
    previous_delay = run.previous_delay,
    report = report,
    remaining = world.deadline and world.deadline - passed,
    random = world.random,
    clock = world.clock,
    now = world.now,
  }
  local budget = run.policy.budget
  if delay and budget and not budget:take(world.clock()) then
    return nil, "budget"
  end
  return delay, reason
end

local function wait(run, attempt, delay, report)
  local world = run.world
  if world.on_retry then
    world.on_retry { attempt = attempt, delay = delay, elapsed = run.elapsed, report = report }
  end
  local before = run.elapsed
  world.sleep(delay)
  run.previous_delay = delay
  elapsed(run, before + delay)
end

local try -- forward: an attempt is settled, and settling may try again

-- Tail calls, so that thousands of attempts need no more stack than one, and so that any number of
-- results passes through without being packed.
local function settle(run, attempt, result, report, ...)
  if result then
    return result, report, ...
  end
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
  return settle(run, attempt, run.fn(attempt))
end

--- Calls `fn(attempt)` until it succeeds or the policy has enough, the first time in any case.
-- A call succeeds when its first result is neither nil nor false. Otherwise its second result is
-- the report that the policy judges: a table with `outcome` and perhaps `retry_after`, or whatever
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
  run.started = run.world.clock()
  run.elapsed = 0
  return try(run, 1)
end
