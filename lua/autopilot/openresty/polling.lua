--- Moves transfers in the event loop, for systems without a helper thread. A fleet waits in the same
-- way for its own transfer set.

local Driver = require "autopilot.openresty.driver"
local core = require "autopilot.core"
local curl = require "autopilot.transport.curl"
local ngx = require "ngx"

---@class autopilot.openresty.PollingMover: autopilot.openresty.Mover
---@field set any? the worker's transfer set, and with it the connections
---@field last_use number? when a transfer was added, on core.clock
---@field has_timer boolean? one will close the connections when no call comes
local Polling = {}
Polling.__index = Polling

-- Seconds between two steps: after something happened, and at most; and growth factor.
local shortest, longest, growth = 0.001, 0.010, 1.25

-- Seconds that a stepper waits at a time, at most.
local longest_pause = 0.2

-- Seconds for which connections are kept when there are no calls.
local idle_seconds = 20

-- Transfers that a worker usually has at a time, at most; more are served, on more connections.
local usual_concurrency = 1000

--- Steps a transfer set once, and lets the worker go on meanwhile. It waits longer the longer nothing happens.
---@param seconds number at most
---@param delay number? before the first look
---@return number delay before the next one
function Polling.wait(set, seconds, delay)
  local ends = core.clock() + seconds
  delay = delay or shortest
  repeat
    -- It sleeps first: a fleet that always has something to do would not let other light threads run. A sleep begins
    -- at the time that nginx has read last: without a new reading, one after a long step would be over at once.
    ngx.update_time()
    ngx.sleep(math.max(shortest, math.min(delay, ends - core.clock())))
    if set:is_due() then
      set:step()
      return shortest
    end
    delay = math.min(delay * growth, longest)
  until core.clock() >= ends
  return delay
end

--- Closes the connections when no call came for as long as they are kept.
local function close_when_idle(self)
  self.has_timer = self.has_timer
    or ngx.timer.at(idle_seconds, function()
      self.has_timer = false
      local is_idle = core.clock() - self.last_use >= idle_seconds
      -- Due after the step: a transfer that has finished just now is still to be taken.
      if not is_idle or self.set:step() > 0 or self.set:is_due() then
        close_when_idle(self)
      else
        curl.close_set(self)
      end
    end)
end

function Polling:add(prepared, attempt)
  local set, failure = curl.set_of(self, { concurrency = usual_concurrency })
  if not set then
    return nil, failure
  end
  self.last_use = core.clock()
  close_when_idle(self)
  return set:add(prepared, attempt)
end

function Polling:take()
  local transfer = self.set:take()
  return transfer, transfer
end

function Polling:discard(transfer)
  self.set:discard(transfer)
end

function Polling:advance()
  if self.set:is_due() then
    self.set:step()
  end
end

--- Makes the function with which a stepper waits: it steps the set.
local function pause_for(self)
  local set, delay = self.set, nil
  return function()
    delay = Polling.wait(set, longest_pause, delay)
  end
end

---@return autopilot.openresty.Driver
function Polling.new()
  return Driver.new(setmetatable({}, Polling), pause_for)
end

return Polling
