--- One SQLite file that belongs to one process at a time, opened through LuaDBI.
--
-- This module keeps such a file whole: it makes sure that the file is ours, is not damaged and is not open
-- elsewhere, and that what is written outlives the process. What is in it is defined by `fleet.state`.
--
-- Each statement is in the file when it returns (write-ahead log): a process that is killed at any
-- moment loses nothing. After a checkpoint a loss of power loses nothing either.

local core = require "autopilot.core"
local protected_call = require "autopilot.base.protected_call"
local store_database = require "autopilot.store.database"

local database = {}

---@class autopilot.fleet.Database
local Database = {}
Database.__index = Database

-- Marks files as ours (`PRAGMA application_id`): the bytes "apsy".
local application_id = 0x61707379

-- Bytes; the length of every database is a multiple (SQLite, "Database File Format", section 1.2).
local smallest_page = 512

local not_ours_or_cut = "it is damaged, or no state file at all, and was left as it is: move it "
  .. "away, or name another one"
local damaged = "it is damaged, and was left as it is: move it away to begin anew"

-- Parts of SQLite's messages (sqlite3_errstr), and what they mean for the user who named the file.
local meanings = {
  {
    "database is locked",
    "it is in use by another run: wait for that to end, or name another file",
  },
  { "file is not a database", "it is no state file, and was left as it is: name another one" },
  { "malformed", damaged },
  { "attempt to write a readonly", "it cannot be written" },
  { "disk is full", "the disk is full" },
}

--- The result of a function; nil and a clause about the file if it raises an error.
local function caught(act, ...)
  local is_fine, result = protected_call(act, ...)
  if is_fine then
    return result
  end
  local message = tostring(result)
  for _, row in ipairs(meanings) do
    if message:find(row[1], 1, true) then
      return nil, row[2]
    end
  end
  local is_clause = message:find "^it " or message:find "^its " or message:find "^beside it"
  return nil, is_clause and message or "it cannot be used: " .. message
end

-- ---- Statements --------------------------------------------------------------------------------------

--- Runs one SQL statement with its parameters.
---@return any[][] rows
local function execute(self, sql, ...)
  if not self.opened then
    error("it is closed", 0)
  end
  local rows = store_database.run(self.opened, sql, ...)
  return rows
end

--- Runs one SQL statement with its parameters.
---@param sql string
---@param ... string|number|nil for each `?`
---@return any[][]? rows each by the number of its column
---@return string? message
function Database:run(sql, ...)
  return caught(execute, self, sql, ...)
end

--- Runs a function as one transaction: all of what it writes is in the file afterwards, or nothing.
---@param change fun(run: fun(sql: string, ...): any[][]) a failure of `run` ends the function
---@return boolean? done
---@return string? message
function Database:transaction(change)
  return caught(function()
    execute(self, "BEGIN IMMEDIATE")
    local is_fine, raised = pcall(function()
      change(function(...)
        return execute(self, ...)
      end)
      execute(self, "COMMIT")
    end)
    if not is_fine then
      self:run "ROLLBACK"
      error(raised, 0)
    end
    return true
  end)
end

--- Closes the file. May be called again.
function Database:close()
  local opened = self.opened
  if opened then
    self.opened = nil
    store_database.close(opened)
  end
end

-- ---- Opening -----------------------------------------------------------------------------------------

--- The first value that a statement gives, or nil.
local function ask(self, sql)
  local row = execute(self, sql)[1]
  return row and row[1]
end

local all_tables = [[SELECT coalesce(group_concat(sql, ';'), '')
  FROM (SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid)]]

--- Whether the file is new. Raises an error for one that is not ours, or not whole. Nothing is written.
local function is_empty(self, version, tables)
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

--- Sets how the file is written; in one transaction makes the tables of a new one, and calls `begin`.
local function prepare(self, version, tables, begin)
  local is_new = is_empty(self, version, tables)
  if ask(self, "PRAGMA journal_mode = WAL") ~= "wal" then
    error("its file system cannot keep a write-ahead log", 0)
  end
  execute(self, "PRAGMA synchronous = NORMAL")
  local done, message = self:transaction(function(run)
    for _, sql in ipairs(is_new and tables or {}) do
      run(sql)
    end
    if is_new then
      run(("PRAGMA application_id = %d"):format(application_id))
      run(("PRAGMA user_version = %d"):format(version))
    end
    begin(run)
  end)
  return done or error(message, 0)
end

local function open(path, version, tables, begin)
  -- SQLite writes whole pages: a file of another length is cut off, or is not a database.
  local kind, size = core.file_kind(path)
  if kind == "file" and size % smallest_page ~= 0 then
    error(not_ours_or_cut, 0)
  end
  local given = { driver = "SQLite3", database = path }
  local self = setmetatable({}, Database)
  store_database.open(given, function(opened)
    self.opened = opened
    prepare(self, version, tables, begin)
  end, { "PRAGMA locking_mode = EXCLUSIVE" })
  return self
end

--- Opens or makes the file. It is locked until it is closed, or this process ends.
---@param path string
---@param version integer of the tables
---@param tables string[] SQL that makes them, in the form in which SQLite keeps it
---@param begin fun(run: fun(sql: string, ...): any[][]) called in the first transaction; if it fails, so does opening
---@return autopilot.fleet.Database?
---@return string? message one clause about the file: `it is …`
function database.open(path, version, tables, begin)
  return caught(open, path, version, tables, begin)
end

return database
