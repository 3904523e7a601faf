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
local json = require "autopilot.base.json"
local noted = require "autopilot.fleet.noted"

---@class autopilot.fleet.SharedState: autopilot.fleet.State
---@field next_look number when to ask again for tenants that other machines hold, steady clock
---@field elsewhere integer number of tenants reported by other machines, as of the last renewal
local SharedState = {}
SharedState.__index = SharedState

-- Length of a lease in seconds. It is renewed after a fifth of that time. No sync request is started in its
-- last third, because a request can take some seconds to arrive.
local default_lease = 45
local until_renewal, until_last = 1 / 5, 2 / 3

-- Seconds after which the tenants that other machines hold are asked for again.
local between_looks = 0.5

-- Seconds for which a finished run is kept: a machine that is started later than the others then joins that
-- run and does not start a new one.
local latest_start = 60

-- Number of tenants taken, or of reports written, with one statement.
local batch = 64

-- Longest time in seconds for which reports are collected before they are written.
local longest_unwritten = 0.5

local now = "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"

local tables = {
  autopilot_run_1 = "id BIGSERIAL PRIMARY KEY, subject TEXT NOT NULL UNIQUE, "
    .. "started_at DOUBLE PRECISION NOT NULL, finished_at DOUBLE PRECISION",
  autopilot_worker_1 = "id TEXT PRIMARY KEY, run BIGINT NOT NULL, "
    .. "alive_until DOUBLE PRECISION NOT NULL",
  autopilot_part_1 = "run BIGINT NOT NULL, key TEXT NOT NULL, worker TEXT, "
    .. "asked_at DOUBLE PRECISION, is_ok BOOLEAN, report TEXT, PRIMARY KEY (key, run)",
  autopilot_tenant_1 = "key TEXT PRIMARY KEY, last_trigger DOUBLE PRECISION, "
    .. "cooldown_end DOUBLE PRECISION, outcome TEXT, noted_at DOUBLE PRECISION",
}

local function with_now(sql)
  return (sql:gsub("{now}", now))
end

-- Selects a row if the lease of the worker with the id `%s` has not expired.
local living = "SELECT 1 FROM autopilot_worker_1 WHERE id = %s AND alive_until > {now}"

-- The `ANY` below, and a primary key that begins with `key`, make PostgreSQL use the index. Otherwise each
-- statement would scan all rows of the run, as long as the new table has no statistics.

-- Takes those of the given tenants that no worker holds, and returns what is stored of all of them. The last
-- SELECT sees the tables as they were before the INSERT: its `asked_at` is that of an earlier holder.
local take = with_now(([[WITH given AS (
    SELECT DISTINCT value AS key FROM json_array_elements_text(CAST(? AS json))
  ), taken AS (
    INSERT INTO autopilot_part_1 AS part (run, key, worker, asked_at)
    SELECT CAST(? AS BIGINT), key, ?, {now} FROM given ORDER BY key
    ON CONFLICT (run, key) DO UPDATE
      SET worker = excluded.worker, asked_at = coalesce(part.asked_at, excluded.asked_at)
      WHERE part.report IS NULL
        AND (part.worker IS NULL OR part.worker = excluded.worker OR NOT EXISTS (%s))
    RETURNING key
  )
  SELECT given.key, taken.key IS NOT NULL, {now} - part.asked_at, part.report,
    tenant.cooldown_end - {now}
  FROM given
  LEFT JOIN taken ON taken.key = given.key
  LEFT JOIN autopilot_part_1 part ON part.key = given.key AND part.run = CAST(? AS BIGINT)
    AND part.key = ANY(ARRAY(SELECT key FROM given))
  LEFT JOIN autopilot_tenant_1 tenant ON tenant.key = given.key
    AND tenant.key = ANY(ARRAY(SELECT key FROM given))]]):format(living:format "part.worker"))

-- Stores the reports of tenants that this machine still holds, and for all tenants what later runs use.
local write = with_now [[WITH given AS (
    SELECT * FROM json_to_recordset(CAST(? AS json)) AS given(
      key TEXT, worker TEXT, is_ok BOOLEAN, report TEXT, is_released BOOLEAN, is_refused BOOLEAN,
      last_trigger DOUBLE PRECISION, cooldown DOUBLE PRECISION, outcome TEXT)
  ), written AS (
    UPDATE autopilot_part_1 AS part SET
      is_ok = given.is_ok,
      report = CASE WHEN given.is_released THEN NULL ELSE given.report END,
      worker = CASE WHEN given.is_released THEN NULL ELSE part.worker END,
      asked_at = CASE WHEN given.is_refused THEN NULL ELSE part.asked_at END
    FROM given
    WHERE part.run = CAST(? AS BIGINT) AND part.key = ANY(ARRAY(SELECT key FROM given))
      AND part.key = given.key AND part.worker = given.worker
    RETURNING part.key
  ), known AS (
    INSERT INTO autopilot_tenant_1 AS tenant (key, last_trigger, cooldown_end, outcome, noted_at)
    SELECT key, last_trigger, {now} + cooldown, outcome, {now} FROM given ORDER BY key
    ON CONFLICT (key) DO UPDATE SET
      last_trigger = greatest(excluded.last_trigger, tenant.last_trigger),
      cooldown_end = greatest(excluded.cooldown_end, tenant.cooldown_end),
      outcome = excluded.outcome,
      noted_at = excluded.noted_at
    RETURNING key
  )
  SELECT (SELECT count(*) FROM written), (SELECT count(*) FROM known)]]

local renew = with_now [[UPDATE autopilot_worker_1
  SET alive_until = {now} + CAST(? AS DOUBLE PRECISION) WHERE id = ? AND alive_until > {now}]]
local enlist = with_now [[INSERT INTO autopilot_worker_1 (id, run, alive_until)
  VALUES (?, CAST(? AS BIGINT), {now} + CAST(? AS DOUBLE PRECISION))]]

-- ---- The lease ---------------------------------------------------------------------------------------

--- Whether the lease is valid for long enough to start a sync request.
local function holds_lease(self)
  return self.clock() < self.renewed_at + self.lease * until_last
end

--- Renews the lease, or takes a new one if it has expired. Other machines may then have taken over the
-- tenants that were held with the old lease.
local function renew_lease(self, opened)
  local asked_at = self.clock()
  local _, count = database.run(opened, renew, self.lease, self.worker)
  if count == 0 then
    self.worker = core.uuid()
    database.run(opened, enlist, self.worker, self.run_id, self.lease)
  end
  self.renewed_at = asked_at
  local sql = "SELECT count(*) FROM autopilot_part_1 WHERE run = CAST(? AS BIGINT) "
    .. "AND report IS NOT NULL AND worker <> ?"
  self.elsewhere = database.run(opened, sql, self.run_id, self.worker)[1][1]
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
  local text = json.encode(waiting)
  local done, message = self.connection:call(function(opened)
    return database.run(opened, write, text, self.run_id) ~= nil
  end)
  if done then
    self.waiting, self.lost = {}, nil
    return true
  end
  self.lost = message -- until the next attempt
  return nil, message
end

--- Writes reports and renews the lease. During a run it must be called again by the time that it returns.
---@return number due_at steady clock
function SharedState:renew()
  self:flush()
  local clock = self.clock()
  if clock >= self.renewed_at + self.lease * until_renewal then
    local _, message = self.connection:call(function(opened)
      return renew_lease(self, opened)
    end)
    self.problem = message
  end
  return clock + longest_unwritten
end

-- ---- Taking tenants ----------------------------------------------------------------------------------

--- Takes tenants in the database. Tenants that this machine now holds, and tenants that are done, become
-- ready; those that other machines hold are set aside.
---@param entries { tenant: any, key: string }[]
local function take_entries(self, entries)
  local keys = {}
  for index, entry in ipairs(entries) do
    keys[index] = self.prefix .. entry.key:lower()
  end
  local text = json.encode(keys)
  local rows, message = self.connection:call(function(opened)
    if not holds_lease(self) then
      renew_lease(self, opened)
    end
    return (database.run(opened, take, text, self.run_id, self.worker, self.run_id))
  end)
  self.problem = message
  local found = {}
  for _, row in ipairs(rows or {}) do
    found[row[1]] = row
  end
  local read_at = self.now()
  for index, entry in ipairs(entries) do
    local row, key = found[keys[index]], keys[index]
    local is_known = row and row[4] ~= nil
    if row and (row[2] or is_known) and not self.held[key] then
      self.held[key] = {
        worker = self.worker,
        asked_at = not is_known and row[3] and read_at - row[3] or nil,
        report = row[4],
        cooldown_end = row[5] and row[5] > 0 and read_at + row[5] or nil,
      }
      table.insert(self.ready, entry)
    else
      table.insert(self.aside, entry)
    end
  end
end

--- The next tenants of the list, at most a batch. At its end: the tenants set aside, if it is time to ask
-- again.
---@return { tenant: any, key: string }[] entries
---@return any wrong an item of the list that is not a valid tenant; it ends the batch
local function read_batch(self, read, identify)
  local entries = {}
  while #entries < batch do
    local tenant = read()
    local _, key = identify(tenant)
    if not key then
      if #entries == 0 and tenant == nil and self.clock() >= self.next_look then
        self.next_look = self.clock() + between_looks
        entries, self.aside = self.aside, {}
      end
      return entries, tenant
    end
    entries[#entries + 1] = { tenant = tenant, key = key }
  end
  return entries
end

--- The next tenant to process; nil if there is none at present.
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
    local entries, wrong = read_batch(self, read, identify)
    if #entries > 0 then
      take_entries(self, entries)
    end
    if wrong ~= nil then
      return wrong -- the fleet reports it
    elseif #entries < batch then
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
  return self.held[self.prefix .. key:lower()] or {}
end

--- The report of a tenant that is done in this run, perhaps by another machine.
function SharedState:known(key)
  local text = held(self, key).report
  if not text then
    return nil
  end
  self.held[self.prefix .. key:lower()] = nil
  local known = noted.decode(text)
  return known, not known and "what it says of this tenant is damaged" or nil
end

function SharedState:cooldown(key)
  local ends = held(self, key).cooldown_end
  return ends and math.min(ends, self.now() + self.cooldown_length) or nil
end

function SharedState:posted(key)
  return held(self, key).asked_at
end

--- Whether a sync request may be sent now: this machine still holds the tenant.
---@return boolean
function SharedState:note_posting(key)
  return held(self, key).worker == self.worker and holds_lease(self)
end

function SharedState:note(key, given)
  local full_key, at = self.prefix .. key:lower(), self.now()
  local entry = held(self, key)
  self.held[full_key] = nil
  local ends = noted.cooldown_end_of(given, at, self.cooldown_length)
  table.insert(self.waiting, {
    key = full_key,
    worker = entry.worker or "",
    is_ok = given.ok,
    report = noted.encode(given),
    is_released = given.outcome == "cancelled",
    is_refused = noted.is_refused(given),
    last_trigger = noted.trigger_of(given, at),
    cooldown = ends and ends - at,
    outcome = given.outcome,
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
    local sql =
      with_now "UPDATE autopilot_run_1 SET finished_at = {now} WHERE id = CAST(? AS BIGINT)"
    done, message = self.connection:call(function(opened)
      return database.run(opened, sql, self.run_id) ~= nil
    end)
  end
  self.lost = not done and message or nil
  return done, message
end

--- Ends the lease, which releases the tenants that have no report.
function SharedState:close()
  self:flush()
  self.connection:call(function(opened)
    return database.run(opened, "DELETE FROM autopilot_worker_1 WHERE id = ?", self.worker) ~= nil
  end)
  self.connection:shut()
end

SharedState.__close = SharedState.close

--- Creates the tables that are missing.
local function make_tables(opened)
  for name, columns in pairs(tables) do
    local exists = ("SELECT 1 FROM %s WHERE 1 = 0"):format(name)
    if not pcall(database.run, opened, exists) then
      -- If another machine has just created the table, this fails or does nothing.
      pcall(database.run, opened, ("CREATE TABLE IF NOT EXISTS %s (%s)"):format(name, columns))
      database.run(opened, exists)
    end
  end
end

--- Joins the run of that subject if other machines work on it; else resumes it, or starts a new one.
local function join(self, opened, subject, resume_within)
  local function run(sql, ...)
    return database.run(opened, with_now(sql), ...)
  end
  run "DELETE FROM autopilot_worker_1 WHERE alive_until <= {now}"
  run(
    "INSERT INTO autopilot_run_1 (subject, started_at) VALUES (?, {now}) ON CONFLICT DO NOTHING",
    subject
  )
  -- The row is locked until the end of the transaction, so that only one machine at a time decides.
  local found = run(
    "SELECT id, {now} - started_at, {now} - finished_at FROM autopilot_run_1 "
      .. "WHERE subject = ? FOR UPDATE",
    subject
  )[1]
  local id, age, ended_for = found[1], found[2], found[3]
  local workers = run("SELECT id FROM autopilot_worker_1 WHERE run = CAST(? AS BIGINT)", id)
  if #workers == 0 then
    if ended_for and ended_for > latest_start or age > resume_within then
      run("DELETE FROM autopilot_part_1 WHERE run = CAST(? AS BIGINT)", id)
      run(
        "UPDATE autopilot_run_1 SET started_at = {now}, finished_at = NULL "
          .. "WHERE id = CAST(? AS BIGINT)",
        id
      )
      age = 0
    elseif not ended_for then
      -- Tenants that failed are processed again.
      run(
        "UPDATE autopilot_part_1 SET report = NULL, worker = NULL "
          .. "WHERE run = CAST(? AS BIGINT) AND NOT is_ok",
        id
      )
    end
  end
  run(enlist, self.worker, id, self.lease)
  local done = run(
    "SELECT count(*) FROM autopilot_part_1 WHERE run = CAST(? AS BIGINT) AND report IS NOT NULL",
    id
  )
  self.run_id, self.started_at, self.done_before = id, self.now() - age, done[1][1]
end

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
    elsewhere = 0,
  }, SharedState)
  self.connection = Connection.new {
    name = "PostgreSQL",
    open = function()
      return database.open(options)
    end,
    close = database.close,
    secrets = database.secrets(options),
  }
  local asked_at = self.clock()
  local done, message = self.connection:call(function(opened)
    make_tables(opened)
    database.run(opened, "BEGIN")
    join(self, opened, given.host .. "\n" .. given.subject, given.resume_within)
    database.run(opened, "COMMIT")
    return true
  end)
  if not done then
    return nil, "the state: " .. message
  end
  self.renewed_at = asked_at
  return self
end
