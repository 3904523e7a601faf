--- The state of a fleet's run in PostgreSQL, which several machines share to process one list of tenants.
--
-- Each machine is started with the same list and the same subject. It takes a batch of tenants at a time and
-- holds them with its lease, which it renews while it works. A tenant that another machine holds is set aside
-- until that machine has reported it. If that machine's lease expires first, this one takes the tenant over.
-- It then reads the tenant's record before it requests a sync, because the other machine may have requested
-- one.
--
-- A machine sends no sync request when its lease is about to expire. It checks this right before each
-- request, by a steady clock that also runs while the process is stopped. Times in the database are those of
-- the database's clock, so the clocks of the machines may differ.

local Connection = require "autopilot.store.connection"
local core = require "autopilot.core"
local database = require "autopilot.store.database"
local noted = require "autopilot.fleet.noted"
local shared_run = require "autopilot.fleet.shared_run"

---@class autopilot.fleet.SharedState: autopilot.fleet.State
---@field next_look number when to ask again for tenants that other machines hold, steady clock
---@field before_call fun() called before the database is waited for: what can be sent is to be sent before
---@field elsewhere integer number of tenants reported by other machines, as of the last renewal
local SharedState = {}
SharedState.__index = SharedState

-- Length of a lease in seconds. It is renewed after a fifth of that time. No sync request is started in its
-- last third, because a request can take some seconds to arrive.
local default_lease = 45
local until_renewal, until_last = 1 / 5, 2 / 3

-- Seconds after which the tenants that other machines hold are asked for again.
local between_looks = 0.5

-- Number of tenants taken with one statement, and of reports that are written at once; at the end of the list that
-- of tenants that other machines hold.
local batch, most_aside = 64, 1000

-- Longest time in seconds for which reports are collected before they are written.
local longest_unwritten = 0.5

-- ---- The lease ---------------------------------------------------------------------------------------

--- Whether the lease is valid for long enough to start a sync request.
local function holds_lease(self)
  return self.clock() < self.renewed_at + self.lease * until_last
end

--- Renews the lease, or takes a new one if it has expired. Other machines may then have taken over the
-- tenants that were held with the old lease.
local function renew_lease(self, opened)
  local asked_at = self.clock()
  if not shared_run.renew(opened, self.worker, self.lease) then
    self.worker = core.uuid()
    shared_run.enlist(opened, self.run_id, self.worker, self.lease)
  end
  self.renewed_at = asked_at
  self.elsewhere = shared_run.count_elsewhere(opened, self.run_id, self.worker)
  return true
end

--- Writes the reports that were collected.
---@return boolean? done
---@return string? message
function SharedState:flush()
  local waiting = self.waiting
  if #waiting == 0 then
    return true
  end
  local done, message = self.connection:call(function(opened)
    shared_run.write(opened, self.run_id, waiting)
    return true
  end)
  self.lost = message -- until the next attempt
  if not done then
    return nil, message
  end
  for _, written in ipairs(waiting) do
    self.held[written.key] = nil
  end
  self.waiting = {}
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
    local _, message = self.connection:call(function(opened)
      return renew_lease(self, opened)
    end)
    problem = message or problem
  end
  return clock + longest_unwritten, problem
end

-- ---- Taking tenants ----------------------------------------------------------------------------------

--- The key of a tenant in the database. Upper and lower case make no difference.
local function full_key(self, key)
  return database.encode(self.prefix .. key:lower())
end

--- Takes tenants in the database. Tenants that this machine now holds, and tenants that are done, become
-- ready; those that other machines hold are set aside, as are those that stand in the list twice.
---@param entries { tenant: any, key: string }[]
local function take_entries(self, entries)
  local keys = {}
  for index, entry in ipairs(entries) do
    keys[index] = full_key(self, entry.key)
  end
  self.before_call()
  local parts, message = self.connection:call(function(opened)
    if not holds_lease(self) then
      renew_lease(self, opened)
    end
    return shared_run.take(opened, self.run_id, self.worker, keys)
  end)
  self.problem = message or self.problem
  local read_at = self.now()
  for index, entry in ipairs(entries) do
    local key = keys[index]
    local part = parts and parts[key]
    if part and (part.is_ours or part.report) and not self.held[key] then
      local left = part.cooldown_left or 0
      self.held[key] = {
        worker = self.worker,
        taken_at = not part.report and part.taken_for and read_at - part.taken_for or nil,
        report = part.report,
        cooldown_end = left > 0 and read_at + left or nil,
      }
      table.insert(self.ready, entry)
    else
      table.insert(self.aside, entry)
    end
  end
end

--- The first tenants that were set aside, when it is time to ask for them again; nil when it is not.
local function read_aside(self)
  local aside, clock = self.aside, self.clock()
  if #aside == 0 or clock < self.next_look then
    return nil
  end
  self.next_look = clock + between_looks
  local most = self.is_list_read and most_aside or batch
  local entries, rest = {}, {}
  for index, entry in ipairs(aside) do
    table.insert(index <= most and entries or rest, entry)
  end
  self.aside = rest
  return entries
end

--- The next tenants of the list, at most a batch.
---@return { tenant: any, key: string }[] entries
---@return any wrong an item of the list that is not a valid tenant; it ends the batch
local function read_batch(self, read, identify)
  local entries = {}
  while #entries < batch do
    local tenant = read()
    local _, key = identify(tenant)
    if not key then
      self.is_list_read = tenant == nil
      return entries, tenant
    end
    entries[#entries + 1] = { tenant = tenant, key = key }
  end
  return entries
end

--- Returns the tenant to start next; nil if no tenant can be started now.
---@param read fun(): any the next tenant of the list, or nil
---@param identify fun(tenant: any): string?, string? its id and key
---@param is_late boolean no tenant is to be processed any more: the rest is returned without the database
---@return any tenant
function SharedState:next(read, identify, is_late)
  if is_late then
    local entry = table.remove(self.ready) or table.remove(self.aside)
    return entry and entry.tenant or read()
  end
  while #self.ready == 0 do
    local entries, wrong = read_aside(self), nil
    if not entries then
      entries, wrong = read_batch(self, read, identify)
    end
    if #entries > 0 then
      take_entries(self, entries)
    end
    if wrong ~= nil then
      return wrong -- the fleet reports it
    elseif #entries == 0 then
      break
    end
  end
  local entry = table.remove(self.ready, 1)
  return entry and entry.tenant
end

--- Whether tenants that were read from the list are still to be returned by `next`.
---@return boolean
function SharedState:has_more()
  return #self.ready > 0 or #self.aside > 0
end

-- ---- The state of one tenant -------------------------------------------------------------------------

local function held(self, key)
  return self.held[full_key(self, key)] or {}
end

--- The report of a tenant that is done in this run, perhaps by another machine.
function SharedState:known(key)
  local text = held(self, key).report
  if not text then
    return nil
  end
  self.held[full_key(self, key)] = nil
  local known = noted.decode(text)
  return known, not known and "its report in the database is damaged" or nil
end

function SharedState:cooldown(key)
  local ends = held(self, key).cooldown_end
  return ends and math.min(ends, self.now() + self.cooldown_length) or nil
end

--- When this run took the tenant before, on this machine or another, which may have asked for a sync then.
function SharedState:posted(key)
  return held(self, key).taken_at
end

--- For how many seconds a sync request may be sent: this machine holds the tenant. If its lease had expired, and no
-- other machine has taken the tenant since, it is taken back.
---@return number|false seconds
function SharedState:note_posting(key)
  local entry = held(self, key)
  if not holds_lease(self) then
    return false
  elseif entry.worker and entry.worker ~= self.worker then
    local full = full_key(self, key)
    local parts = self.connection:call(function(opened)
      return shared_run.take(opened, self.run_id, self.worker, { full })
    end)
    if parts and parts[full] and parts[full].is_ours then
      entry.worker = self.worker
    end
  end
  local left = self.renewed_at + self.lease * until_last - self.clock()
  return entry.worker == self.worker and left > 0 and left
end

--- Notes a report, which is written within half a second. A tenant for which nothing was asked, because the run or
-- the lease ended, is left to other machines.
function SharedState:note(key, given)
  local entry, at = held(self, key), self.now()
  local is_left = given.outcome == "cancelled" or (given.network or {}).name == "LEASE_ENDED"
  if is_left or not entry.worker or entry.is_noted then
    return true
  end
  entry.is_noted = true
  local ends = noted.cooldown_end_of(given, at, self.cooldown_length)
  table.insert(self.waiting, {
    key = full_key(self, key),
    worker = entry.worker,
    is_ok = given.ok,
    report = noted.encode(given),
    is_refused = noted.is_refused(given),
    cooldown = ends and ends - at,
  })
  if #self.waiting >= batch then
    return self:flush()
  end
  return true
end

-- ---- Starting and ending a run -----------------------------------------------------------------------

--- Marks the run as finished. It can be joined for `latest_start` seconds; later a new run is started.
function SharedState:finish()
  local done, message = self:flush()
  if done then
    done, message = self.connection:call(function(opened)
      shared_run.finish(opened, self.run_id)
      return true
    end)
  end
  self.lost = not done and message or nil
  return done, message
end

--- Ends the lease, which releases the tenants that have no report.
function SharedState:close()
  self:flush()
  self.connection:call(function(opened)
    shared_run.dismiss(opened, self.worker)
    return true
  end)
  self.connection:shut()
end

SharedState.__close = SharedState.close

--- Opens the database and joins the run with that subject.
---@param given table see `autopilot.fleet.StateOptions`, checked, with `path` a `postgresql://` address; `lease`: seconds, for tests
---@return autopilot.fleet.SharedState?
---@return string? message one sentence
return function(given)
  local options = { driver = "PostgreSQL", database = given.path }
  local self = setmetatable({
    now = given.now,
    clock = given.clock,
    prefix = given.host .. " ",
    cooldown_length = given.cooldown + given.cooldown_margin,
    worker = core.uuid(),
    lease = given.lease or default_lease,
    held = {}, -- by key: what was read of each tenant in progress
    ready = {}, -- tenants that `next` returns
    aside = {}, -- tenants that other machines hold
    waiting = {}, -- reports that are to be written
    next_look = -math.huge,
    is_list_read = false, -- the list had no tenant when it was read last
    before_call = function() end,
    elsewhere = 0,
  }, SharedState)
  self.connection = Connection.new {
    name = "PostgreSQL",
    open = function()
      local opened = database.open(options)
      local is_ready, raised = pcall(shared_run.prepare, opened)
      if not is_ready then
        database.close(opened)
        error(raised, 0)
      end
      return opened
    end,
    close = database.close,
    secrets = database.secrets(options),
  }
  local asked_at = self.clock()
  local subject = given.host .. "\n" .. given.subject
  local joined, message = self.connection:call(function(opened)
    return {
      shared_run.join(opened, subject, given.resume_within, self.worker, self.lease),
    }
  end)
  if not joined then
    return nil, "the state: " .. message
  end
  self.run_id, self.started_at, self.done_before = joined[1], self.now() - joined[2], joined[3]
  self.renewed_at = asked_at
  return self
end
