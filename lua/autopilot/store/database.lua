--- A SQLite, PostgreSQL or MySQL database, used through LuaDBI. A function that fails raises an error with
-- the database's own message. LuaDBI blocks: no other coroutine runs while it waits for the database.

local Connection = require "autopilot.store.connection"
local core = require "autopilot.core"
local named_file = require "autopilot.base.named_file"
local passwords = require "autopilot.base.passwords"

---@class autopilot.store.Database
---@field package connection table of LuaDBI
---@field package prepared table<string, table> statements by their text

local database = {}

local milliseconds = ("%d"):format(Connection.patience * 1000)

-- The connection of each statement, so that it is not collected first. LuaDBI's statements use their
-- connection when they are collected, but hold no reference to it.
local connections = setmetatable({}, { __mode = "k" })

--- Percent-encodes a text to printable ASCII without blanks: databases differ in what else a text column
-- accepts, and MySQL treats "a" and "a " as equal.
function database.encode(text)
  local encoded = text:gsub("[^!-$&-~]", function(character)
    return ("%%%02X"):format(character:byte())
  end)
  return encoded
end

--- Returns the result, or raises the database's message, without the text that LuaDBI adds.
local function checked(result, message)
  if not result then
    message = tostring(message):gsub("^Failed to [%l ]+: ", ""):gsub("^Error [%l ]+: ", "")
    message = message:gsub("^Execute failed:? ", "")
    -- LuaDBI 0.7.2 reports one of these whatever the reason why PostgreSQL refused the connection.
    for _, vague in ipairs { "^no connection to the server", "^server closed .-ly" } do
      message = message:gsub(vague, "%0, or it refuses the user, the password or the database")
    end
    error(message, 0)
  end
  return result
end

--- Runs one statement.
---@param ... string|number|nil for each `?`
---@return any[][] rows as arrays of columns; none unless the statement begins with SELECT, WITH or PRAGMA
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

function database.close(self)
  for _, statement in pairs(self.prepared) do
    pcall(statement.close, statement) -- SQLite keeps its file open until all are closed
  end
  self.connection:close()
end

--- Returns a file's name as LuaDBI needs it. If the file is missing, creates it readable by its owner only; SQLite
-- gives the files beside it the same mode.
local function private_file(path)
  for _, suffix in ipairs { "", "-wal", "-shm", "-journal" } do
    local complaint = named_file.write_complaint(path .. suffix)
    if complaint then
      local place = suffix == "" and "" or ("beside it, %s: "):format(path .. suffix)
      error(place .. complaint, 0)
    end
  end
  -- Tried before LuaDBI opens the file, because that leaks memory when opening fails.
  local name = core.sqlite_name(path)
  if not name or not core.make_private(path) then
    error("it cannot be opened, or its folder cannot be written", 0)
  end
  -- For SQLite, names like `:memory:` and `file:…` have a special meaning.
  return (name:find "^[/\\]" or name:find "^%a:[/\\]") and name or "./" .. name
end

--- Adds the timeouts of connecting, and of a network that breaks down, to a libpq connection string: a database
-- name, a URI or settings.
local function connection_text(name)
  local timeouts = {
    ("connect_timeout=%d"):format(Connection.patience),
    "tcp_user_timeout=" .. milliseconds,
  }
  if name:find("connect_timeout", 1, true) then
    return name
  elseif name:find "^postgres%a*://" then
    return name .. (name:find("?", 1, true) and "&" or "?") .. table.concat(timeouts, "&")
  elseif not name:find("=", 1, true) then
    name = ("dbname='%s'"):format((name:gsub("[\\']", "\\%0")))
  end
  return name .. " " .. table.concat(timeouts, " ")
end

--- The host for MySQL, with the timeout of connecting: MariaDB's client library accepts settings in place of a host.
local function host_text(host)
  local text = host and (host:find "^/" and "socket=" or "host=") .. host
  return ("connect-timeout=%d;%s"):format(Connection.patience, text or "")
end

-- Of each driver: `setup`, statements to run on each new connection, which limit how long any later statement takes;
-- and what becomes of the `name` of the database, or of the `host`.
local drivers = {
  -- Write-ahead log: readers and the writer do not block each other, and a killed process loses no commit.
  SQLite3 = {
    setup = {
      "PRAGMA busy_timeout = " .. milliseconds,
      "PRAGMA journal_mode = WAL",
      "PRAGMA synchronous = NORMAL",
    },
    name = private_file,
  },
  -- A commit does not wait for the disk: the last ones may be lost if the database's machine fails.
  PostgreSQL = {
    setup = {
      "SET statement_timeout = " .. milliseconds,
      "SET synchronous_commit = off",
      "SET client_min_messages = error",
    },
    name = connection_text,
  },
  -- UTC: a local time repeats an hour when daylight saving time ends.
  MySQL = {
    setup = {
      "SET innodb_lock_wait_timeout = " .. Connection.patience,
      "SET lock_wait_timeout = " .. Connection.patience,
      "SET time_zone = '+00:00'",
    },
    host = host_text,
  },
}

--- Opens a connection of LuaDBI; raises an error if that fails.
local function connect(library, given)
  local driver = drivers[given.driver]
  local name = driver.name and driver.name(given.database) or given.database
  local function try(host)
    return library.Connect(given.driver, name, given.user, given.password, host, given.port)
  end
  local connection, message = try(driver.host and driver.host(given.host) or given.host)
  if not connection and driver.host and message:find "Unknown .- host" then
    connection, message = try(given.host) -- another client library takes the settings for a name
  end
  return checked(connection, message)
end

--- Opens a database.
---@param given autopilot.store.SqlOptions
---@param prepare fun(opened: autopilot.store.Database)? makes it ready; if it fails, the database is closed
---@param setup string[]? statements to run before that, instead of those for a store
---@return autopilot.store.Database
function database.open(given, prepare, setup)
  local kind = given.driver:lower()
  local is_installed, library = pcall(require, "DBI")
  if not is_installed or not pcall(require, "dbd." .. kind) then
    local missing = "LuaDBI is missing: install lua-dbi-%s (Debian) or the rock luadbi-%s"
    error(missing:format(kind, kind), 0)
  end
  local connection = connect(library, given)
  connection:autocommit(true)
  local self = { connection = connection, prepared = {} }
  return Connection.ready(self, database.close, function()
    for _, statement in ipairs(setup or drivers[given.driver].setup) do
      database.run(self, statement)
    end
    if prepare then
      prepare(self)
    end
  end)
end

--- Whether another process uses the file, or has kept the table locked until the timeout.
local function is_locked(raised)
  local text = tostring(raised)
  return text:find "^database [%l ]*is locked"
    or text:find "statement timeout"
    or text:find "^Lock wait"
end

--- Returns why a table cannot be read, or nil. Raises an error if it is locked, or lacks a column.
local function table_problem(self, name, form)
  local columns = {}
  for column in form:gmatch "[(,] ?(%l[%l_]*) %u" do
    columns[#columns + 1] = column
  end
  local text = ("SELECT %s FROM %s WHERE 1 = 0"):format(table.concat(columns, ", "), name)
  local is_fine, raised = pcall(database.run, self, text)
  local problem = tostring(raised):match "^[^\r\n]*"
  if is_fine then
    return nil
  elseif is_locked(raised) then
    error(raised, 0)
  elseif problem:lower():find "column" then
    error(("the table %s has another form, and was left as it is (%s)"):format(name, problem), 0)
  end
  return problem
end

--- Creates a table if it is missing. Raises an error if it is there and cannot be used.
---@param form string its columns
---@param check_database fun()? called before it is created
function database.make_table(self, name, form, check_database)
  if not table_problem(self, name, form) then
    return
  elseif check_database then
    check_database()
  end
  -- If another process has just created it, this fails or does nothing.
  local create = ("CREATE TABLE IF NOT EXISTS %s %s"):format(name, form)
  local is_created, complaint = pcall(database.run, self, create)
  local problem = table_problem(self, name, form)
  if problem then
    complaint = is_created and "" or ", and it cannot be created: " .. complaint
    error(problem .. complaint, 0)
  end
end

--- A connection to a database. Of several processes that make one SQLite file at the same time, SQLite refuses all
-- but one at once, without waiting for the others: then it is opened again.
---@param given autopilot.store.SqlOptions
---@param prepare fun(opened: autopilot.store.Database) makes it ready
---@return autopilot.store.Connection
function database.connect(given, prepare)
  local function open()
    local ends = core.clock() + Connection.patience
    while true do
      local is_open, opened = pcall(database.open, given, prepare)
      if is_open then
        return opened
      elseif not is_locked(opened) or core.clock() >= ends then
        error(opened, 0)
      end
      core.sleep(0.02 * core.random())
    end
  end
  local secrets = passwords.find(given.database)
  secrets[#secrets + 1] = given.password
  return Connection.new {
    name = given.driver == "SQLite3" and "SQLite3 " .. given.database or given.driver,
    open = open,
    close = database.close,
    secrets = secrets,
  }
end

return database
