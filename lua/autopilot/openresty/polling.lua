--- The drive that steps transfers in the event loop, for systems where there can be no helper thread; and
-- how a fleet waits, which steps its own transfer set in the same way.
--
-- One light thread at a time steps for all; the others sleep until it wakes them. It checks whether there is
-- something to do, and does so less often the longer nothing happens. It may be killed while it sleeps. So it
-- renews a lease, and when the lease has run out, another light thread takes over.

local core = require "autopilot.core"
local curl = require "autopilot.transport.curl"
local ngx = require "ngx"
local semaphore = require "ngx.semaphore"

---@class autopilot.openresty.PollingDriver: autopilot.Drive
---@field set any the worker's transfer set
---@field waiting table<any, autopilot.openresty.Sleeper> the light threads that wait, by their transfers
---@field stepper any? the transfer of the light thread that steps
---@field calls integer how many have begun
---@field has_timer boolean? one will step when no call came for long
---@field lease number until when that one is believed to be alive, on core.clock
local Polling = {}
Polling.__index = Polling

---@class autopilot.openresty.Sleeper a light thread that waits, or was killed while it did
---@field semaphore any what wakes it
---@field seen_at number when it was last awake, on core.clock

-- Seconds between two checks: after something happened, and at most. Seconds by which a stepper may be late.
local shortest, longest, growth, patience = 0.001, 0.010, 1.25, 0.1

-- Seconds for which connections are kept when there are no calls.
local idle_seconds = 20

-- So many are asked to step next: some may have been killed a moment ago.
local candidates = 4

-- Transfers that a worker usually has at a time, at most; more are served, on more connections.
local usual_concurrency = 1000

---@return autopilot.openresty.PollingDriver? driver
---@return autopilot.NetworkFailure? failure
function Polling.new()
  local set, failure = curl.transfer_set { concurrency = usual_concurrency, idle = idle_seconds }
  return set and setmetatable({ set = set, waiting = {}, lease = 0, calls = 0 }, Polling), failure
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

--- Wakes the light threads whose transfers have finished, and drops transfers that none waits for.
local function hand_out(self)
  local set, waiting = self.set, self.waiting
  local transfer = set:take()
  while transfer do
    local sleeper = waiting[transfer]
    waiting[transfer] = nil
    if sleeper and transfer ~= self.stepper then
      sleeper.semaphore:post()
    end
    transfer = set:take()
  end
end

--- Steps for all until its own transfer has finished or another has taken over.
local function step_for_all(self, own)
  local set, delay = self.set, shortest
  self.stepper = own
  while self.stepper == own do
    if set:is_due() then
      set:step()
      hand_out(self)
      delay = shortest
    else
      delay = math.min(delay * growth, longest)
    end
    if own:is_finished() then
      return
    end
    self.lease = core.clock() + delay + patience
    ngx.sleep(delay)
  end
end

--- Lets another light thread step, if one waits. The first of those asked that is alive does it.
local function step_down(self, own)
  if self.stepper ~= own then
    return
  end
  self.stepper = nil
  local asked, alive_since = 0, core.clock() - 2 * patience
  for _, sleeper in pairs(self.waiting) do
    if sleeper.seen_at >= alive_since then
      sleeper.semaphore:post()
      asked = asked + 1
      if asked == candidates then
        return
      end
    end
  end
end

local newproxy = rawget(_G, "newproxy") -- of Lua 5.1 and LuaJIT, where tables have no __gc

--- Gives the transfer up when it is collected, unless it was disarmed before (`transfer = nil`).
-- What it needs is in a table: nginx uses the stack of a light thread that was killed for another.
local function guard(self, transfer)
  local armed = { set = self.set, waiting = self.waiting, transfer = transfer }
  local function collected()
    if armed.transfer then
      armed.waiting[armed.transfer] = nil
      pcall(armed.set.discard, armed.set, armed.transfer) -- an error would hit unrelated code
    end
  end
  if newproxy then
    armed.proxy = newproxy(true)
    getmetatable(armed.proxy).__gc = collected
    return armed
  end
  return setmetatable(armed, { __gc = collected })
end

--- Steps once more when no call came for as long as connections are kept: then the set closes them.
local function step_when_idle(self)
  if not self.has_timer then
    local calls = self.calls
    self.has_timer = ngx.timer.at(idle_seconds + 1, function(is_premature)
      self.has_timer = false
      if is_premature then
        return
      elseif self.calls ~= calls or next(self.waiting) ~= nil then
        step_when_idle(self)
      else
        self.set:step()
      end
    end)
  end
end

--- Sends one attempt and waits for its end.
function Polling:run(prepared, attempt)
  local own = self.set:add(prepared, attempt)
  local sleeper = { semaphore = assert(semaphore.new()), seen_at = core.clock() }
  self.waiting[own], self.calls = sleeper, self.calls + 1
  local watch = guard(self, own) -- referenced by this light thread's stack alone
  while not own:is_finished() do
    sleeper.seen_at = core.clock()
    if not self.stepper or sleeper.seen_at > self.lease then
      step_for_all(self, own)
    else
      sleeper.semaphore:wait(patience)
    end
  end
  watch.transfer = nil
  self.waiting[own] = nil
  step_down(self, own)
  step_when_idle(self)
  return own:result()
end

--- Gives up all transfers.
function Polling:close()
  self.set:close()
end

return Polling
