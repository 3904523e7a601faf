--- The drive that steps transfers in the event loop, for systems where there can be no helper thread; and
-- how a fleet waits, which steps its own transfer set in the same way.
--
-- While light threads wait, one timer steps for all of them, and wakes those whose transfers have finished. It
-- checks less often whether there is something to do the longer nothing happens.

local core = require "autopilot.core"
local curl = require "autopilot.transport.curl"
local ngx = require "ngx"
local semaphore = require "ngx.semaphore"

---@class autopilot.openresty.PollingDriver: autopilot.openresty.Driver
---@field set any? the worker's transfer set, and with it the connections
---@field waiting table<any, autopilot.openresty.Waiter> the light threads that wait, by their transfers
---@field slept number seconds for which timers have slept between their steps
---@field stepper table? stands for the timer that steps, or was the last to do so
---@field lease number until when that one is believed to be alive, on core.clock
---@field has_timer boolean? one will close the connections when no call comes
local Polling = {}
Polling.__index = Polling

---@class autopilot.openresty.Waiter a light thread that waits, or was killed while it did
---@field semaphore any what wakes it
---@field seen_at number when it was last awake, by the driver's `slept`

-- Seconds between two checks: after something happened, and at most. Seconds by which a stepper may be late, and
-- after which each light thread that waits wakes for a moment.
local shortest, longest, growth, patience = 0.001, 0.010, 1.25, 0.1

-- Seconds for which connections are kept when there are no calls.
local idle_seconds = 20

-- Transfers that a worker usually has at a time, at most; more are served, on more connections.
local usual_concurrency = 1000

---@return autopilot.openresty.PollingDriver
function Polling.new()
  return setmetatable({ waiting = {}, lease = 0, slept = 0 }, Polling)
end

--- Steps a fleet's transfer set once, and lets the worker go on meanwhile.
---@param set any
---@param seconds number at most
function Polling.wait(set, seconds)
  local ends, delay = core.clock() + seconds, shortest
  repeat
    -- It sleeps first: a fleet that always has something to do would not let other light threads run.
    ngx.sleep(math.max(shortest, math.min(delay, ends - core.clock())))
    if set:is_due() then
      set:step()
      return
    end
    delay = math.min(delay * growth, longest)
  until core.clock() >= ends
end

--- Closes the connections when no light thread was waiting for as long as they are kept.
local function close_when_idle(self)
  local last = self.stepper
  self.has_timer = self.has_timer
    or ngx.timer.at(idle_seconds, function()
      self.has_timer = false
      if self.stepper ~= last then
        close_when_idle(self)
      elseif next(self.waiting) == nil then
        self.set:close()
        self.set = nil
      end
    end)
end

--- Steps once, wakes the light threads whose transfers have finished, and drops transfers that none waits for.
local function step(self)
  local set, waiting = self.set, self.waiting
  set:step()
  local transfer = set:take()
  while transfer do
    local waiter = waiting[transfer]
    waiting[transfer] = nil
    if waiter then
      waiter.semaphore:post()
    end
    transfer = set:take()
  end
end

--- Gives up the transfers of light threads that were killed: they have not woken for long. While something else
-- keeps nginx busy they cannot wake, but then the timer does not sleep either.
local function give_up_killed(self)
  for transfer, waiter in pairs(self.waiting) do
    if self.slept - waiter.seen_at > 3 * patience then
      self.waiting[transfer] = nil
      self.set:discard(transfer)
    end
  end
end

--- Has a timer step as long as light threads wait, unless one does so.
local function begin_stepping(self)
  if core.clock() <= self.lease then
    return
  end
  local own, delay = {}, shortest
  self.stepper, self.lease = own, core.clock() + patience
  ngx.timer.at(0, function()
    while self.stepper == own and next(self.waiting) ~= nil do
      if self.set:is_due() then
        step(self)
        delay = shortest
      else
        delay = math.min(delay * growth, longest)
        give_up_killed(self)
      end
      self.lease = core.clock() + delay + patience
      ngx.sleep(delay)
      self.slept = self.slept + delay
    end
    if self.stepper == own then
      self.lease = 0
      close_when_idle(self)
    end
  end)
end

--- Sends one attempt and waits for its end. Where nginx has no timer left, the light threads step themselves.
function Polling:run(prepared, attempt)
  if not self.set then
    local set, failure = curl.transfer_set { concurrency = usual_concurrency }
    if not set then
      return nil, failure
    end
    self.set = set
  end
  local own = self.set:add(prepared, attempt)
  local waiter = { semaphore = assert(semaphore.new()), seen_at = self.slept }
  self.waiting[own] = waiter
  begin_stepping(self)
  while not own:is_finished() do
    if not waiter.semaphore:wait(patience) and core.clock() > self.lease then
      step(self)
      begin_stepping(self)
    end
    waiter.seen_at = self.slept
  end
  self.waiting[own] = nil
  return own:result()
end

return Polling
