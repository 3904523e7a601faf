--- One SQLite file that belongs to one process at a time, reached through LuaDBI.
--
-- Here is what keeps such a file whole: whose it is, that it is not damaged, that nobody else has it
-- open, and that what was written outlives the process. What is in it is left to `fleet/state`.
--
-- Each statement is in the file when it returns (write-ahead log): a process that is killed at any
-- moment loses nothing. `Database:sync` makes it outlive the machine's power as well.

local core = require "autopilot.core"
local named_file = require "autopilot.base.named_file"

local database = {}

---@class autopilot.fleet.Database
---@field package connection table? nil once it is closed
---@field package statements table<string, table> prepared, by their text
local Database = {}
Database.__index = Database

-- Which files are ours (`PRAGMA application_id`): the bytes "apsy".
local application_id = 0x61707379

-- Bytes; every database has a multiple of it (SQLite, "Database File Format", section 1.2).
local smallest_page = 512

local not_ours_or_cut = "it is damaged, or no state file at all, and was left as it is: move it "
  .. "away, or name another one"
local damaged = "it is damaged, and was left as it is: move it away to begin anew"

-- What SQLite says (sqlite3_errstr), and what it means for whoever named the file.
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

--- The reason without LuaDBI's words around it.
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

--- Runs what the function does as one transaction: all of it is in the file afterwards, or nothing.
---@param change fun(): boolean?, string? nil and a message undo it
---@return boolean? done
---@return string? message
function Database:transaction(change)
  local begun, message = self:run "BEGIN IMMEDIATE"
  if not begun then
    return nil, message
  end
  local done
  done, message = change()
  if done then
    done, message = self:run "COMMIT"
    if done then
      return true
    end
  end
  self:run "ROLLBACK"
  return nil, message
end

--- Sees to it that what was written outlives a loss of power.
---@return boolean? done
---@return string? message
function Database:sync()
  local rows, message = self:run "PRAGMA wal_checkpoint(FULL)"
  return rows and true, message
end

--- Lets go of the file. May be called again.
function Database:close()
  local connection = self.connection
  if connection then
    self.connection = nil
    -- SQLite keeps a file open, and locked, as long as there are statements of it.
    for _, statement in pairs(self.statements) do
      statement:close()
    end
    self.statements = {}
    connection:close()
  end
end

--- The single value that a pragma tells, or nil and a message.
local function ask(self, pragma)
  local rows, message = self:run("PRAGMA " .. pragma)
  if not rows then
    return nil, message
  end
  return rows[1] and rows[1][1]
end

--- Whether the file has the tables, as they were made.
local function has_tables(found, tables)
  for index, sql in ipairs(tables) do
    if not found[index] or found[index][1] ~= sql then
      return false
    end
  end
  return #found == #tables
end

--- Why the file is not to be used, or nil; and whether it is a new one. Nothing is written.
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

--- Makes the file ours: how it is written, and which tables it has.
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
  if not is_new then
    return self:transaction(function()
      return true -- which takes the lock
    end)
  end
  return self:transaction(function()
    for _, sql in ipairs(tables) do
      local made, reason = self:run(sql)
      if not made then
        return nil, reason
      end
    end
    local marked, reason = self:run(("PRAGMA application_id = %d"):format(application_id))
    if marked then
      marked, reason = self:run(("PRAGMA user_version = %d"):format(version))
    end
    return marked and true, reason
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

--- What is wrong with the file under that name, or with those that SQLite keeps beside it; nil when there is
-- now one that only its owner can read. SQLite gives its own files the same mode.
local function file_complaint(path)
  for _, suffix in ipairs { "", "-wal", "-journal", "-shm" } do
    local message = named_file.write_complaint(path .. suffix)
    if message then
      return suffix == "" and message or ("beside it, %s: %s"):format(path .. suffix, message)
    end
  end
  -- SQLite writes whole pages; what has another length is cut off, or no database at all.
  local kind, size = core.file_kind(path)
  if kind and size % smallest_page ~= 0 then
    return not_ours_or_cut
  end
  -- Tried first, because LuaDBI leaves the memory of a failed opening behind.
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
  -- SQLite gives names like `:memory:` and `file:…` a meaning of their own.
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
