-- A failing database of a store is reported in one sentence, and the sync happens as without a store.

local Connection = require "autopilot.store.connection"
local autopilot = require "autopilot"
local certificates = require "support.certificates"
local core = require "autopilot.core"
local database = require "autopilot.store.database"
local database_server = require "support.database_server"
local files = require "support.files"
local stores = require "autopilot.store"

local postgresql -- one server for all specs

teardown(function()
  if postgresql then
    postgresql:remove()
  end
end)

--- PostgreSQL, and the options of a new database in it.
local function new_database(name)
  postgresql = postgresql or database_server.start "PostgreSQL"
  local connection = database.open(postgresql:options(), nil, {})
  database.run(connection, "CREATE DATABASE " .. name)
  database.close(connection)
  return postgresql, { database = name }
end

describe("a client whose store", function()
  local function sync_with(store)
    local events = {}
    local client = autopilot.client {
      tenant = "contoso.example",
      token = "made-up-token",
      store = store,
      transport = autopilot.transport.scripted { { status = 204 } },
      on_event = function(event)
        events[#events + 1] = event.type == "store_failed" and event.message or nil
      end,
    }
    local report = assert(client:sync())
    assert.are.equal("started", report.outcome)
    return events[1]
  end

  it("is unreachable posts anyway, and reports it", function()
    local message = sync_with(stores.sql {
      driver = "PostgreSQL",
      database = "postgresql://me:secret-word@127.0.0.1:1/x",
    })
    assert.truthy(message:find("^PostgreSQL: "), message)
    assert.falsy(message:find("secret-word", 1, true), message)
    assert.truthy(sync_with(stores.open "postgresql://127.0.0.1:1/x"):find "^PostgreSQL: ")
    assert.truthy(sync_with(stores.open "redis://127.0.0.1:1"):find "^Redis: ")
  end)

  for _, kind in ipairs { "PostgreSQL", "MySQL" } do
    local obstacle = database_server.obstacle(kind)

    it(
      "is in " .. kind .. " with a table that is locked, or has another form, posts anyway",
      function()
        if obstacle then
          return pending(obstacle)
        end
        local server, given
        if kind == "PostgreSQL" then
          server, given = new_database "locked"
        else
          server = database_server.start(kind)
        end
        assert(server:store(given):set("the table", "is made", 1))
        local other = database.open(server:options(given), nil, {})
        for _, sql in
          ipairs(
            kind == "MySQL" and { "LOCK TABLES autopilot_store_1 WRITE" }
              or { "BEGIN", "LOCK TABLE autopilot_store_1" }
          )
        do
          database.run(other, sql)
        end
        local began = core.clock()
        local message = sync_with(server:store(given))
        assert.truthy(message:lower():find "timeout", message)
        assert.is_true(core.clock() - began < 1.8 * Connection.patience) -- waited for once
        database.run(other, kind == "MySQL" and "UNLOCK TABLES" or "ROLLBACK")
        database.run(other, "DROP TABLE autopilot_store_1")
        database.run(other, "CREATE TABLE autopilot_store_1 (other INT)")
        message = sync_with(server:store(given))
        assert.truthy(message:find("table autopilot_store_1 has another form", 1, true), message)
        database.close(other)
        if server ~= postgresql then
          server:remove()
        end
      end
    )
  end

  it("is a PostgreSQL that takes no writes posts anyway, and reports it", function()
    local obstacle = database_server.obstacle "PostgreSQL"
    if obstacle then
      return pending(obstacle)
    end
    local server, given = new_database "read_only"
    local read_only = "ALTER DATABASE read_only SET default_transaction_read_only = on"
    assert(server:store(given).connection:call(database.run, read_only))
    local message = sync_with(server:store(given))
    assert.truthy(message:find("read-only transaction", 1, true), message)
  end)

  it("is a Redis that is full posts anyway, and reports it", function()
    local obstacle = database_server.obstacle "Redis"
    if obstacle then
      return pending(obstacle)
    end
    local server = database_server.start "Redis"
    local form =
      "redis-cli -p %d --user tester -a %s --no-auth-warning config set maxmemory 1 >/dev/null"
    os.execute(form:format(server.port, server.password))
    local message = sync_with(server:store())
    assert.truthy(message:find("the server's memory is full", 1, true), message)
    server:remove()
  end)

  it("is a file but no database posts anyway, and leaves the file unchanged", function()
    local path, remove = files.temporary(("no database\n"):rep(1000))
    local message = sync_with(stores.sql { driver = "SQLite3", database = path })
    assert.truthy(message:find("not a database", 1, true), message)
    assert.are.equal(12000, #files.read(path))
    remove()
  end)
end)

describe("a store in an SQLite file", function()
  local folder, remove_folder = files.folder()
  local path = folder .. "/store.db"

  teardown(remove_folder)

  before_each(function()
    os.execute(("rm -rf '%s'/*"):format(folder))
  end)

  it("makes the file readable by its owner only", function()
    local store = stores.sql { driver = "SQLite3", database = path }
    assert.is_true(store:set("a", "1", 60))
    local listed = io.popen(("stat -c '%%a' '%s'/*"):format(folder))
    assert.are.equal("", (listed:read("*a"):gsub("600\n", "")))
    listed:close()
    store:close()
  end)

  it("refuses a folder, a link and another program's database", function()
    for command, told in pairs {
      ["mkdir"] = path .. ": it is a folder",
      ["ln -s /dev/null"] = path .. ": it is a symbolic link",
    } do
      os.execute(("%s '%s'"):format(command, path))
      local _, message = stores.sql({ driver = "SQLite3", database = path }):get "a"
      assert.truthy(message:find(told, 1, true), message)
      os.execute(("rm -rf '%s'"):format(path))
    end
    local lost = { driver = "SQLite3", database = folder .. "/missing/a.db" }
    local unopened = folder .. "/missing/a.db: it cannot be opened"
    assert.truthy(select(2, stores.sql(lost):get "a"):find(unopened, 1, true))
    os.execute(("mkdir '%s/locked.db-wal'"):format(folder))
    local began = core.clock()
    local given = { driver = "SQLite3", database = folder .. "/locked.db" }
    assert.truthy(select(2, stores.sql(given):get "a"):find("it is a folder", 1, true))
    assert.is_true(core.clock() - began < Connection.patience / 2) -- it does not count as locked
    local connection = require("DBI").Connect("SQLite3", path)
    connection:autocommit(true)
    require("DBI").Do(connection, "CREATE TABLE theirs (x)")
    connection:close()
    local _, message = stores.sql({ driver = "SQLite3", database = path }):get "a"
    assert.truthy(message:find("another program's database", 1, true), message)
  end)
end)

--- Calls a function with the port of a server that accepts connections and never answers, with so many seconds of
--- patience.
local function with_silent_server(patience, act)
  local listener = assert(require("socket").bind("127.0.0.1", 0))
  local usual = Connection.patience
  Connection.patience = patience
  act(select(2, listener:getsockname()), listener)
  Connection.patience = usual
  listener:close()
end

describe("a store in MySQL", function()
  it("does not wait for ever for a server that accepts its connection and never answers", function()
    local obstacle = database_server.obstacle "MySQL"
    if obstacle then
      return pending(obstacle)
    end
    with_silent_server(1, function(port)
      local given = { driver = "MySQL", database = "x", host = "127.0.0.1", port = tonumber(port) }
      local _, message = stores.sql(given):get "a"
      assert.truthy(message:find("Lost connection", 1, true), message)
    end)
  end)

  it("is reached by its host alone if the client library takes no settings", function()
    local replaced, hosts = {}, {}
    local fakes = { ["dbd.mysql"] = {}, DBI = {} }
    function fakes.DBI.Connect(_, _, _, _, host)
      hosts[#hosts + 1] = host
      return nil,
        ("Failed to connect to database: Unknown MySQL server host '%s' (-2)"):format(host)
    end
    for name, fake in pairs(fakes) do
      replaced[name], package.loaded[name] = package.loaded[name] or false, fake
    end
    local _, message = stores.sql({ driver = "MySQL", database = "x", host = "db.example" }):get "a"
    for name, module in pairs(replaced) do
      package.loaded[name] = module or nil
    end
    assert.same({ "connect-timeout=5;host=db.example", "db.example" }, hosts)
    assert.equal("MySQL: Unknown MySQL server host 'db.example' (-2)", message)
  end)
end)

describe("a store in PostgreSQL", function()
  local obstacle = database_server.obstacle "PostgreSQL"
  if obstacle then
    return pending(obstacle)
  end

  it("says why its user cannot use or create the table", function()
    local server, given = new_database "restricted"
    local function run(...)
      for _, sql in ipairs { ... } do
        assert(server:store(given).connection:call(database.run, sql))
      end
    end
    run("CREATE ROLE reader LOGIN PASSWORD 'x'", "REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    local reader = { user = "reader", password = "x", database = given.database }
    local _, message = server:store(reader):get "a"
    assert.truthy(message:find("permission denied for table autopilot_store_1", 1, true), message)
    run "DROP TABLE autopilot_store_1"
    _, message = server:store(reader):get "a"
    assert.truthy(message:find('relation "autopilot_store_1" does not exist', 1, true), message)
    assert.truthy(message:find("permission denied for schema public", 1, true), message)
  end)
end)

describe("a store in Redis", function()
  local obstacle = database_server.obstacle "Redis"
  if obstacle then
    return pending(obstacle)
  end

  it("does not take the reply to an interrupted command for another's", function()
    local server = database_server.start "Redis"
    local store = server:store()
    store:set("a", "of a", 60)
    store:set("b", "of b", 60)
    local is_fine = pcall(store.connection.call, store.connection, function(opened)
      opened.socket:send "*2\r\n$3\r\nGET\r\n$1\r\na\r\n"
      error("interrupted!", 0)
    end)
    assert.is_false(is_fine)
    assert.are.equal("of b", store:get "b")
    server:remove()
  end)

  it("says that a server is not Redis", function()
    local listener = assert(require("socket").bind("127.0.0.1", 0))
    local store = stores.redis { url = "redis://127.0.0.1:" .. select(2, listener:getsockname()) }
    local said
    local opened = pcall(store.connection.call, store.connection, function(connection)
      local peer = listener:accept()
      peer:send "HTTP/1.1 400 Bad Request\r\n\r\n"
      said = select(2, pcall(store.engine.get, connection, "a"))
      peer:close()
    end)
    listener:close()
    assert.is_true(opened)
    assert.equal("the server does not speak the protocol of Redis", said)
  end)

  it("says that a server did not answer in time, over TLS too", function()
    with_silent_server(0.2, function(port)
      for _, scheme in ipairs { "redis", "rediss" } do
        local _, message = stores.redis({ url = scheme .. "://127.0.0.1:" .. port }):get "a"
        assert.equal("Redis: timeout", message)
      end
    end)
  end)

  it("does not wait in each call for a server that does not answer", function()
    with_silent_server(0.2, function(port, listener)
      local store = stores.redis { url = "redis://127.0.0.1:" .. port }
      for _ = 1, 5 do
        assert.truthy(select(2, store:get "a"):find "^Redis: ")
      end
      listener:settimeout(0)
      local count = 0
      for client in listener.accept, listener do
        client:close()
        count = count + 1
      end
      assert.equal(1, count)
    end)
  end)

  --- What starts a command line of the server's administrator.
  local function administrator(server)
    local form = "redis-cli -p %d --user tester -a %s --no-auth-warning "
    return form:format(server.port, server.password)
  end

  it("signs in as the user in its address, with or without a password", function()
    local server = database_server.start "Redis"
    os.execute(administrator(server) .. "acl setuser guest on nopass '~*' +@all >/dev/null")
    local store = stores.redis { url = "redis://guest@127.0.0.1:" .. server.port }
    assert.same({ true }, { store:set("a", "1", 60) })
    server:remove()
  end)

  it("says that another program has put a value of another type there", function()
    local server = database_server.start "Redis"
    os.execute(administrator(server) .. "lpush theirs 1 >/dev/null")
    local store = server:store()
    for _, method in ipairs { "get", "delete_if" } do
      local _, message = store[method](store, "theirs", "1")
      local told = "Redis: another program's value of another type has this key (WRONGTYPE"
      assert.equal(told, message:sub(1, #told))
    end
    assert.same({ nil, "exists" }, { store:add("theirs", "1", 60) })
    assert.is_true(store:set("theirs", "1", 60))
    assert.equal("1", store:get "theirs")
    server:remove()
  end)

  it("says that it is a replica, and which rights its user lacks", function()
    local server = database_server.start "Redis"
    local store = server:store()
    assert.is_true(store:set("a", "1", 60))
    local sign_in = administrator(server)
    os.execute(sign_in .. "replicaof 127.0.0.1 1 >/dev/null")
    local _, message = store:set("a", "2", 60)
    assert.truthy(message:find("name the master", 1, true), message)
    os.execute(sign_in .. "replicaof no one >/dev/null")
    os.execute(sign_in .. "acl setuser tester -eval >/dev/null")
    assert.is_true(store:set("a", "3", 60))
    _, message = store:delete_if("a", "3")
    assert.truthy(message:find("the user may not do this", 1, true), message)
    server:remove()
  end)

  it("accepts a server over TLS only with the server's own certificate", function()
    local made = certificates.make()
    for name, refusal in pairs {
      good = false,
      wrong_host = "not for 127.0.0.1",
      expired = "certificate verify failed",
      untrusted = "certificate verify failed",
    } do
      local tls = { certificate = made[name], key = made.key, ca = made.ca }
      local server = database_server.start("Redis", tls)
      local done, message = server:store():set("a", "1", 60)
      assert.are.equal(not refusal or nil, done)
      assert.truthy(not refusal or message:find(refusal, 1, true), message)
      server:remove()
    end
    certificates.remove(made)
  end)
end)
