--- One SQLite file that belongs to one process at a time, opened through LuaDBI.
--
-- This module keeps such a file whole: it makes sure that the file is ours, is not damaged and is not open
-- elsewhere, and that what is written outlives the process. What is in it is defined by `fleet.state`.
--
-- Each statement is in the file when it returns (write-ahead log): a process that is killed at any
-- moment loses nothing. After a checkpoint a loss of power loses nothing either.

local core = require "autopilot.core"
local named_file = require "autopilot.base.named_file"

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

-- ---- Complaints --------------------------------------------------------------------------------------

local Complaint = {} -- the metatable of what `complain` raises

--- Raises what is wrong with the file: one clause.
local function complain(message)
  error(setmetatable({ message = message }, Complaint), 0)
end

--- The result of a function; nil and the message of a complaint.
local function caught(act, ...)
  local is_fine, result = pcall(act, ...)
  if not is_fine and getmetatable(result) ~= Complaint then
    error(result, 0)
  elseif not is_fine then
    return nil, result.message
  end
  return result
end

-- ---- Statements --------------------------------------------------------------------------------------

--- Runs one SQL statement with its parameters; complains when it fails.
local function execute(self, sql, ...)
  if not self.connection then
    complain "it is closed"
  end
  local statement, done, message = self.statements[sql], nil, nil
  if not statement then
    statement, message = self.connection:prepare(sql)
    self.statements[sql] = statement or nil
  end
  if statement then
    done, message = statement:execute(...)
  end
  if not done then
    complain(meaning_of(message))
  end
  local rows = {}
  for row in statement:rows() do
    rows[#rows + 1] = row
  end
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

-- ---- Opening -----------------------------------------------------------------------------------------

--- The first value that a statement gives, or nil.
local function ask(self, sql)
  local row = execute(self, sql)[1]
  return row and row[1]
end

local all_tables = [[
  SELECT coalesce(group_concat(sql, ';'), '')
  FROM (SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid)]]

--- Whether the file is new. Complains of one that is not ours, or not whole. Nothing is written.
local function is_empty(self, version, tables)
  local id, found = ask(self, "PRAGMA application_id"), ask(self, all_tables)
  if id == 0 and found == "" then
    return true
  elseif id ~= application_id then
    complain "it is another program's database, and was left as it is: name another one"
  elseif ask(self, "PRAGMA user_version") ~= version then
    complain "it was written by another version of this program, and was left as it is"
  elseif found ~= table.concat(tables, ";") or ask(self, "PRAGMA integrity_check(1)") ~= "ok" then
    complain(damaged)
  end
  return false
end

--- Takes the file's lock, sets how it is written, and makes the tables of a new one.
local function prepare(self, version, tables)
  execute(self, "PRAGMA locking_mode = EXCLUSIVE")
  local is_new = is_empty(self, version, tables)
  if ask(self, "PRAGMA journal_mode = WAL") ~= "wal" then
    complain "its file system cannot keep a write-ahead log"
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
  end)
  return done or complain(message)
end

--- LuaDBI; complains where it is missing.
local function driver()
  local found, library = pcall(require, "DBI")
  if not found or not pcall(require, "dbd.sqlite3") then
    complain(
      "it needs LuaDBI with SQLite: install lua-dbi-sqlite3 (Debian), or the rock luadbi-sqlite3"
    )
  end
  return library
end

--- Complains of the file of that name, and of the files that SQLite keeps beside it. A missing file is made,
-- readable by its owner only; SQLite gives the files beside it the same mode.
local function check_file(path)
  for _, suffix in ipairs { "", "-wal", "-journal", "-shm" } do
    local message = named_file.write_complaint(path .. suffix)
    if message then
      complain(suffix == "" and message or ("beside it, %s: %s"):format(path .. suffix, message))
    end
  end
  -- SQLite writes whole pages: a file of another length is cut off, or is not a database.
  local kind, size = core.file_kind(path)
  if kind and size % smallest_page ~= 0 then
    complain(not_ours_or_cut)
  end
  -- Tried before LuaDBI opens the file, because that leaks memory when opening fails.
  if not core.make_private(path) then
    complain(meaning_of "unable to open")
  end
end

local function open(path, version, tables)
  local library = driver()
  check_file(path)
  -- For SQLite, names like `:memory:` and `file:…` have a special meaning.
  local is_absolute = path:find "^[/\\]" or path:find "^%a:[/\\]"
  local connection, message = library.Connect("SQLite3", is_absolute and path or "./" .. path)
  if not connection then
    complain(meaning_of(message))
  end
  connection:autocommit(true)
  local self = setmetatable({ connection = connection, statements = {} }, Database)
  local is_fine, raised = pcall(prepare, self, version, tables)
  if not is_fine then
    self:close()
    error(raised, 0)
  end
  return self
end

--- Opens or makes the file. It is locked until it is closed, or this process ends.
---@param path string
---@param version integer of the tables
---@param tables string[] SQL that makes them, in the form in which SQLite keeps it
---@return autopilot.fleet.Database?
---@return string? message one clause about the file: `it is …`
function database.open(path, version, tables)
  return caught(open, path, version, tables)
end

return database
