--- The state of a fleet's run in PostgreSQL, which several machines share to process one list of tenants.
--
-- Each machine is started with the same list and the same subject. It divides the list into parts, by a hash of
-- each tenant, and takes a few parts at a time, which it holds with its lease until all their tenants have
-- reports. It tries later to take the parts that other machines hold: once they are released, it reads the reports of
-- their tenants from the database. If a machine's lease expires, the others take over its parts. They then read a
-- tenant's record before they request a sync, because that machine may have requested one.
--
-- A machine sends no sync request when its lease is about to expire. It checks this right before each
-- request, by a steady clock that also runs while the process is stopped. If the network breaks down after that, Linux
-- closes the connection before the lease ends, and does not send the request later.

local Tenants = require "autopilot.fleet.tenants"
local core = require "autopilot.core"
local database = require "autopilot.store.database"
local noted = require "autopilot.fleet.noted"
local shared_run = require "autopilot.fleet.shared_run"

---@class autopilot.fleet.SharedState: autopilot.fleet.State
---@field longest_delivery number seconds from the latest sending of a request to the end of the lease
---@field next_look number when to try again to take parts that other machines hold, steady clock
---@field before_call fun() called before each wait for the database, to send the requests that are ready
---@field elsewhere integer number of tenants reported by other machines, as of the last renewal
---@field is_replaced boolean? a newer run has begun; no request is sent any more
---@field left table<autopilot.fleet.Hold, true> with tenants that have no report of this machine in the database
local SharedState = {}
SharedState.__index = SharedState

---@class autopilot.fleet.Hold: autopilot.fleet.TakenPart a part that this machine holds
---@field number integer
---@field read_at number Unix time at which it was taken
---@field handed_out table<string, boolean> keys of the tenants that `next` returns or has returned
---@field open integer number of the part's tenants in progress; at 0 the part is released
---@field reports { key: string, report: table, is_refused: boolean, cooldown: number }[] to be written; `cooldown`: seconds left
---@field ok integer how many of them are ok
---@field is_unsettled boolean a sync may have been requested for a tenant that has no report
---@field is_lost boolean? the lease ended, and another machine took the part

-- Length of a lease in seconds. It is renewed after a fifth of that time. No sync request is started in its
-- last third, because a request can take some seconds to arrive.
local default_lease = 45
local until_renewal, until_last = 1 / 5, 2 / 3

-- Seconds after a vain attempt to take parts that other machines hold.
local between_looks = 0.2

-- About how many tenants' parts are taken at once: doubled if the last batch took less than `moment`, else halved.
local smallest_batch, largest_batch, moment = 64, 512, 0.2

-- Number of tenants that are read ahead, and the longest time in seconds of reading at a time.
local most_ahead, longest_reading = 20000, 0.05

-- Longest time in seconds for which reports are collected before they are written.
local longest_unwritten = 0.5

-- ---- The lease ---------------------------------------------------------------------------------------

--- For how many seconds a sync request may be started.
local function time_to_post(self)
  return self.renewed_at + self.lease * until_last - self.clock()
end

--- Calls a function of `shared_run` for this run.
local function call(self, name, ...)
  return self.connection:call(shared_run[name], self.run_id, ...)
end

--- Renews the lease. If it has expired, other machines may have taken some of the parts.
local function renew_lease(self)
  local asked_at = self.clock()
  local renewed, message = call(self, "renew", self.worker, self.lease)
  if not renewed then
    return message
  end
  for number, hold in pairs(self.holds) do
    hold.is_lost = not renewed.kept[number]
    self.holds[number] = renewed.kept[number] and hold or nil
  end
  self.renewed_at, self.is_replaced = asked_at, renewed.is_replaced
  self.elsewhere = renewed.done - self.written
end

--- Writes the reports that were collected, and releases the parts whose tenants are done.
function SharedState:flush()
  local changed = self.changed
  if next(changed) == nil then
    return true
  end
  local lost, message =
    call(self, "write", self.worker, self.batch_id, changed, self.cooldown_length)
  self.lost = message -- until the next attempt
  if not lost then
    return nil, message
  end
  for hold in pairs(changed) do
    self.left[hold] = lost[hold.number] or self.left[hold]
    self.written = self.written + #hold.reports
    hold.reports, hold.ok = {}, 0
  end
  self.changed, self.batch_id = {}, core.uuid()
  return true
end

--- Writes reports and renews the lease. During a run it must be called again by the time that it returns.
---@return number due_at steady clock
---@return string? problem why the database could not be used since the last call
function SharedState:renew()
  self.before_call()
  self:flush()
  local clock, problem = self.clock(), self.problem or self.lost
  self.problem = nil
  if clock >= self.renewed_at + self.lease * until_renewal then
    problem = renew_lease(self) or problem
  end
  return clock + longest_unwritten, problem
end

-- ---- Taking tenants ----------------------------------------------------------------------------------

--- Marks a part to be written; removes it from those held if it has no tenant in progress. Ignores a lost part.
local function note_change(self, hold)
  if not hold.is_lost then
    self.changed[hold] = true
    self.holds[hold.number] = hold.open > 0 and hold or nil
  end
end

--- Makes a tenant ready if this machine holds its part; else lets it wait. A tenant that is in the list twice waits
-- until the part is taken again.
local function add_entry(self, entry)
  local hold, waiting = self.holds[entry.part], self.waiting[entry.part] or {}
  if hold and not hold.handed_out[entry.key] and not self.entries[entry.key] then
    hold.handed_out[entry.key], hold.open = true, hold.open + 1
    entry.hold, entry.written = hold, hold.tenants[entry.key] or {}
    self.entries[entry.key] = entry
    table.insert(self.ready, entry)
  else
    self.waiting[entry.part], self.waiting_count = waiting, self.waiting_count + 1
    table.insert(waiting, entry)
  end
end

--- Removes and returns the tenants that wait for a part.
local function take_waiting(self, number)
  local waiting = self.waiting[number]
  self.waiting[number], self.waiting_count = nil, self.waiting_count - #waiting
  return waiting
end

--- Reads tenants of the list ahead.
---@return any wrong an item of the list that is not a valid tenant; it ends the reading
local function read_ahead(self, list)
  local ends = self.clock() + longest_reading
  while self.waiting_count < most_ahead and self.clock() < ends do
    local tenant = list:take()
    local _, id = Tenants.identify(tenant)
    if not id then
      return tenant
    end
    local name = id:lower() -- upper and lower case make no difference
    local part = 1 + math.floor(Tenants.fraction_of(name) * shared_run.part_count)
    add_entry(self, { tenant = tenant, key = self.prefix .. name, part = part })
  end
end

--- Takes some of the parts to which the waiting tenants belong.
local function take_parts(self)
  local numbers = {}
  for number in pairs(self.waiting) do
    if not self.holds[number] then
      numbers[#numbers + 1] = number
    end
  end
  if #numbers == 0 then
    return {}
  end
  local most, parts = math.ceil(self.batch * #numbers / self.waiting_count), nil
  local message = time_to_post(self) <= 0 and renew_lease(self) or nil
  if not message then
    parts, message = call(self, "take", self.worker, self.lease, numbers, most)
  end
  self.problem = message or self.problem
  return parts or {}
end

--- Writes reports, takes parts, and makes the waiting tenants of these parts ready.
local function refill(self)
  self.before_call()
  local began = self.clock()
  -- Reports are written first, because taking a part reads the reports of its tenants.
  local parts = self:flush() and take_parts(self) or {}
  for number, hold in pairs(parts) do
    hold.number, hold.read_at, hold.handed_out, hold.open = number, self.now(), {}, 0
    hold.reports, hold.ok, hold.is_unsettled = {}, 0, hold.taken_for ~= nil
    self.holds[number] = hold
    for _, entry in ipairs(take_waiting(self, number)) do
      add_entry(self, entry)
    end
    if hold.open == 0 then
      note_change(self, hold)
    end
  end
  if #self.ready > 0 then
    local factor = began - self.looked_at < moment and 2 or 0.5
    self.batch = math.max(smallest_batch, math.min(self.batch * factor, largest_batch))
    self.looked_at = began
  else
    self.next_look = began + between_looks
  end
end

--- Returns the tenant to start next; nil if none can be started now (`has_more` tells whether one may be later).
---@param list autopilot.fleet.Tenants
---@param is_late boolean the run is over: the rest is returned without the database, as in a run that was replaced
---@return any tenant an item of the list, also one that is not a valid tenant
function SharedState:next(list, is_late)
  local is_alone = is_late or self.is_replaced
  if #self.ready == 0 and is_alone then
    local number = next(self.waiting)
    self.ready = number and take_waiting(self, number) or {}
  elseif #self.ready == 0 then
    local wrong = read_ahead(self, list)
    if #self.ready == 0 and self.waiting_count > 0 and self.clock() >= self.next_look then
      refill(self)
    end
    if wrong then
      return wrong
    end
  end
  local entry = table.remove(self.ready)
  if not entry then
    return is_alone and list:take(is_late) or nil
  elseif entry.hold and entry.hold.is_lost and not is_alone then
    -- Its part was lost meanwhile: it waits again.
    self.entries[entry.key], entry.hold = nil, nil
    add_entry(self, entry)
    return self:next(list, is_late)
  end
  return entry.tenant
end

--- Whether tenants that were read from the list are still to be returned by `next`.
function SharedState:has_more()
  return #self.ready > 0 or self.waiting_count > 0
end

-- ---- The state of one tenant -------------------------------------------------------------------------

-- In place of the entry of a tenant that is not in progress.
local no_entry = { hold = { is_lost = true }, written = {} }

local function entry_of(self, key)
  return self.entries[self.prefix .. key:lower()] or no_entry
end

--- Ends the work on a tenant.
local function end_entry(self, entry)
  self.entries[entry.key] = nil
  entry.hold.open = entry.hold.open - 1
  note_change(self, entry.hold)
end

--- Returns the report of a tenant that is done in this run; nil if it is not done; nil and a message if the stored report
-- is damaged.
function SharedState:known(key)
  local entry = entry_of(self, key)
  if not entry.written.report then
    return nil
  end
  end_entry(self, entry)
  local known = noted.restore(entry.written.report)
  return known, not known and "its report in the database is damaged" or nil
end

--- Returns when the tenant's cooldown ends, in Unix time; nil if no cooldown is known.
function SharedState:cooldown(key)
  local entry = entry_of(self, key)
  local left = entry.written.cooldown_left or 0
  return left > 0 and math.min(entry.hold.read_at + left, self.now() + self.cooldown_length) or nil
end

--- Returns when a machine of this run may have requested a sync of the tenant before (Unix time), or nil.
function SharedState:posted(key)
  local entry = entry_of(self, key)
  local ago = entry.hold.taken_for
  if entry.written.is_of_run then
    ago = entry.written.asked_for
  end
  return ago and entry.hold.read_at - ago
end

--- Returns for how many seconds a sync request for the tenant may be sent; false if this machine has lost the tenant's
-- part or its lease is about to expire.
---@return number|false seconds
function SharedState:note_posting(key)
  local left = time_to_post(self)
  return not entry_of(self, key).hold.is_lost and left > 0 and left
end

--- Keeps a tenant's report, which is written within half a second. The report of a tenant for which no request was
-- sent, because the run or the lease ended, is not kept, nor that of a part that was lost: other machines process that
-- tenant.
function SharedState:note(key, given)
  local entry = entry_of(self, key)
  if entry == no_entry then
    return true
  end
  local hold, at = entry.hold, self.now()
  end_entry(self, entry)
  local is_unsent = given.outcome == "cancelled" or (given.network or {}).name == "LEASE_ENDED"
  if is_unsent or hold.is_lost then
    hold.is_unsettled, self.left[hold] = true, true
    return true
  end
  local ends = noted.cooldown_end_of(given, at, self.cooldown_length)
  -- JSON has no infinity and no NaN, which a user's report may have: one report must not hold up the others.
  local left = math.max(0, (ends or at) - at)
  table.insert(hold.reports, {
    key = entry.key,
    report = noted.kept_of(given),
    is_refused = noted.is_refused(given),
    cooldown = left < self.cooldown_length and left or self.cooldown_length,
  })
  hold.ok = hold.ok + (given.ok and 1 or 0)
  return true
end

-- ---- Starting and ending a run -----------------------------------------------------------------------

--- Marks the run as finished. If other machines have not reported yet what was left to them, they do so at their end.
-- The run can be joined for `latest_start` seconds; later a new run is started.
function SharedState:finish()
  local done, message = self:flush()
  if done then
    done, message = call(self, "finish", self.left)
  end
  self.lost = message
  return done, message
end

--- Ends the lease, which releases the tenants that have no report.
function SharedState:close()
  self:flush()
  call(self, "dismiss", self.worker)
  self.connection:shut()
end

SharedState.__close = SharedState.close

--- Opens the database and joins the run with that subject.
---@param given table see `autopilot.fleet.StateOptions`, checked, with `path` a `postgresql://` address; `lease`: seconds, for tests
---@return autopilot.fleet.SharedState?
---@return string? message one sentence
return function(given)
  local lease = given.lease or default_lease
  local self = setmetatable({
    now = given.now,
    clock = given.clock,
    prefix = given.host .. " ",
    cooldown_length = given.cooldown + given.cooldown_margin,
    worker = core.uuid(),
    lease = lease,
    renewed_at = given.clock(), -- when it was asked for
    longest_delivery = lease * (1 - until_last),
    waiting = {}, -- tenants of the list that are not handed out yet, by the number of their part
    waiting_count = 0,
    holds = {}, -- by number
    ready = {}, -- tenants that `next` returns
    entries = {}, -- by key: tenants in `ready` and tenants in progress
    next_look = -math.huge,
    batch = smallest_batch,
    looked_at = -math.huge, -- when tenants were found last
    changed = {}, -- a set of parts that are to be written
    batch_id = core.uuid(), -- of what is written next
    written = 0, -- reports
    before_call = function() end,
    elsewhere = 0,
    left = {},
  }, SharedState)
  local options = { driver = "PostgreSQL", database = given.path }
  self.connection = database.connect(options, shared_run.prepare)
  local subject = given.host .. "\n" .. given.subject
  local run, message =
    self.connection:call(shared_run.join, subject, given.resume_within, self.worker, self.lease)
  if not run then
    return nil, "the state: " .. message
  end
  self.run_id, self.started_at, self.done_before = run.id, self.now() - run.age, run.done
  return self
end
