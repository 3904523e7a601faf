--- A database that is opened through LuaDBI: SQLite, PostgreSQL or MySQL. Its functions raise where they fail,
-- with the database's own message. LuaDBI waits for the database without letting other coroutines run.

local Connection = require "autopilot.store.connection"
local core = require "autopilot.core"
local named_file = require "autopilot.base.named_file"

---@class autopilot.store.Database
---@field package connection table of LuaDBI
---@field package prepared table<string, table> statements by their text

local database = {}

-- Statements for each new connection. None of them may take longer than a store is waited for.
local milliseconds = ("%d"):format(Connection.patience * 1000)
local setups = {
  -- Write-ahead log: readers and the writer do not wait for each other, and a process that is killed loses
  -- nothing.
  SQLite3 = {
    "PRAGMA busy_timeout = " .. milliseconds,
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
  },
  -- A commit does not wait for the disk: the last ones may be lost when the database's machine fails.
  PostgreSQL = {
    "SET statement_timeout = " .. milliseconds,
    "SET synchronous_commit = off",
    "SET client_min_messages = error",
  },
  -- In UTC no hour comes twice.
  MySQL = {
    ("SET innodb_lock_wait_timeout = %d"):format(Connection.patience),
    "SET time_zone = '+00:00'",
  },
}

-- The connection of each statement that is alive. LuaDBI's statements use their connections when they are
-- collected, but do not keep them from being collected before.
local connections = setmetatable({}, { __mode = "k" })

--- Raises LuaDBI's message without its own words around the database's.
local function checked(result, message)
  if not result then
    message = tostring(message):gsub("^Failed to [%l ]+: ", ""):gsub("^E%l+ [%l ]+: ", "")
    -- What LuaDBI 0.7.2 leaves of every reason why PostgreSQL lets nobody in.
    message =
      message:gsub("^no connection to the server", "%0, or it refuses the user or the password")
    error(message, 0)
  end
  return result
end

--- Runs one statement.
---@param self autopilot.store.Database
---@param sql string
---@param ... string|number|nil for each `?`
---@return any[][] rows of a statement that begins with SELECT, WITH or PRAGMA: each by the number of its column
---@return integer count rows that were changed
function database.run(self, sql, ...)
  local statement = self.prepared[sql] or checked(self.connection:prepare(sql))
  self.prepared[sql], connections[statement] = statement, self.connection
  checked(statement:execute(...))
  local rows = {}
  if sql:find "^SELECT" or sql:find "^WITH" or sql:find "^PRAGMA" then
    for row in statement:rows() do
      rows[#rows + 1] = row
    end
  end
  return rows, statement:affected()
end

---@param self autopilot.store.Database
function database.close(self)
  for _, statement in pairs(self.prepared) do
    pcall(statement.close, statement) -- SQLite keeps its file open while there is one
  end
  self.connection:close()
end

--- The file's name for LuaDBI. A file that is made is readable by its owner only.
local function private_file(path)
  for _, suffix in ipairs { "", "-wal", "-shm", "-journal" } do
    local complaint = named_file.write_complaint(path .. suffix)
    if complaint then
      error(path .. suffix .. ": " .. complaint, 0)
    end
  end
  if not core.make_private(path) then
    error(path .. " cannot be opened, or its folder cannot be written", 0)
  end
  -- For SQLite, names like `:memory:` and `file:…` have a special meaning.
  return (path:find "^[/\\]" or path:find "^%a:[/\\]") and path or "./" .. path
end

--- What libpq takes for a connection: a name, an address or settings, with `connect_timeout`.
local function connection_text(name)
  local timeout = ("connect_timeout=%d"):format(Connection.patience)
  if name:find("connect_timeout", 1, true) then
    return name
  elseif name:find "^postgres%a*://" then
    return name .. (name:find("?", 1, true) and "&" or "?") .. timeout
  elseif not name:find("=", 1, true) then
    name = ("dbname='%s'"):format((name:gsub("[\\']", "\\%0")))
  end
  return name .. " " .. timeout
end

--- Opens a database.
---@param given autopilot.store.SqlOptions
---@return autopilot.store.Database
function database.open(given)
  local kind = given.driver:lower()
  local is_installed, library = pcall(require, "DBI")
  if not is_installed or not pcall(require, "dbd." .. kind) then
    local missing = "LuaDBI is missing: install lua-dbi-%s (Debian) or the rock luadbi-%s"
    error(missing:format(kind, kind), 0)
  end
  local name = given.database
  if given.driver == "SQLite3" then
    name = private_file(name)
  elseif given.driver == "PostgreSQL" then
    name = connection_text(name)
  end
  local connection =
    checked(library.Connect(given.driver, name, given.user, given.password, given.host, given.port))
  connection:autocommit(true)
  local self = { connection = connection, prepared = {} }
  for _, statement in ipairs(setups[given.driver]) do
    local is_fine, raised = pcall(database.run, self, statement)
    if not is_fine then
      database.close(self)
      error(raised, 0)
    end
  end
  return self
end

--- Passwords in the options of a database, which must not get into a message.
---@param given autopilot.store.SqlOptions
---@return string[]
function database.secrets(given)
  return { given.password, (given.database:match "^%a+://[^/@]*:([^/@]+)@") }
end

return database
