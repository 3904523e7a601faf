--- One fetch at a time for each key: whoever asks meanwhile waits, and gets what the one fetched.
--
-- Coroutines are run by somebody else: a scheduler, OpenResty, a loop in a script. None of them is known
-- here, so waiting is sleeping in small steps with the caller's own sleep, which lets the others go on;
-- where that sleep blocks everything, it is yielding. The fetching coroutine may never be resumed again,
-- so every wait has an end: then the waiter fetches. What is fetched, and for how long it is good, is
-- left to the caller.

local core = require "autopilot.core"
local protected_call = require "autopilot.protected_call"

-- Seconds: a flight that gives no sign of life for so long after it should have is given up.
local patience = 60
-- So long may a request take that does not say how long.
local default_timeout = 60

-- Seconds between two looks.
local first_step, step_growth, longest_step = 0.001, 1.5, 0.05

---@class autopilot.token.Flight
---@field owner { thread: thread? } weak, so that an abandoned coroutine can be collected
---@field is_of_main boolean fetched outside of every coroutine
---@field signs integer how often it has shown to be alive
---@field allowed number seconds that it may be silent for
---@field landed boolean
---@field results any[]

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
    allowed = patience,
    landed = false,
    results = {},
  }
end

--- What the fetch is asked with: HTTP layer and sleep tell that it is alive, and for how long it may
-- now be silent.
local function watched(flight, ask)
  local copy = {}
  for name, value in pairs(ask) do
    copy[name] = value
  end
  local function expect(seconds)
    flight.signs = flight.signs + 1
    flight.allowed = (type(seconds) == "number" and seconds or default_timeout) + patience
  end
  local transport, sleep = ask.transport, ask.sleep or core.sleep
  copy.transport = transport
    and function(request)
      expect(type(request) == "table" and request.timeout and request.timeout.total)
      return transport(request)
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

--- Sleeps; true when others could run meanwhile.
local function sleep_yielding(sleep, seconds)
  local thread = coroutine.create(sleep)
  return finish(thread, coroutine.resume(thread, seconds))
end

--- Lets the others run for a moment; false when there is no way to.
local function let_run(state, ask, step)
  local sleep = ask.sleep or core.sleep
  if not current_thread() then
    if sleep == core.sleep then
      return false -- it blocks, and nobody could resume the fetching coroutine
    end
    sleep(step)
  elseif state.blocks or sleep == core.sleep then
    coroutine.yield()
  else
    state.blocks = not sleep_yielding(sleep, step)
    if state.blocks then
      coroutine.yield()
    end
  end
  return true
end

--- Waits as long as that can help.
---@return string standing
local function wait(flight, ask)
  local now = ask.now or core.now
  local step, state = first_step, {}
  local signs, waited, since = flight.signs, 0, now()
  while true do
    local how = standing(flight)
    if how ~= "waiting" then
      return how
    elseif ask.deadline and now() >= ask.deadline then
      return "late"
    elseif signs ~= flight.signs then
      signs, waited, since = flight.signs, 0, now()
    elseif math.max(waited, now() - since) > flight.allowed or not let_run(state, ask, step) then
      return "abandoned"
    end
    waited = waited + step
    step = math.min(step * step_growth, longest_step)
  end
end

local function land(self, key, flight, ok, ...)
  if ok then
    flight.results = { ... }
  else
    local raised = ...
    local message = type(raised) == "string" and raised or "the token provider raised an error"
    flight.results = { nil, message }
  end
  flight.landed = true
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
  return land(self, key, flight, protected_call(fetch, watched(flight, ask)))
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
    if how == "landed" then
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
