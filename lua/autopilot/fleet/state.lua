--- What a fleet keeps in an SQLite file, so that it outlives the process: the ends of cooldowns, and for a run the
-- time of each tenant's request, and its report.
--
-- A run is identified by its subject: what it was started to do. It ends with `State:finish`. A run that
-- did not end, because it was cancelled or killed, is resumed by the next with the same subject,
-- which does not repeat what is done. After a finished run all tenants are processed again. Cooldowns count for
-- all runs. A tenant is done when its report is ok; failures are tried again.
--
-- The file belongs to one process at a time. Each statement is in it when it returns (write-ahead log): a process
-- that is killed at any moment loses nothing. After a checkpoint a loss of power loses nothing either.

local core = require "autopilot.core"
local database = require "autopilot.store.database"
local json = require "autopilot.base.json"
local noted = require "autopilot.fleet.noted"
local options = require "autopilot.base.options"
local protected_call = require "autopilot.base.protected_call"

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
---@field is_file boolean? false for a database that machines share
---@field done_before integer tenants that were done before this process took the run up
---@field lost string? why something could not be written
local State = { is_file = true }
State.__index = State

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
  clock = { type = "function", default = core.clock },
}

-- Marks files as ours (`PRAGMA application_id`): the bytes "apsy"; and the version of the tables.
local application_id, version = 0x61707379, 3

-- Bytes; the length of every database is a multiple (SQLite, "Database File Format", section 1.2).
local smallest_page = 512

-- Seconds after which notes are written durably, to survive a loss of power.
local longest_unsynced = 5

-- In the form in which SQLite keeps them.
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

-- Values are cast when they are read: a damaged byte may have changed the type of one.
local read_tenant = [[SELECT CAST(report AS TEXT), CAST(asked_at AS REAL), CAST(seen AS REAL)
  FROM tenant WHERE run = ? AND key = ?]]
local read_cooldown = "SELECT CAST(ends AS REAL) FROM cooldown WHERE key = ?"
local note_cooldown = [[INSERT INTO cooldown (key, ends) VALUES (?, ?)
  ON CONFLICT (key) DO UPDATE SET ends = max(excluded.ends, ends)]]
local note_report = [[INSERT INTO tenant (run, key, report) VALUES (?, ?, ?)
  ON CONFLICT (run, key) DO UPDATE SET report = excluded.report]]
local note_asked = [[INSERT INTO tenant (run, key, asked_at, seen) VALUES (?, ?, ?, ?)
  ON CONFLICT (run, key) DO UPDATE SET asked_at = excluded.asked_at, seen = excluded.seen
    WHERE asked_at IS NULL]]
local forget_asked = "UPDATE tenant SET asked_at = NULL WHERE run = ? AND key = ?"

-- ---- Statements --------------------------------------------------------------------------------------

local not_ours_or_cut = "it is damaged, or no state file at all, and was left as it is: move it "
  .. "away, or name another one"
local damaged = "it is damaged, and was left as it is: move it away to begin anew"

-- Parts of SQLite's messages (sqlite3_errstr), and what they mean for the user who named the file.
local meanings = {
  ["is locked"] = "it is in use by another run: wait for that to end, or name another file",
  ["file is not a database"] = "it is no state file, and was left as it is: name another one",
  ["malformed"] = damaged,
  ["attempt to write a readonly"] = "it cannot be written",
  ["disk is full"] = "the disk is full",
}

--- The result of a function; nil and a clause about the file if it raises an error.
local function caught(act, ...)
  local is_fine, result = protected_call(act, ...)
  if is_fine then
    return result
  end
  local message = tostring(result)
  for part, meaning in pairs(meanings) do
    if message:find(part, 1, true) then
      return nil, meaning
    end
  end
  local is_clause = message:find "^it" or message:find "^beside it"
  return nil, is_clause and message or "it cannot be used: " .. message
end

--- Runs one SQL statement with its parameters, and returns the rows it gives.
local function run(self, sql, ...)
  if not self.opened then
    error("it is closed", 0)
  end
  local rows = database.run(self.opened, sql, ...)
  return rows
end

--- The same; returns nil and a message instead of raising an error.
---@package
function State:run(sql, ...)
  return caught(run, self, sql, ...)
end

--- Runs a function, with the state and an argument, as one transaction: all of what it writes is in the file afterwards,
-- or nothing. Returns true, or nil and a message.
---@package
function State:transaction(change, argument)
  return caught(function()
    run(self, "BEGIN IMMEDIATE")
    local is_fine, raised = pcall(function()
      change(self, argument)
      run(self, "COMMIT")
    end)
    if not is_fine then
      self:run "ROLLBACK"
      error(raised, 0)
    end
    return true
  end)
end

--- Keeps the first message about something that could not be written.
local function note_loss(self, done, message)
  self.lost = self.lost or (not done and message or nil)
  return done and true, message
end

-- ---- One tenant --------------------------------------------------------------------------------------

--- The key of a tenant in the file. Upper and lower case make no difference.
local function key_of(self, key)
  return self.prefix .. key:lower()
end

--- The report of a tenant that is done in this run, as it was noted, with `recalled` set; nil for any other. Nil and a
-- message if that cannot be read.
function State:known(key)
  local rows, message = self:run(read_tenant, self.run_id, key_of(self, key))
  local text = rows and rows[1] and rows[1][1]
  if not text then
    return nil, message
  end
  local known = noted.restore(json.decode(text))
  return known, not known and "what it says of this tenant is damaged" or nil
end

--- When the tenant's cooldown ends, in Unix time; nil when it has ended, or none is known.
function State:cooldown(key)
  local rows, now = self:run(read_cooldown, key_of(self, key)), self.now()
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
  local rows, message = self:run(read_tenant, self.run_id, key_of(self, key))
  local row = rows and rows[1] or {}
  return row[2], row[3], message
end

--- Notes that a request for a sync of the tenant is about to be sent, in case the process ends before the
-- answer comes; and the newest trigger that the record showed before. The first note of a run stays.
function State:note_posting(key, seen)
  note_loss(self, self:run(note_asked, self.run_id, key_of(self, key), self.now(), seen))
end

--- Stores a report. When this returns true, the report survives the end of this process; after a few seconds and
-- another report, a loss of power as well. Else it returns nil and a message.
function State:note(key, given)
  local now, full_key = self.now(), key_of(self, key)
  local ends = noted.cooldown_end_of(given, now, self.cooldown_length)
  local is_noted, message = self:transaction(function()
    if ends then
      run(self, note_cooldown, full_key, ends)
    end
    if given.ok then
      run(self, note_report, self.run_id, full_key, json.encode(noted.kept_of(given)))
    elseif noted.is_refused(given) then
      run(self, forget_asked, self.run_id, full_key)
    end
  end)
  if is_noted and math.abs(now - self.synced_at) >= longest_unsynced then
    return self:flush()
  end
  return note_loss(self, is_noted, message)
end

-- ---- The run -----------------------------------------------------------------------------------------

--- Writes all notes durably, to survive a loss of power. Returns true, or nil and a message.
function State:flush()
  self.synced_at = self.now()
  return note_loss(self, self:run "PRAGMA wal_checkpoint(FULL)")
end

local function forget_run(self, id)
  run(self, "DELETE FROM tenant WHERE run = ?", id)
  run(self, "DELETE FROM run WHERE id = ?", id)
end

--- Ends this run: the next one processes all tenants again.
---@return boolean? done
---@return string? message
function State:finish()
  return note_loss(self, self:transaction(forget_run, self.run_id))
end

--- Closes the file. A run that was not finished can be resumed later. May be called again.
function State:close()
  local opened = self.opened
  self.opened = nil
  if opened then
    database.close(opened)
  end
end

State.__close = State.close

-- ---- Opening -----------------------------------------------------------------------------------------

--- The first two values that a statement gives, or nil.
local function ask(self, sql, ...)
  local row = run(self, sql, ...)[1] or {}
  return row[1], row[2]
end

local all_tables = [[SELECT coalesce(group_concat(sql, ';'), '')
  FROM (SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid)]]

--- Whether the file is new. Raises an error for one that is not ours, or not whole. Nothing is written.
local function is_empty(self)
  local id, found = ask(self, "PRAGMA application_id"), ask(self, all_tables)
  if id == 0 and found == "" then
    return true
  elseif id ~= application_id then
    error("it is another program's database, and was left as it is: name another one", 0)
  elseif ask(self, "PRAGMA user_version") ~= version then
    error("it was written by another version of this program, and was left as it is", 0)
  elseif found ~= table.concat(tables, ";") or ask(self, "PRAGMA integrity_check(1)") ~= "ok" then
    error(damaged, 0)
  end
  return false
end

local function make_tables(self)
  for _, sql in ipairs(tables) do
    run(self, sql)
  end
  run(self, ("PRAGMA application_id = %d"):format(application_id))
  run(self, ("PRAGMA user_version = %d"):format(version))
end

--- Resumes the unfinished run of that subject, or begins one; deletes runs that are too old for that.
local function begin(self, subject, resume_within)
  local now = self.now()
  local old = run(self, "SELECT id FROM run WHERE started_at <= ?", now - resume_within)
  for _, row in ipairs(old) do
    forget_run(self, row[1])
  end
  run(self, "INSERT OR IGNORE INTO run (subject, started_at) VALUES (?, ?)", subject, now)
  self.run_id, self.started_at =
    ask(self, "SELECT id, CAST(started_at AS REAL) FROM run WHERE subject = ?", subject)
  self.done_before = ask(self, "SELECT count(report) FROM tenant WHERE run = ?", self.run_id)
end

--- Opens the file, and in one transaction makes the tables of a new one and begins the run.
local function open(self, given)
  -- SQLite writes whole pages: a file of another length is cut off, or is not a database.
  local kind, size = core.file_kind(given.path)
  if kind == "file" and size % smallest_page ~= 0 then
    error(not_ours_or_cut, 0)
  end
  database.open({ driver = "SQLite3", database = given.path }, function(opened)
    self.opened = opened
    local is_new = is_empty(self)
    if ask(self, "PRAGMA journal_mode = WAL") ~= "wal" then
      error("its file system cannot keep a write-ahead log", 0)
    end
    run(self, "PRAGMA synchronous = NORMAL")
    local done, message = self:transaction(function()
      if is_new then
        make_tables(self)
      end
      begin(self, given.host .. "\n" .. given.subject, given.resume_within)
    end)
    return done or error(message, 0)
  end, { "PRAGMA locking_mode = EXCLUSIVE" })
  return self
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
  local checked = options.check("autopilot.fleet.state", rules, given)
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
  local opened, message = caught(open, self, checked)
  if not opened then
    return nil, ("the state file %s: %s"):format((checked.path:gsub("%c", "?")), message)
  end
  return self
end

return state
