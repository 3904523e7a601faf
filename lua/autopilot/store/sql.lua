--- A store in an SQL database, through LuaDBI: SQLite for all processes of one machine, PostgreSQL or MySQL
-- (MariaDB) for several machines.
--
-- The table `autopilot_store_1` has one row for each key; the number changes with the table's form. Each
-- method is one statement, which makes it atomic. The clock of the database says what has expired.

local database = require "autopilot.store.database"
local decode = require("autopilot.base.url").percent_decoded
local options = require "autopilot.base.options"

local encode = database.encode

---@class autopilot.store.SqlOptions
---@field [string] autopilot.NoSuchOption
---@field driver "SQLite3"|"PostgreSQL"|"MySQL"
---@field database string SQLite: a file, made when it is missing; else a database's name; PostgreSQL: a `postgresql://` address too
---@field user string?
---@field password string?
---@field host string?
---@field port integer?

-- In these statements each `{name}` stands for the driver's own words, which are below.
local insert = "INSERT INTO autopilot_store_1 (name, value, expires) VALUES (?, ?, {now} + ?) "
local statements = {
  clean = "DELETE FROM autopilot_store_1 WHERE autopilot_store_1.expires <= {now}",
  get = "SELECT value FROM autopilot_store_1 WHERE name = ? AND expires > {now}",
  set = insert .. "{update}",
  add = insert .. "{update_expired}",
  delete_if = "DELETE FROM autopilot_store_1 WHERE name = ? AND value = ? AND expires > {now}",
}

local update = "ON CONFLICT (name) DO UPDATE SET value = excluded.value, expires = excluded.expires"
local update_expired = update .. " WHERE autopilot_store_1.expires <= {now}"

-- `now` is Unix seconds with fractions. `update` is what INSERT does where the key has a row, and `update_expired` what
-- it does where that row has expired.
local drivers = {
  SQLite3 = {
    now = "((julianday('now') - 2440587.5) * 86400.0)",
    -- How many tables there are: a database with others cannot be meant for this.
    foreign = "SELECT count(*) FROM sqlite_master WHERE tbl_name <> 'autopilot_store_1'",
    types = "name TEXT PRIMARY KEY, value TEXT NOT NULL, expires REAL NOT NULL",
    update = update,
    update_expired = update_expired,
  },
  PostgreSQL = {
    now = "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)",
    types = "name TEXT PRIMARY KEY, value TEXT NOT NULL, expires DOUBLE PRECISION NOT NULL",
    update = update,
    update_expired = update_expired,
  },
  MySQL = {
    now = "(UNIX_TIMESTAMP(NOW(6)) + 0e0)",
    types = "name VARCHAR(700) CHARACTER SET ascii COLLATE ascii_bin PRIMARY KEY, "
      .. "value MEDIUMTEXT CHARACTER SET ascii COLLATE ascii_bin NOT NULL, expires DOUBLE NOT NULL",
    update = "ON DUPLICATE KEY UPDATE value = VALUES(value), expires = VALUES(expires)",
    -- The columns are set from left to right: `expires` last, because both look at it.
    update_expired = "ON DUPLICATE KEY UPDATE value = IF(expires <= {now}, VALUES(value), value), "
      .. "expires = IF(expires <= {now}, VALUES(expires), expires)",
  },
}

-- ---- The methods of a store --------------------------------------------------------------------------

local engine = {}

local function change_row(opened, name, key, value, ...)
  local _, count = database.run(opened, opened.store_sql[name], encode(key), encode(value), ...)
  return count > 0
end

function engine.set(opened, key, value, ttl)
  change_row(opened, "set", key, value, ttl)
  return true -- also where MySQL counts no row, because it has this value and this end already
end

function engine.add(opened, key, value, ttl)
  return change_row(opened, "add", key, value, ttl)
end

function engine.delete_if(opened, key, value)
  return change_row(opened, "delete_if", key, value)
end

function engine.get(opened, key)
  local row = database.run(opened, opened.store_sql.get, encode(key))[1]
  return row and decode(row[1])
end

-- ---- Making one --------------------------------------------------------------------------------------

local rules = {
  driver = { type = "string", required = true, one_of = { "SQLite3", "PostgreSQL", "MySQL" } },
  database = {
    type = "string",
    required = true,
    secret = true, -- an address may contain a password
    check = function(text)
      return (text == "" or text:find("\0", 1, true)) and "must be a name" or nil
    end,
  },
  user = { type = "string" },
  password = { type = "string", secret = true },
  host = { type = "string" },
  port = { type = "integer", min = 1, max = 65535 },
}

--- Makes a store in an SQL database. Nothing is opened before it is first used.
---@param given autopilot.store.SqlOptions
---@return autopilot.Store
return function(given)
  local checked = options.check("autopilot.store.sql", rules, given)
  local driver = drivers[checked.driver]
  local sql = {}
  for name, text in pairs(statements) do
    sql[name] = text:gsub("{([%a_]+)}", driver):gsub("{([%a_]+)}", driver)
  end
  local connection = database.connect(checked, function(opened)
    database.make_table(opened, "autopilot_store_1", "(" .. driver.types .. ")", function()
      if driver.foreign and database.run(opened, driver.foreign)[1][1] > 0 then
        error("it is another program's database, and was left as it is", 0)
      end
    end)
    database.run(opened, sql.clean)
    opened.store_sql = sql
  end)
  return connection:store(engine)
end
