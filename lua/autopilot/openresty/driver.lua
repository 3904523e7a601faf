--- Sends the requests of light threads, and lets each light thread wait for its transfer.
--
-- One timer, the stepper, waits for the transfers of all light threads. It wakes the light threads whose
-- transfers have finished, and cancels the transfers of light threads that were killed.

local core = require "autopilot.core"
local curl = require "autopilot.transport.curl"
local ngx = require "ngx"
local semaphore = require "ngx.semaphore"

--- Moves the transfers of a worker: a helper thread of the C module, or a transfer set that is polled.
---@class autopilot.openresty.Mover
---@field add fun(self, prepared, attempt): key: any, failure: autopilot.NetworkFailure?
---@field take fun(self): key: any, transfer: any a finished transfer and its key, or nil
---@field discard fun(self, key): boolean? gives a transfer up; true when it surely had not begun
---@field advance fun(self)? moves the transfers that have something to do; nil: they move by themselves

--- Sends the requests of all clients of a worker.
---@class autopilot.openresty.Driver
---@field waiting table<any, autopilot.openresty.Waiter> the light threads that wait, by the keys of their transfers
---@field waited number seconds for which steppers or, without one, light threads have waited, while nginx was not too busy
---@field stepper table? identifies the present stepper, or the last one
---@field lease number until when the stepper counts as alive, on core.clock
---@field next_timer number when a timer may be started again; 0 after one has begun
local Driver = {}
Driver.__index = Driver

---@class autopilot.openresty.Waiter a light thread that waits, or was killed while it did
---@field semaphore any wakes it
---@field seen_at number when it was last awake, by the driver's `waited`
---@field has_ended boolean?
---@field transfer any? its transfer, once that has finished
---@field failure autopilot.NetworkFailure? why its transfer was given up

-- Seconds. Each light thread that waits wakes this often, for a moment.
local patience = 0.4

-- Seconds. A stepper waits for half a second at most. If it took longer than this, nginx was busy with something
-- else and could wake nothing, so that this wait does not count.
local longest_pause = 0.52

-- Seconds of waits that count, after which a light thread that has not woken was killed. One that lives may sleep
-- through a whole wait before and after its `patience`.
local killed_seconds = patience + 2 * longest_pause

-- Seconds that a timer may take to begin; also how long a light thread sleeps until it has begun.
local begin_seconds = 0.05

-- Seconds between two timers of which the first has not begun: nginx logs an alert for each that exceeds its limit.
local timer_seconds = 1

---@param mover autopilot.openresty.Mover
---@param pause_for fun(mover): fun(): string? is called by each stepper, and returns the function with which that
-- stepper waits, for about half a second at most, until a transfer may have finished; which returns an error of its
-- socket
---@return autopilot.openresty.Driver
function Driver.new(mover, pause_for)
  local driver = { mover = mover, pause_for = pause_for, waiting = {} }
  driver.waited, driver.lease, driver.next_timer = 0, 0, 0
  return setmetatable(driver, Driver)
end

local function end_wait(self, key, transfer, failure)
  local waiter = self.waiting[key]
  self.waiting[key] = nil
  if waiter then
    waiter.has_ended, waiter.transfer, waiter.failure = true, transfer, failure
    waiter.semaphore:post()
  end
end

local function cancel(self, key, name, message)
  local failure = curl.unsent(name, message)
  if not self.mover:discard(key) then
    failure.stage, failure.delivered, failure.sends = "receive", "unknown", 1
  end
  end_wait(self, key, nil, failure)
end

--- Wakes the light threads whose transfers have finished.
local function collect(self)
  for key, transfer in self.mover.take, self.mover do
    end_wait(self, key, transfer)
  end
end

--- Cancels the transfers of light threads that were killed: they have not woken for long.
local function cancel_killed(self)
  for key, waiter in pairs(self.waiting) do
    if self.waited - waiter.seen_at > killed_seconds then
      cancel(self, key, "LIGHT_THREAD", "the light thread did not run for too long")
    end
  end
end

local function cancel_all(self)
  for key in pairs(self.waiting) do
    local message = "nginx ended the worker before the answer came: worker_shutdown_timeout"
    cancel(self, key, "WORKER_SHUTDOWN", message)
  end
end

--- Runs as the stepper, in a timer, until no light thread waits or another stepper has replaced this one.
local function step(_, self)
  local own = {}
  self.stepper, self.next_timer = own, 0
  local pause = self.pause_for(self.mover)
  while self.stepper == own and next(self.waiting) do
    self.lease = core.clock() + 2 * patience
    collect(self)
    cancel_killed(self)
    if next(self.waiting) then
      local began = core.clock()
      local problem = pause()
      if problem == "closed" and ngx.worker.exiting() and self.stepper == own then
        cancel_all(self)
      end
      local seconds = core.clock() - began
      -- A stepper that was replaced has waited at the same time as the present one, whose wait counts.
      local counts = self.stepper == own and seconds <= longest_pause
      self.waited = self.waited + (counts and seconds or 0)
    end
  end
  if self.stepper == own then
    self.lease = 0
  end
end

--- Unless a stepper is alive, does its work once and starts a timer as the stepper. If nginx has no timer left, or does
-- not run it, this is repeated whenever a light thread wakes, so that the light threads do the work.
local function begin_stepping(self)
  if core.clock() >= self.lease then
    if self.mover.advance then
      self.mover:advance()
    end
    collect(self)
    cancel_killed(self)
    self.lease = core.clock() + begin_seconds
    if self.lease > self.next_timer then
      self.next_timer = self.lease + timer_seconds
      ngx.timer.at(0, step, self)
    end
  end
end

--- Sends one attempt and waits for its end, as any `autopilot.Drive`: returns a response, or a failure, or both.
function Driver:run(prepared, attempt)
  local key, failure = self.mover:add(prepared, attempt)
  if not key then
    return nil, failure
  end
  local waiter = { semaphore = assert(semaphore.new()), seen_at = self.waited }
  self.waiting[key] = waiter
  while not waiter.has_ended do
    begin_stepping(self)
    local is_stepping = self.lease > core.clock() + begin_seconds
    local _, problem = waiter.semaphore:wait(is_stepping and patience or begin_seconds)
    if problem and problem ~= "timeout" then
      ngx.sleep(0.01) -- older versions have no semaphores in some phases
    end
    if not waiter.has_ended and core.clock() >= self.lease then
      self.waited = self.waited + begin_seconds -- counted once: this light thread renews the lease now
    end
    waiter.seen_at = self.waited
  end
  if waiter.transfer then
    return waiter.transfer:result()
  end
  return nil, waiter.failure
end

return Driver
