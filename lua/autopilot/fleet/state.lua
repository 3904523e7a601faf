--- What a fleet keeps in a file, so that it outlives the process: for each tenant its last trigger, the
-- end of its cooldown and its last outcome; and which tenants a run is done with.
--
-- A run is known by its subject, what it was started to do. It ends with `State:finish`. One that did
-- not come to its end, be it cancelled or killed, is taken up again by the next with the same subject:
-- that one does not repeat what is done. After a finished run everything is done anew. What is known
-- of cooldowns holds for all runs.
--
-- Done is a tenant whose report is ok: a failure is tried again. No token and no secret is kept: of a
-- report the fields below, which never hold one.

local core = require "autopilot.core"
local database = require "autopilot.fleet.database"
local json = require "autopilot.base.json"
local options = require "autopilot.base.options"
local report = require "autopilot.sync.report"

local state = {}

---@class autopilot.fleet.StateOptions
---@field path string the file; made when it is not there
---@field subject string? what tells this run from others in the file, such as its operation and moment; default `sync`
---@field host string? where the tenants are: what is known of one there is not known of it elsewhere
---@field resume_within number? seconds after its start in which an unfinished run is taken up again; default 43200; 0: never
---@field cooldown number? seconds the service wants between two syncs; default 600
---@field cooldown_margin number? seconds added to it; default 10
---@field now (fun(): number)? Unix seconds

---@class autopilot.fleet.State
---@field started_at number Unix time at which this run was started, be it by another process
---@field done_before integer how many tenants it was done with before this process took it up
---@field lost string? why something could not be written
---@field package database autopilot.fleet.Database
---@field package synced_at number Unix time
---@field package prefix string before each key
---@field package cooldown_length number seconds, with the margin
---@field package run_id integer
local State = {}
State.__index = State

local name = "autopilot.fleet.state"

local rules = {
  path = {
    type = "string",
    required = true,
    check = function(path)
      return (path == "" or path:find("\0", 1, true)) and "must be the name of a file" or nil
    end,
  },
  subject = { type = "string", default = "sync" },
  host = { type = "string", default = "" },
  resume_within = { type = "number", default = 43200, min = 0 },
  cooldown = { type = "number", default = 600, min = 0 },
  cooldown_margin = { type = "number", default = 10, min = 0 },
  now = { type = "function", default = core.now },
}

local version = 2

-- Seconds: what was noted longer ago outlives a loss of power too.
local longest_unsynced = 5

local tables = {
  [[CREATE TABLE tenant (
      key TEXT PRIMARY KEY, last_trigger REAL, cooldown_end REAL, outcome TEXT, noted_at REAL
    ) WITHOUT ROWID]],
  [[CREATE TABLE run (
      id INTEGER PRIMARY KEY, subject TEXT NOT NULL UNIQUE, started_at REAL NOT NULL
    )]],
  [[CREATE TABLE done (
      run INTEGER NOT NULL, key TEXT NOT NULL, report TEXT NOT NULL, PRIMARY KEY (run, key)
    ) WITHOUT ROWID]],
  [[CREATE TABLE asked (
      run INTEGER NOT NULL, key TEXT NOT NULL, at REAL NOT NULL, seen REAL, PRIMARY KEY (run, key)
    ) WITHOUT ROWID]],
}

local note_tenant = [[
  INSERT INTO tenant (key, last_trigger, cooldown_end, outcome, noted_at) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT (key) DO UPDATE SET
    last_trigger = max(coalesce(excluded.last_trigger, 0), coalesce(last_trigger, 0)),
    cooldown_end = max(coalesce(excluded.cooldown_end, 0), coalesce(cooldown_end, 0)),
    outcome = excluded.outcome,
    noted_at = excluded.noted_at]]

-- What is kept of a report: whoever made it, nothing else gets into the file.
local kept = {
  "ok operation outcome tenant status http_version delivered confirmed_by answered_by",
  "retry_after retry_at request_id client_request_id activity_id service_date diagnostics error",
  "hint network gave_up elapsed sync_status last_sync last_manual_trigger cooldown_until",
  "cooldown_remaining ready service_time",
}

local function encode(given)
  local fields = {}
  for field in table.concat(kept, " "):gmatch "%S+" do
    fields[field] = given[field]
  end
  return json.encode(fields) or json.encode { ok = given.ok, operation = given.operation }
end

--- When the last sync was triggered that the report knows of, or nil. The service's own stamp, or when
-- its answer came.
local function trigger_of(given, now)
  local is_ours = given.outcome == "started" or given.outcome == "completed"
  return given.last_manual_trigger or (is_ours and now) or nil
end

--- Until when another sync would be refused, by the client's clock, or nil.
local function cooldown_end_of(self, given, now)
  local whole = self.cooldown_length
  if given.outcome == "cooldown" then
    return given.retry_at
  elseif given.outcome == "started" and not given.last_manual_trigger then
    return now + whole -- just now; one that the record tells of may be old
  elseif given.cooldown_remaining then
    return given.cooldown_remaining > 0 and now + given.cooldown_remaining or nil
  end
  local trigger = trigger_of(given, now)
  -- The stamp is the service's clock: its own time beside it takes the difference out.
  local ends = trigger and trigger + whole + now - (given.service_date or now)
  return ends and ends > now and math.min(ends, now + whole) or nil
end

--- Whether asking for a sync surely started none, so that no later look at the record is to find one. A
-- tenant that was not begun with says nothing of what an earlier process has asked.
local function is_refused(given)
  local is_known = given.outcome ~= "cancelled"
    and (given.delivered == "no" or given.delivered == "yes")
  for _, attempt in ipairs(given.attempts or {}) do
    is_known = is_known and attempt.delivered ~= "unknown"
  end
  return given.operation == "sync" and not given.ok and is_known and not given.confirmed_by
end

--- Remembers the first thing that could not be written.
local function note_loss(self, done, message)
  if not done then
    self.lost = self.lost or message
    return nil, message
  end
  return true
end

--- What a tenant is known by in the file. Case tells no two tenants apart.
local function key_of(self, key)
  return self.prefix .. key:lower()
end

-- What is read is cast: a damaged byte may be that of a value's type.

--- The report of a tenant that this run is done with, as it was noted; nil for any other.
-- `recalled` in it says that it is from the file.
---@param key string
---@return autopilot.Report?
---@return string? message why that cannot be told; nil when the run is not done with the tenant
function State:known(key)
  local rows, message = self.database:run(
    "SELECT CAST(report AS TEXT) FROM done WHERE run = ? AND key = ?",
    self.run_id,
    key_of(self, key)
  )
  if not rows or not rows[1] then
    return nil, message
  end
  local fields = json.decode(rows[1][1])
  if type(fields) ~= "table" or type(fields.ok) ~= "boolean" then
    return nil, "what it says of this tenant is damaged"
  end
  for field, value in pairs(fields) do
    if value == json.null then
      fields[field] = nil
    end
  end
  fields.recalled = true
  return report.seal(fields)
end

--- Until when the tenant's next sync would be refused, or nil when nothing of that kind is known.
---@param key string
---@return number? retry_at Unix time
function State:cooldown(key)
  local rows = self.database:run(
    "SELECT CAST(cooldown_end AS REAL) FROM tenant WHERE key = ?",
    key_of(self, key)
  )
  local ends = rows and rows[1] and rows[1][1]
  local now = self.now()
  if not ends or ends <= now then
    return nil
  end
  -- No sync was triggered in the future, whatever the clock said then.
  return math.min(ends, now + self.cooldown_length)
end

--- What is known of a tenant from this run or an earlier one; nil when nothing is.
---@param key string
---@return { last_trigger: number?, cooldown_end: number?, outcome: string?, noted_at: number }?
function State:tenant(key)
  local rows = self.database:run(
    "SELECT nullif(last_trigger, 0), nullif(cooldown_end, 0), outcome, noted_at FROM tenant "
      .. "WHERE key = ?",
    key_of(self, key)
  )
  local row = rows and rows[1]
  return row
    and { last_trigger = row[1], cooldown_end = row[2], outcome = row[3], noted_at = row[4] }
end

--- Whether this run has asked for a sync of the tenant before: see `note_posting`.
---@param key string
---@return number? asked_at Unix time; nil: it has not
---@return number? seen the newest trigger that it knew of then, the service's clock
---@return string? message why that cannot be told
function State:posted(key)
  local rows, message = self.database:run(
    "SELECT CAST(at AS REAL), CAST(seen AS REAL) FROM asked WHERE run = ? AND key = ?",
    self.run_id,
    key_of(self, key)
  )
  if not rows then
    return nil, nil, message
  end
  local row = rows[1] or {}
  return row[1], row[2]
end

--- Notes that a request for a sync of the tenant is about to be sent, in case nobody lives to note how it
-- went; and what the record showed before. The first note of a run stays.
---@param key string
---@param seen number? the newest trigger in it, the service's clock
function State:note_posting(key, seen)
  note_loss(
    self,
    self.database:run(
      "INSERT OR IGNORE INTO asked (run, key, at, seen) VALUES (?, ?, ?, ?)",
      self.run_id,
      key_of(self, key),
      self.now(),
      seen
    )
  )
end

--- Notes how it went. When this returns, the note outlives this process; after a few seconds and another
-- note, a loss of power as well.
---@param key string
---@param given autopilot.Report
---@return boolean? done
---@return string? message the first one is kept in `lost` too
function State:note(key, given)
  local now, full_key = self.now(), key_of(self, key)
  local trigger, ends = trigger_of(given, now), cooldown_end_of(self, given, now)
  local noted, message = self.database:transaction(function()
    local done, reason = self.database:run(note_tenant, full_key, trigger, ends, given.outcome, now)
    if done and given.ok then
      done, reason = self.database:run(
        "INSERT OR REPLACE INTO done (run, key, report) VALUES (?, ?, ?)",
        self.run_id,
        full_key,
        encode(given)
      )
    elseif done and is_refused(given) then
      done, reason =
        self.database:run("DELETE FROM asked WHERE run = ? AND key = ?", self.run_id, full_key)
    end
    return done and true, reason
  end)
  if noted and math.abs(now - self.synced_at) >= longest_unsynced then
    noted, message = self:flush()
  end
  return note_loss(self, noted, message)
end

--- Sees to it that what was noted outlives a loss of power too.
---@return boolean? done
---@return string? message
function State:flush()
  self.synced_at = self.now()
  return note_loss(self, self.database:sync())
end

local function forget_run(self, id)
  local done, message = self.database:run("DELETE FROM done WHERE run = ?", id)
  if done then
    done, message = self.database:run("DELETE FROM asked WHERE run = ?", id)
  end
  if done then
    done, message = self.database:run("DELETE FROM run WHERE id = ?", id)
  end
  return done and true, message
end

--- Says that this run has come to its end: the next one does everything anew.
---@return boolean? done
---@return string? message
function State:finish()
  return note_loss(
    self,
    self.database:transaction(function()
      return forget_run(self, self.run_id)
    end)
  )
end

--- Lets go of the file. Without `finish` before, the run can be taken up again. May be called again.
function State:close()
  self.database:close()
end

State.__close = State.close

local function forget_stale(self, before)
  local stale, message = self.database:run("SELECT id FROM run WHERE started_at <= ?", before)
  for _, row in ipairs(stale or {}) do
    local forgotten, reason = forget_run(self, row[1])
    if not forgotten then
      return nil, reason
    end
  end
  return stale and true, message
end

--- Takes up the unfinished run, or begins one.
local function begin(self, subject, resume_within)
  local files, now = self.database, self.now()
  local done, message = forget_stale(self, now - resume_within)
  if done then
    done, message =
      files:run("INSERT OR IGNORE INTO run (subject, started_at) VALUES (?, ?)", subject, now)
  end
  local found
  if done then
    found, message =
      files:run("SELECT id, CAST(started_at AS REAL) FROM run WHERE subject = ?", subject)
  end
  if not found then
    return nil, message
  end
  self.run_id, self.started_at = found[1][1], found[1][2]
  local count
  count, message = files:run("SELECT count(*) FROM done WHERE run = ?", self.run_id)
  self.done_before = count and count[1][1]
  return count and true, message
end

--- Opens or makes the file, and takes up the unfinished run with that subject, or begins one. No other
-- process can open it until it is closed, or this process ends.
---@param given autopilot.fleet.StateOptions
---@return autopilot.fleet.State?
---@return string? message one sentence
function state.open(given)
  local checked = options.check(name, rules, given)
  local function refuse(message)
    return nil, ("the state file %s: %s"):format((checked.path:gsub("%c", "?")), message)
  end
  local opened, message = database.open(checked.path, version, tables)
  if not opened then
    return refuse(message)
  end
  local self = setmetatable({
    database = opened,
    now = checked.now,
    synced_at = checked.now(),
    prefix = checked.host .. " ",
    cooldown_length = checked.cooldown + checked.cooldown_margin,
  }, State)
  local begun
  begun, message = opened:transaction(function()
    return begin(self, checked.host .. "\n" .. checked.subject, checked.resume_within)
  end)
  if not begun then
    opened:close()
    return refuse(message)
  end
  return self
end

return state
