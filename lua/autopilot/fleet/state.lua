--- What a fleet keeps in a file, so that it outlives the process: the ends of cooldowns, and for a run the time of
-- each tenant's request, and its report.
--
-- A run is identified by its subject: what it was started to do. It ends with `State:finish`. A run that
-- did not end, because it was cancelled or killed, is resumed by the next with the same subject,
-- which does not repeat what is done. After a finished run all tenants are processed again. Cooldowns count for
-- all runs.
--
-- A tenant is done when its report is ok; failures are tried again. No token and no secret is kept: of a
-- report only the fields below, which never hold one.

local core = require "autopilot.core"
local database = require "autopilot.fleet.database"
local json = require "autopilot.base.json"
local noted = require "autopilot.fleet.noted"
local options = require "autopilot.base.options"

local state = {}

---@class autopilot.fleet.StateOptions
---@field path string the file, made when it is not there; or `postgresql://…`: several machines share the run
---@field subject string? what tells this run from others in the file, such as its operation and moment; default `sync`
---@field host string? where the tenants are; the same tenant at another host is another tenant
---@field resume_within number? seconds after its start in which an unfinished run is taken up again; default 43200; 0: never
---@field cooldown number? seconds the service wants between two syncs; default 600
---@field cooldown_margin number? seconds added to it; default 10
---@field now (fun(): number)? Unix seconds
---@field clock (fun(): number)? steady seconds

---@class autopilot.fleet.State
---@field started_at number Unix time at which this run was started, perhaps by another process
---@field is_file boolean? it is a file
---@field done_before integer tenants that were done before this process took the run up
---@field lost string? why something could not be written
local State = { is_file = true }
State.__index = State

local name = "autopilot.fleet.state"

local function complaint_about_path(path)
  return (path == "" or path:find("\0", 1, true)) and "must be the name of a file" or nil
end

local rules = {
  path = { type = "string", required = true, check = complaint_about_path },
  subject = { type = "string", default = "sync" },
  host = { type = "string", default = "" },
  resume_within = { type = "number", default = 43200, min = 0 },
  cooldown = { type = "number", default = 600, min = 0 },
  cooldown_margin = { type = "number", default = 10, min = 0 },
  now = { type = "function", default = core.now },
  clock = { type = "function", default = core.clock },
}

local version = 3

-- Seconds after which notes are written durably, to survive a loss of power.
local longest_unsynced = 5

local tables = {
  "CREATE TABLE cooldown (key TEXT PRIMARY KEY, ends REAL NOT NULL) WITHOUT ROWID",
  [[CREATE TABLE run (
      id INTEGER PRIMARY KEY, subject TEXT NOT NULL UNIQUE, started_at REAL NOT NULL
    )]],
  [[CREATE TABLE tenant (
      run INTEGER NOT NULL, key TEXT NOT NULL, asked_at REAL, seen REAL, report TEXT,
      PRIMARY KEY (run, key)
    ) WITHOUT ROWID]],
}

local note_cooldown = [[INSERT INTO cooldown (key, ends) VALUES (?, ?)
  ON CONFLICT (key) DO UPDATE SET ends = max(excluded.ends, ends)]]
local note_report = [[INSERT INTO tenant (run, key, report) VALUES (?, ?, ?)
  ON CONFLICT (run, key) DO UPDATE SET report = excluded.report]]
local note_asked = [[INSERT INTO tenant (run, key, asked_at, seen) VALUES (?, ?, ?, ?)
  ON CONFLICT (run, key) DO UPDATE SET asked_at = excluded.asked_at, seen = excluded.seen
    WHERE asked_at IS NULL]]

--- Keeps the first message about something that could not be written.
local function note_loss(self, done, message)
  self.lost = self.lost or (not done and message or nil)
  return done and true, message
end

--- The key of a tenant in the file. Upper and lower case make no difference.
local function key_of(self, key)
  return self.prefix .. key:lower()
end

--- Runs a statement whose first two parameters are this run and a tenant.
local function run_for(self, key, sql, ...)
  return self.database:run(sql, self.run_id, key_of(self, key), ...)
end

-- Values are cast when they are read: a damaged byte may have changed the type of one.
local read_tenant = [[SELECT CAST(report AS TEXT), CAST(asked_at AS REAL), CAST(seen AS REAL)
  FROM tenant WHERE run = ? AND key = ?]]

--- The report of a tenant that is done in this run, as it was noted, with `recalled` set; nil for any other.
---@param key string
---@return autopilot.Report?
---@return string? message why that cannot be read; nil when the tenant is not done
function State:known(key)
  local rows, message = run_for(self, key, read_tenant)
  local text = rows and rows[1] and rows[1][1]
  if not text then
    return nil, message
  end
  local known = noted.restore(json.decode(text))
  return known, not known and "what it says of this tenant is damaged" or nil
end

--- When the tenant's cooldown ends; nil when it has ended, or none is known.
---@param key string
---@return number? retry_at Unix time
function State:cooldown(key)
  local sql = "SELECT CAST(ends AS REAL) FROM cooldown WHERE key = ?"
  local rows, now = self.database:run(sql, key_of(self, key)), self.now()
  local ends = rows and rows[1] and rows[1][1]
  if ends and ends > now then
    -- The clock may have been wrong then, but no sync was triggered in the future.
    return math.min(ends, now + self.cooldown_length)
  end
end

--- Whether this run has asked for a sync of the tenant before: see `note_posting`.
---@param key string
---@return number? asked_at Unix time; nil: it has not
---@return number? seen the newest trigger that it knew of then, the service's clock
---@return string? message why that cannot be read
function State:posted(key)
  local rows, message = run_for(self, key, read_tenant)
  local row = rows and rows[1] or {}
  return row[2], row[3], message
end

--- Notes that a request for a sync of the tenant is about to be sent, in case the process ends before the
-- answer comes; and what the record showed before. The first note of a run stays.
---@param key string
---@param seen number? the newest trigger in it, the service's clock
function State:note_posting(key, seen)
  note_loss(self, run_for(self, key, note_asked, self.now(), seen))
end

--- Stores a report. When this returns, the report survives the end of this process; after a few seconds and another
-- report, a loss of power as well.
---@param key string
---@param given autopilot.Report
---@return boolean? done
---@return string? message the first one is kept in `lost` too
function State:note(key, given)
  local now, full_key = self.now(), key_of(self, key)
  local ends = noted.cooldown_end_of(given, now, self.cooldown_length)
  local is_noted, message = self.database:transaction(function(run)
    if ends then
      run(note_cooldown, full_key, ends)
    end
    if given.ok then
      run(note_report, self.run_id, full_key, noted.encode(given))
    elseif noted.is_refused(given) then
      local forget = "UPDATE tenant SET asked_at = NULL WHERE run = ? AND key = ?"
      run(forget, self.run_id, full_key)
    end
  end)
  if is_noted and math.abs(now - self.synced_at) >= longest_unsynced then
    return self:flush()
  end
  return note_loss(self, is_noted, message)
end

--- Writes all notes durably, to survive a loss of power.
---@return boolean? done
---@return string? message
function State:flush()
  self.synced_at = self.now()
  return note_loss(self, self.database:run "PRAGMA wal_checkpoint(FULL)")
end

local function forget_run(run, id)
  run("DELETE FROM tenant WHERE run = ?", id)
  run("DELETE FROM run WHERE id = ?", id)
end

--- Ends this run: the next one processes all tenants again.
---@return boolean? done
---@return string? message
function State:finish()
  local done, message = self.database:transaction(function(run)
    forget_run(run, self.run_id)
  end)
  return note_loss(self, done, message)
end

--- Closes the file. A run that was not finished can be resumed later. May be called again.
function State:close()
  self.database:close()
end

State.__close = State.close

--- Resumes the unfinished run of that subject, or begins one; deletes runs that are too old for that.
local function begin(self, run, subject, resume_within)
  local now = self.now()
  for _, row in ipairs(run("SELECT id FROM run WHERE started_at <= ?", now - resume_within)) do
    forget_run(run, row[1])
  end
  run("INSERT OR IGNORE INTO run (subject, started_at) VALUES (?, ?)", subject, now)
  local found = run("SELECT id, CAST(started_at AS REAL) FROM run WHERE subject = ?", subject)
  self.run_id, self.started_at = found[1][1], found[1][2]
  self.done_before = run("SELECT count(report) FROM tenant WHERE run = ?", self.run_id)[1][1]
end

--- Whether a path is the address of a database, for a run that several machines share.
---@param path string?
---@return boolean
function state.is_shared(path)
  return type(path) == "string" and path:find "^postgres%a*://" ~= nil
end

--- Opens or makes the file, and resumes the unfinished run with that subject, or begins one. No other
-- process can open it until it is closed, or this process ends.
---@param given autopilot.fleet.StateOptions
---@return autopilot.fleet.State?
---@return string? message one sentence
function state.open(given)
  local checked = options.check(name, rules, given)
  if state.is_shared(checked.path) then
    return require "autopilot.fleet.shared_state"(checked)
  elseif checked.path:find "^%a[%w+.-]*://" then -- it may contain a password
    return nil, "the state must be a file or postgresql://…, not another address"
  end
  local self = setmetatable({
    now = checked.now,
    synced_at = checked.now(), -- Unix time
    prefix = checked.host .. " ", -- of each key
    cooldown_length = checked.cooldown + checked.cooldown_margin,
  }, State)
  local message
  self.database, message = database.open(checked.path, version, tables, function(run)
    begin(self, run, checked.host .. "\n" .. checked.subject, checked.resume_within)
  end)
  if not self.database then
    return nil, ("the state file %s: %s"):format((checked.path:gsub("%c", "?")), message)
  end
  return self
end

return state
