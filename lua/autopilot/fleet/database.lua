--- One SQLite file that belongs to one process at a time, opened through LuaDBI.
--
-- This module keeps such a file whole: it makes sure that the file is ours, is not damaged and is not open
-- elsewhere, and that what is written outlives the process. What is in it is defined by `fleet.state`.
--
-- Each statement is in the file when it returns (write-ahead log): a process that is killed at any
-- moment loses nothing. After `Database:sync` a loss of power loses nothing either.

local core = require "autopilot.core"
local named_file = require "autopilot.base.named_file"

local database = {}

---@class autopilot.fleet.Database
---@field package connection table? nil once it is closed
---@field package statements table<string, table> prepared, by their text
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
  { "unable to open", "it cannot be opened, or its folder cannot be written" },
  { "disk is full", "the disk is full" },
}

--- What a message of LuaDBI means, without its own words around SQLite's.
local function meaning_of(message)
  message = tostring(message)
  for _, row in ipairs(meanings) do
    if message:find(row[1], 1, true) then
      return row[2]
    end
  end
  message = message:gsub("^Error [%l ]+: ", ""):gsub("^Failed [%l ]+: ", "")
  return "it cannot be used: " .. message
end

local function fetch_all(statement)
  local rows = {}
  local row = statement:fetch()
  while row do
    rows[#rows + 1] = row
    row = statement:fetch()
  end
  return rows
end

--- Runs one SQL statement with its parameters.
---@param sql string
---@param ... string|number|nil for each `?`
---@return any[][]? rows each by the number of its column
---@return string? message
function Database:run(sql, ...)
  if not self.connection then
    return nil, "it is closed"
  end
  local statement = self.statements[sql]
  if not statement then
    local prepared, reason = self.connection:prepare(sql)
    if not prepared then
      return nil, meaning_of(reason)
    end
    self.statements[sql], statement = prepared, prepared
  end
  local done, message = statement:execute(...)
  if not done then
    return nil, meaning_of(message)
  end
  return fetch_all(statement)
end

--- Runs a function as one transaction: all of what it writes is in the file afterwards, or nothing.
---@param change fun(run: fun(sql: string, ...): any[][]) `run` is `Database:run`, but a failure ends the function
---@return boolean? done
---@return string? message
function Database:transaction(change)
  local done, failure = self:run "BEGIN IMMEDIATE"
  if not done then
    return nil, failure
  end
  local function run(sql, ...)
    local rows, message = self:run(sql, ...)
    failure = message
    return rows or error(message, 0)
  end
  local is_fine, raised = pcall(change, run)
  if is_fine then
    done, failure = self:run "COMMIT"
    if done then
      return true
    end
  end
  self:run "ROLLBACK"
  if not failure then
    error(raised, 0) -- not by a statement
  end
  return nil, failure
end

--- Has what was written outlive a loss of power.
---@return boolean? done
---@return string? message
function Database:sync()
  local rows, message = self:run "PRAGMA wal_checkpoint(FULL)"
  return rows and true, message
end

--- Closes the file. May be called again.
function Database:close()
  local connection = self.connection
  if connection then
    self.connection = nil
    -- While it has prepared statements, SQLite keeps the file open and locked.
    for _, statement in pairs(self.statements) do
      statement:close()
    end
    self.statements = {}
    connection:close()
  end
end

--- The value of a pragma, or nil and a message.
local function ask(self, pragma)
  local rows, message = self:run("PRAGMA " .. pragma)
  if not rows then
    return nil, message
  end
  return rows[1] and rows[1][1]
end

--- Whether the tables in the file were made by exactly these statements.
local function has_tables(found, tables)
  for index, sql in ipairs(tables) do
    if not found[index] or found[index][1] ~= sql then
      return false
    end
  end
  return #found == #tables
end

--- Why the file is not to be used, or nil; and whether it is new. Nothing is written.
local function complaint_about(self, version, tables)
  local id, message = ask(self, "application_id")
  local found, reason =
    self:run "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid"
  if not id or not found then
    return message or reason
  elseif id == 0 and #found == 0 then
    return nil, true
  elseif id ~= application_id then
    return "it is another program's database, and was left as it is: name another one"
  elseif ask(self, "user_version") ~= version then
    return "it was written by another version of this program, and was left as it is"
  elseif not has_tables(found, tables) then
    return damaged
  end
  local verdict
  verdict, message = ask(self, "integrity_check(1)")
  if verdict ~= "ok" then
    return verdict and damaged or message
  end
end

--- Sets how the file is written, takes its lock, and makes the tables of a new one.
local function prepare(self, version, tables, is_new)
  local mode, message = ask(self, "journal_mode = WAL")
  if mode ~= "wal" then
    return nil, message or "its file system cannot keep a write-ahead log"
  end
  local set
  set, message = self:run "PRAGMA synchronous = NORMAL"
  if not set then
    return nil, message
  end
  return self:transaction(function(run)
    for _, sql in ipairs(is_new and tables or {}) do
      run(sql)
    end
    if is_new then
      run(("PRAGMA application_id = %d"):format(application_id))
      run(("PRAGMA user_version = %d"):format(version))
    end
  end)
end

--- LuaDBI, or nil and what to install.
local function driver()
  local found, library = pcall(require, "DBI")
  if found then
    found = pcall(require, "dbd.sqlite3")
  end
  if not found then
    return nil,
      "it needs LuaDBI with SQLite: install lua-dbi-sqlite3 (Debian), or the rock luadbi-sqlite3"
  end
  return library
end

--- What is wrong with the file of that name, or with the files that SQLite keeps beside it. A missing
-- file is made, readable by its owner only; SQLite gives the files beside it the same mode.
---@return string? message nil: nothing is wrong
local function file_complaint(path)
  for _, suffix in ipairs { "", "-wal", "-journal", "-shm" } do
    local message = named_file.write_complaint(path .. suffix)
    if message then
      return suffix == "" and message or ("beside it, %s: %s"):format(path .. suffix, message)
    end
  end
  -- SQLite writes whole pages: a file of another length is cut off, or is not a database.
  local kind, size = core.file_kind(path)
  if kind and size % smallest_page ~= 0 then
    return not_ours_or_cut
  end
  -- Tried before LuaDBI opens the file, because that leaks memory when opening fails.
  return not core.make_private(path) and meaning_of "unable to open" or nil
end

--- Opens or makes the file. It is locked until it is closed, or this process ends.
---@param path string
---@param version integer of the tables
---@param tables string[] SQL that makes them, in the form in which SQLite keeps it
---@return autopilot.fleet.Database?
---@return string? message one clause about the file: `it is …`
function database.open(path, version, tables)
  local library, message = driver()
  if not library then
    return nil, message
  end
  message = file_complaint(path)
  if message then
    return nil, message
  end
  -- For SQLite, names like `:memory:` and `file:…` have a special meaning.
  local is_absolute = path:find "^[/\\]" or path:find "^%a:[/\\]"
  local connection
  connection, message = library.Connect("SQLite3", is_absolute and path or "./" .. path)
  if not connection then
    return nil, meaning_of(message)
  end
  connection:autocommit(true)
  local self = setmetatable({ connection = connection, statements = {} }, Database)
  local done
  done, message = self:run "PRAGMA locking_mode = EXCLUSIVE"
  if done then
    local is_new
    message, is_new = complaint_about(self, version, tables)
    if not message then
      done, message = prepare(self, version, tables, is_new)
    end
  end
  if not done or message then
    self:close()
    return nil, message
  end
  return self
end

return database
