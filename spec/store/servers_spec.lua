-- The contract of stores, with real databases: SQLite, PostgreSQL, MariaDB, Redis and Valkey; and a store's messages
-- when its database is unreachable, refuses it or holds something else.
--
-- The database's own clock says what has expired: so these specs wait for real, for some hundredths of a second.

local contract = require "support.store_contract"
local core = require "autopilot.core"
local database_server = require "support.database_server"
local emulated_service = require "support.emulated_service"
local files = require "support.files"
local shell = require "autopilot.cli.emulate.shell"
local stores = require "autopilot.store"

local folder, remove_folder = files.folder()

--- SQLite needs no server: a file of this process.
local sqlite = {
  port = 0,
  options = function(_, given)
    return { driver = "SQLite3", database = given and given.database or folder .. "/store.db" }
  end,
  store = function(self, given)
    return stores.sql(self:options(given))
  end,
  remove = remove_folder,
}

--- A store whose keys are separate from those of all others.
local function apart(store)
  local prefix = ("%d %s:"):format(core.process_id(), math.random(2 ^ 30))
  local own = {}
  for _, method in ipairs { "get", "set", "add", "delete_if" } do
    own[method] = function(_, key, ...)
      return store[method](store, type(key) == "string" and key ~= "" and prefix .. key or key, ...)
    end
  end
  return own
end

for _, kind in ipairs { "SQLite3", "PostgreSQL", "MySQL", "Redis", "Valkey" } do
  describe("a store in " .. kind, function()
    local module = (kind == "Redis" or kind == "Valkey") and "redis" or "sql"
    local obstacle = kind ~= "SQLite3" and database_server.obstacle(kind)
    if obstacle then
      return pending(obstacle)
    end

    local server

    setup(function()
      server = kind == "SQLite3" and sqlite or database_server.start(kind)
    end)

    teardown(function()
      server:remove()
    end)

    for _, promised in ipairs(contract) do
      it(promised.name, function()
        local store = server:store()
        promised.promise(apart(store), core.sleep)
        store:close()
      end)
    end

    it("lets one of many processes add a key", function()
      local script = [[
        local options, key = ...
        local store = require "autopilot.store"[options.store](options.given)
        for number = 1, 20 do
          io.write(store:add(key .. number, tostring(number), 60) and number or "-", " ")
        end]]
      local lines = { "return {" }
      -- All of them make SQLite's file at the same time.
      for name, value in
        pairs(server:options { database = kind == "SQLite3" and folder .. "/race.db" or nil })
      do
        local form = type(value) == "number" and "%s = %d," or "%s = %q,"
        lines[#lines + 1] = form:format(name, value)
      end
      local program = (
        "local options = { store = %q, given = (loadstring or load)(%q)() } "
        .. "(loadstring or load)(%q)(options, %q)"
      ):format(
        module,
        table.concat(lines, " ") .. "}",
        script,
        "race" .. server.port .. math.random(2 ^ 30)
      )
      local printed = shell.read(
        'for n in 1 2 3 4 5 6; do "$1" -e "$2" & done; wait',
        emulated_service.interpreter(),
        program
      )
      local added = {}
      for number in printed:gmatch "%d+" do
        assert.is_nil(added[number], printed)
        added[number] = true
      end
      assert.are.equal(120, select(2, printed:gsub(" ", "")), printed)
      for number = 1, 20 do
        assert.is_true(added[tostring(number)], printed)
      end
    end)

    if kind ~= "SQLite3" then
      it("continues after the server was restarted", function()
        local store = server:store()
        assert.is_true(store:set("before", "1", 60))
        server:stop()
        server:start()
        assert.is_true(store:set("after", "1", 60))
        assert.are.equal("1", store:get "after")
      end)

      it("reports that the server is unreachable, and does not try again at once", function()
        local store =
          server:store(module == "redis" and { url = "redis://127.0.0.1:1" } or { port = 1 })
        local open, opens = store.connection.open, 0
        function store.connection.open(...)
          opens = opens + 1
          return open(...)
        end
        for _ = 1, 100 do
          local value, message = store:get "x"
          assert.is_nil(value)
          assert.truthy(message:find "connect", message)
        end
        assert.equal(1, opens)
      end)

      it("does not reveal the password when it is refused", function()
        local store = server:store { password = "wrong-" .. server.password }
        local _, message = store:set("a", "1", 10)
        assert.truthy(message:find "password", message)
        assert.falsy(message:find(server.password, 1, true), message)
      end)

      it("names what may be wrong where the database or its user is unknown", function()
        for _, wrong in ipairs(kind == "PostgreSQL" and { "database", "user" } or {}) do
          local _, message = server:store({ [wrong] = "nothing" }):get "a"
          assert.truthy(message:find("the user, the password or the database", 1, true), message)
        end
      end)
    end
  end)
end
