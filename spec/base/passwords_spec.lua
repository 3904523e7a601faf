-- The password in the address of a database, or in settings of libpq.

local database = require "autopilot.store.database"
local passwords = require "autopilot.base.passwords"

local with_password = {
  "redis://me:hunter2@host",
  "rediss://:hunter2@host:6379/1",
  "redis://me:hun/ter2@host",
  "redis://me:hun@ter2@host",
  "redis://me@there:hunter2@host",
  "postgresql://me:hunter%32@host:5432/name",
  "postgresql://me@host/name?password=hunter2",
  "postgresql://host/name?user=me&password=hunter%32&sslmode=require",
  "postgres://me@host/name?sslpassword=hunter2",
  "host=there password=hunter2 user=me",
  "password = hunter2",
  "host=there password='hunter2' user='me'",
  "password='hun\\'ter2 ' user='me'",
  "password=hun\\ ter2",
}

local without = {
  "",
  "redis://host",
  "redis://me@host:6379/1",
  "redis://me:@host",
  "rediss://me@[::1]:6379/0",
  "postgresql://me@host:5432/name?sslmode=verify-full",
  "postgresql:///name?host=/run/postgresql&user=me",
  "host=there user=me passfile=/home/me/.pgpass",
  "/var/lib/autopilot/store.db",
  "C:\\me@here\\store.db",
}

describe("a password", function()
  it("is found in every form of an address and of settings", function()
    for _, text in ipairs(with_password) do
      local found = passwords.find(text)
      assert.truthy(table.concat(found, " "):find("ter2", 1, true), text)
      assert.falsy(table.concat(found, " "):find("me", 1, true), text)
    end
  end)

  it("is not found in text without one", function()
    for _, text in ipairs(without) do
      assert.same({}, passwords.find(text), text)
    end
  end)

  it("is not in a message of the database, not even in part", function()
    for address, message in pairs {
      ["postgresql://me:hun/ter2@host"] = 'invalid value "hun" for connection option "port"',
      ["postgresql://me:x/hun@ter2@host"] = 'could not translate host name "ter2@host" to address',
      ["postgresql://me:hun%2Fter2@host"] = 'FATAL: password "hun/ter2" is wrong',
      ["postgresql://me@host/?password=hun"] = 'invalid URI query parameter: "hun"',
      ["host=x password='hun ter2'"] = 'missing "=" after "hun ter2" in connection info string',
    } do
      local told = database.connect({ driver = "PostgreSQL", database = address }).clean(message)
      assert.falsy(told:find "hun" or told:find "ter2", told)
      assert.truthy(told:find("[redacted]", 1, true), told)
    end
    local given = { driver = "MySQL", database = "store", password = "hunter2" }
    assert.equal("[redacted]!", database.connect(given).clean "hunter2!")
  end)
end)
