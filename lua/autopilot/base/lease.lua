--- Leases: locks with a time limit. For each key one holder at a time may do the key's work, such as fetching
-- a token or requesting a tenant's sync. All others can wait for the holder.
--
-- Leases within one process are kept in a table; leases among several processes are kept in a store that all
-- of them use. A lease ends when its holder releases it. If the holder cannot release it any more, a lease in
-- a store expires, and a lease within a process is deleted by a call that waits for it.
--
-- A waiter polls the lease and sleeps in between, because nothing can wake it: coroutines are run by a fleet,
-- by OpenResty or by a loop in a script, and other processes cannot be reached. If the holder is in this
-- process, the waiter yields instead of using a sleep that would block the process.

local core = require "autopilot.core"

-- Seconds between two polls of a lease: at first, growth factor, and at most.
local first_step, step_growth, longest_step = 0.001, 1.5, 0.05

-- Seconds. A lease in a store with less time left counts as lost: the store may have forgotten it before
-- the next call reaches the store.
local shortest_rest = 0.1

---@class autopilot.Lease
---@field id string
---@field began number when it was taken, on the clock of its set of leases
---@field result any the argument that the holder gave to `release`
local Lease = {}
Lease.__index = Lease

---@class autopilot.Leases
local Leases = {}
Leases.__index = Leases

-- The leases that are held in this process, by their ids. Weak, so that the lease of a collected coroutine
-- disappears.
local held_here = setmetatable({}, { __mode = "v" })

-- The coroutine that took a lease; false: it was taken outside of all coroutines. Weak, so that a coroutine that is
-- never resumed can be collected.
local owners = setmetatable({}, { __mode = "kv" })

--- The running coroutine; false outside of all coroutines.
local function current_thread()
  local thread, is_main = coroutine.running()
  return not is_main and thread or false
end

--- Returns a function that calls a store in a table of this process, in which nothing expires.
local function table_caller()
  local values = {}
  return function(method, key, value)
    local found = values[key]
    if method == "get" then
      return found
    elseif method == "add" and found then
      return nil, "exists"
    elseif method == "delete_if" and found ~= value then
      return false
    end
    values[key] = method ~= "delete_if" and value or nil
    return true
  end
end

--- Makes a set of leases: in a store, or without `call` in a table of this process.
---@param call (fun(method: string, key: string, ...): any, string?)? calls a method of the store; never raises
---@param clock (fun(): number)? seconds of a steady clock; default the system's
---@return autopilot.Leases
function Leases.new(call, clock)
  return setmetatable({
    call = call or table_caller(),
    is_shared = call ~= nil, -- with other processes
    clock = clock or core.clock,
  }, Leases)
end

-- ---- Holding a lease ---------------------------------------------------------------------------------

--- Writes a lease that lasts for `seconds` into the store, with the store's method `add` or `set`. Its value has its
-- id, its length in milliseconds and the number of its renewals.
local function write(lease, method, seconds)
  local value = ("%s %.0f %d"):format(lease.id, seconds * 1000, lease.renewals)
  local ends = lease.leases.clock() + seconds
  local done, message = lease.leases.call(method, lease.key, value, seconds)
  if done then
    lease.value, lease.seconds, lease.ends = value, seconds, ends
  end
  return done, message
end

--- Takes the lease if it is free.
---@param seconds number for which it lasts
---@return autopilot.Lease? lease
---@return string? message `exists` if it is held, else why the store failed
function Leases:take(key, seconds)
  local lease = setmetatable({
    leases = self,
    key = key,
    id = core.uuid(),
    began = self.clock(),
    renewals = 0,
    waiting = 0, -- coroutines of this process that wait for it
    polls = 0, -- how often they have polled it
    yielding = {}, -- a set of sleep functions that are known to let other coroutines run
  }, Lease)
  local added, message = write(lease, "add", seconds)
  if not added then
    return nil, message or "exists"
  end
  held_here[lease.id], owners[lease] = lease, current_thread()
  return lease
end

--- Extends the lease.
---@param seconds number from now on
---@return boolean is_held false if it was lost: it has expired, or a waiter has deleted it
function Lease:renew(seconds)
  local leases = self.leases
  local id, _, found, message = leases:holder(self.key)
  local is_over = leases.is_shared and self.ends - leases.clock() < shortest_rest
  if is_over or (not message and id ~= self.id) then
    held_here[self.id] = nil
    return false
  end
  self.value = found or self.value -- a renewal that failed may have been written
  self.renewals = self.renewals + 1
  write(self, "set", seconds)
  return true
end

--- Ends the lease.
---@param result any handed to the waiters of this process
function Lease:release(result)
  self.result, held_here[self.id] = result, nil
  local leases, key = self.leases, self.key
  if not leases.call("delete_if", key, self.value) then
    -- A lease that stays blocks others. The store failed, or a renewal that seemed to fail was written.
    local id, _, value = leases:holder(key)
    leases.call("delete_if", key, id == self.id and value or self.value)
  end
end

-- ---- Waiting for its holder --------------------------------------------------------------------------

--- Reads the lease of a key.
---@return string? id of the lease; nil when the key is free, or the store failed
---@return number? seconds how long it lasts, from when it was taken or renewed last
---@return string? value as it is in the store
---@return string? message why the store failed
function Leases:holder(key)
  local value, message = self.call("get", key)
  local id, digits = tostring(value or ""):match "^(%S+) ?(%d*)"
  local milliseconds = tonumber(digits)
  return id, milliseconds and milliseconds / 1000, value, message
end

--- The state of the holder of a lease in this process. `waiting`: it can continue while the running coroutine
-- waits. `inside`: it is the running coroutine, or has resumed it, and cannot continue before that returns.
-- `stuck`: it has ended without releasing the lease.
local function state_of_holder(lease)
  local owner = lease and owners[lease]
  if owner == nil then
    return "stuck"
  elseif not owner or owner == current_thread() or coroutine.status(owner) == "normal" then
    return "inside"
  end
  -- Not coroutine.status: in OpenResty it returns `dead` for the coroutines of other requests.
  return debug.getinfo(owner, 0) and "waiting" or "stuck"
end

--- Resumes a coroutine until it has ended, and yields when it does. True if it has yielded.
local function resume_fully(thread, ok, ...)
  if not ok then
    error((...), 0)
  elseif coroutine.status(thread) ~= "dead" then
    resume_fully(thread, coroutine.resume(thread, coroutine.yield(...)))
    return true
  end
  return false
end

--- Calls a sleep function that may block, and finds out whether it lets other coroutines run. OpenResty's
-- sleep does so without a visible yield, so the only sign is what other coroutines did meanwhile. A sleep
-- that blocks stops the holder once for each waiter, so it is kept short, and a yield follows.
local function sleep_and_observe(lease, sleep, step)
  local polls, renewals = lease.polls, lease.renewals
  -- `sleep` may be a C function or a callable table, which not every Lua accepts here.
  local thread = coroutine.create(function()
    sleep(math.max(first_step, step / lease.waiting))
  end)
  local has_yielded = resume_fully(thread, coroutine.resume(thread))
  if has_yielded or lease.polls ~= polls or lease.renewals ~= renewals then
    lease.yielding[sleep] = true
  else
    coroutine.yield()
  end
end

--- Sleeps or yields once, so that the holder can run. Returns the seconds that were surely slept; nil if the
-- holder cannot run while this coroutine waits.
local function let_run(lease, sleep, step)
  if lease then
    lease.polls = lease.polls + 1
    local blocks, thread = sleep == core.sleep, current_thread()
    if blocks and not thread then
      return nil
    elseif blocks then
      coroutine.yield()
      return 0
    elseif thread and not lease.yielding[sleep] then
      sleep_and_observe(lease, sleep, step)
      return 0
    end
  end
  sleep(step)
  return step
end

---@class autopilot.SeenLease
---@field id string
---@field ends number? the latest time at which it can end, on the clock of its set; nil if unknown
---@field value string? in the store, as it was read last
---@field lease autopilot.Lease? if the holder is in this process; has a `result` after its release

--- Reads the lease of a key into `seen`. True if the lease seen before is over.
local function poll(self, key, seen)
  local id, seconds, value = self:holder(key)
  seen.id = seen.id or id
  if id ~= seen.id then
    return true
  elseif value ~= seen.value then
    seen.value, seen.ends = value, seconds and self.clock() + seconds
  end
  return false
end

--- Polls until the lease `seen` is over or waiting is useless. `given` and the result: as in `Leases:wait`.
local function poll_until_over(self, key, seen, given)
  local sleep, now, lease = given.sleep or core.sleep, given.now or core.clock, seen.lease
  local began, clock_began = now(), core.clock()
  local step, slept, renewals, renewed_at = first_step, 0, nil, nil
  while true do
    -- A lease in a store expires, so that also a holder ends that only seems to wait for this call: an error has ended
    -- its work, but not its coroutine.
    local how = self.is_shared and "waiting" or state_of_holder(lease)
    if how ~= "waiting" then
      return how
    end
    -- The largest of three measurements, because the clock `now` may be set, or stand still.
    local passed = math.max(now() - began, core.clock() - clock_began, slept)
    local left = given.seconds - passed
    if left <= 0 then
      return "late"
    elseif not self.is_shared then
      if lease.renewals ~= renewals then
        renewals, renewed_at = lease.renewals, passed
      end
      left = math.min(left, renewed_at + lease.seconds - passed)
    end
    local took = left > 0 and let_run(lease, sleep, math.min(step, left))
    if not took and not self.is_shared then
      return "stuck"
    elseif not took then
      local owner = owners[lease]
      if owner and coroutine.status(owner) == "suspended" then
        return "late"
      end
      lease = nil -- an error has ended the holder's work, and its lease expires
    end
    slept = slept + (took or 0)
    step = math.min(step * step_growth, longest_step)
    if poll(self, key, seen) then
      return "over"
    end
  end
end

--- Waits until the present holder no longer has the lease.
---@param given { sleep: fun(seconds: number)?, now: (fun(): number)?, seconds: number } `seconds` after which to stop
-- waiting, and the functions for it; by default the system's sleep, which blocks, and its steady clock
---@return "over"|"late"|"inside" how `over`: the lease is free, or another has it, or it was deleted because its holder
-- did not continue. `late`: the time for waiting has passed, or the holder cannot continue while the caller waits.
-- `inside`: the holder waits for the caller to return
---@return autopilot.SeenLease? seen the lease that was waited for; nil when it was free already
function Leases:wait(key, given)
  local seen = {}
  poll(self, key, seen)
  if not seen.id then
    return "over"
  end
  local lease = held_here[seen.id]
  seen.lease = lease
  if lease then
    lease.waiting = lease.waiting + 1
  end
  local how = poll_until_over(self, key, seen, given)
  if lease then
    lease.waiting = lease.waiting - 1
  end
  if how == "stuck" then
    self.call("delete_if", key, lease and lease.value or seen.value)
    how = "over"
  end
  return how, seen
end

return Leases
