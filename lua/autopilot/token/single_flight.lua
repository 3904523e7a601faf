--- One fetch at a time for each key: whoever asks meanwhile waits, and gets what the one fetched.
--
-- Coroutines are run by somebody else: a scheduler, OpenResty, a loop in a script. None of them is known
-- here, so waiting is sleeping in small steps with the caller's own sleep, which lets the others go on;
-- where that sleep blocks everything, it is yielding. The fetching coroutine may never be resumed again,
-- so every wait has an end: then the waiter fetches. It also does when the other failed for want of
-- time. What is fetched, and for how long it is good, is left to the caller.

local core = require "autopilot.core"
local protected_call = require "autopilot.base.protected_call"

-- Seconds: a flight that gives no sign of life for so long after it should have is given up. One that
-- was given up wrongly costs one request more, a long patience everybody's time.
local patience = 5
-- So long may a request take that does not say how long, or a provider that sends none of ours.
local default_timeout = 60
-- Whoever has less time left than that does not begin what another could not finish in time.
local worth_a_try = 1

-- Seconds between two looks.
local first_step, step_growth, longest_step = 0.001, 1.5, 0.05

---@class autopilot.token.Flight
---@field owner { thread: thread? } weak, so that an abandoned coroutine can be collected
---@field is_of_main boolean fetched outside of every coroutine
---@field signs integer how often it has shown to be alive
---@field allowed number seconds that it may be silent for
---@field landed boolean
---@field lacked_time boolean its fetcher's deadline cut it short
---@field results any[]
---@field waiting integer how many wait for it
---@field turns integer how often one of them has run
---@field yielding table<function, boolean> sleeps that are known to let others run

---@class autopilot.token.SingleFlight
local SingleFlight = {}
SingleFlight.__index = SingleFlight

---@return autopilot.token.SingleFlight
function SingleFlight.new()
  return setmetatable({ flights = {} }, SingleFlight)
end

local weak = { __mode = "v" }

--- The running coroutine; nil outside of every one.
local function current_thread()
  local thread, is_main = coroutine.running()
  return not is_main and thread or nil
end

local function new_flight()
  local thread = current_thread()
  return {
    owner = setmetatable({ thread = thread }, weak),
    is_of_main = thread == nil,
    signs = 0,
    allowed = default_timeout,
    landed = false,
    lacked_time = false,
    results = {},
    waiting = 0,
    turns = 0,
    yielding = {},
  }
end

--- Seconds until the deadline of whoever asks; math.huge without one.
local function time_left(ask)
  return ask.deadline and ask.deadline - (ask.now or core.now)() or math.huge
end

--- What the fetch is asked with: HTTP layer and sleep tell that it is alive, for how long it may now be
-- silent, and whether its deadline cut a request short.
local function watched(flight, ask)
  local copy = {}
  for name, value in pairs(ask) do
    copy[name] = value
  end
  local function expect(seconds)
    local wanted, left = type(seconds) == "number" and seconds or default_timeout, time_left(ask)
    flight.signs = flight.signs + 1
    flight.allowed = math.max(0, math.min(wanted, left)) + patience
    return left < wanted
  end
  local transport, sleep = ask.transport, ask.sleep or core.sleep
  copy.transport = transport
    and function(request)
      local timeout = type(request) == "table" and request.timeout
      local is_cut = expect(timeout and timeout.total)
      local response, network = transport(request)
      if is_cut and type(network) == "table" and network.timeout then
        flight.lacked_time = true
      end
      return response, network
    end
  copy.sleep = function(seconds)
    expect(seconds)
    return sleep(seconds)
  end
  return copy
end

--- How a flight stands to whoever wants to wait for it: `waiting` when that can help.
local function standing(flight)
  local me, owner = current_thread(), flight.owner.thread
  if flight.landed then
    return "landed"
  elseif flight.is_of_main then
    return "around" -- we run inside of it: it goes on when we are done
  elseif not owner then
    return "abandoned"
  elseif owner == me or coroutine.status(owner) == "normal" then
    return "around"
  elseif not debug.getinfo(owner, 0) then
    -- It has ended. Not asked of coroutine.status: OpenResty calls coroutines of other requests dead.
    return "abandoned"
  end
  return "waiting"
end

local function pass_on(thread, ok, ...)
  if not ok then
    error((...), 0)
  elseif coroutine.status(thread) ~= "dead" then
    return pass_on(thread, coroutine.resume(thread, coroutine.yield(...)))
  end
end

local function finish(thread, ...)
  local yielded = coroutine.status(thread) ~= "dead"
  pass_on(thread, ...)
  return yielded
end

--- Sleeps; true when that surely let others run.
local function sleep_yielding(sleep, seconds)
  -- Not of `sleep` itself: it may be a C function or any callable, which is not enough everywhere.
  local thread = coroutine.create(function()
    sleep(seconds)
  end)
  return finish(thread, coroutine.resume(thread))
end

--- A step of somebody whose sleep is not known to let others run. OpenResty's does so unseen, so that
-- only what others did meanwhile can tell; a sleep that blocks would stop everything once for each waiter.
local function let_run_somehow(flight, sleep, step)
  local turns, signs = flight.turns, flight.signs
  local yielded = sleep_yielding(sleep, math.max(first_step, step / flight.waiting))
  if yielded or flight.turns ~= turns or flight.signs ~= signs then
    flight.yielding[sleep] = true
  else
    coroutine.yield()
  end
end

--- Lets the others run for a moment. Returns the seconds that were surely slept; nil when there is no
-- way to let anybody run.
local function let_run(flight, ask, step)
  local sleep = ask.sleep or core.sleep
  flight.turns = flight.turns + 1
  if not current_thread() then
    if sleep == core.sleep then
      return nil -- it blocks, and nobody could resume the fetching coroutine
    end
    sleep(step)
    return step
  elseif sleep == core.sleep then
    coroutine.yield()
    return 0
  elseif flight.yielding[sleep] then
    sleep(step)
    return step
  end
  let_run_somehow(flight, sleep, step)
  return 0
end

--- Seconds since the moment, by the clock that has gone further: either may be set, or stand still.
local function elapsed(now, moment)
  return math.max(now() - moment.time, core.clock() - moment.clock, moment.slept)
end

local function moment_of(now)
  return { time = now(), clock = core.clock(), slept = 0 }
end

--- Looks again and again, as long as that can help.
---@return string standing
local function look_out(flight, ask)
  local now = ask.now or core.now
  local step, signs, since = first_step, flight.signs, moment_of(now)
  while true do
    local how = standing(flight)
    if how ~= "waiting" then
      return how
    elseif ask.deadline and now() >= ask.deadline then
      return "late"
    elseif signs ~= flight.signs then
      signs, since = flight.signs, moment_of(now)
    end
    local slept = elapsed(now, since) <= flight.allowed and let_run(flight, ask, step)
    if not slept then
      return "abandoned"
    end
    since.slept = since.slept + slept
    step = math.min(step * step_growth, longest_step)
  end
end

--- Waits as long as that can help.
---@return string standing
local function wait(flight, ask)
  flight.waiting = flight.waiting + 1
  local how = look_out(flight, ask)
  flight.waiting = flight.waiting - 1
  return how
end

local function land(self, key, flight, ask, ok, ...)
  if ok then
    flight.results = { ... }
  else
    local raised = ...
    local message = type(raised) == "string" and raised or "the token provider raised an error"
    flight.results = { nil, message }
  end
  flight.landed = true
  flight.lacked_time = flight.lacked_time or time_left(ask) <= 0
  if key and self.flights[key] == flight then
    self.flights[key] = nil
  end
  return flight.results
end

--- Fetches; with a key others may wait for it.
local function fly(self, key, ask, fetch)
  local flight = new_flight()
  if key then
    self.flights[key] = flight
  end
  return land(self, key, flight, ask, protected_call(fetch, watched(flight, ask)))
end

--- Whether the flight brought nothing for want of time, which we have.
local function can_do_better(flight, ask)
  return flight.results[1] == nil and flight.lacked_time and time_left(ask) >= worth_a_try
end

--- Whether a fetch for the key is on its way.
---@param key string
---@return boolean
function SingleFlight:is_flying(key)
  return self.flights[key] ~= nil
end

--- What `fetch(ask)` returns, up to three values, by a call of our own or by that of another. Never
-- raises for what `fetch` raises: that is nil and the message.
---@param key string
---@param ask autopilot.TokenAsk
---@param fetch fun(ask: autopilot.TokenAsk): any, any, any
---@return boolean joined it was another's
---@return any first, any second, any third
function SingleFlight:run(key, ask, fetch)
  local flight = self.flights[key]
  while flight do
    local how = wait(flight, ask)
    if how == "landed" and not can_do_better(flight, ask) then
      return true, flight.results[1], flight.results[2], flight.results[3]
    elseif how == "late" then
      return true, nil, "the deadline passed while another was fetching the token"
    elseif how == "around" then
      local results = fly(self, nil, ask, fetch)
      return false, results[1], results[2], results[3]
    elseif self.flights[key] == flight then
      self.flights[key] = nil -- the first to give it up takes its place
    end
    flight = self.flights[key]
  end
  local results = fly(self, key, ask, fetch)
  return false, results[1], results[2], results[3]
end

return SingleFlight
