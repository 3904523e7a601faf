-- The contract of stores (`support.store_contract`), and what each store does beyond it.

local contract = require "support.store_contract"
local core = require "autopilot.core"
local fake_dict = require "support.fake_shared_dict"
local files = require "support.files"
local mistakes = require "support.mistakes"
local stores = require "autopilot.store"

local time

local function now()
  return time
end

local function pass(seconds)
  time = time + seconds
end

local makers = {
  memory = function()
    return stores.memory { now = now }
  end,
  shared_dict = function()
    return stores.shared_dict(fake_dict { now = now })
  end,
}

describe("autopilot.store", function()
  it("has nothing under other names, or none", function()
    assert.is_nil(stores.file)
    assert.is_nil(stores[nil])
  end)
end)

for name, make in pairs(makers) do
  describe("a store in " .. name, function()
    before_each(function()
      time = 1000.5
    end)

    for _, promised in ipairs(contract) do
      it(promised.name, function()
        promised.promise(make(), pass)
      end)
    end
  end)
end

describe("a store in memory", function()
  before_each(function()
    time = 1000.5
  end)

  it("is bounded: the least recently used entry is dropped", function()
    local store = stores.memory { max_entries = 3, now = now }
    for _, key in ipairs { "a", "b", "c" } do
      store:set(key, key, 10)
    end
    store:get "a"
    store:set("d", "d", 10)
    assert.is_nil(store:get "b")
    assert.are.equal("a", store:get "a")
    assert.are.equal("c", store:get "c")
    assert.are.equal("d", store:get "d")
    for number = 1, 1000 do
      store:add("key " .. number, "x", 10)
    end
    assert.are.equal(3, store.entries.count)
  end)

  it("keeps nothing too long when its clock is set back", function()
    local store = stores.memory { now = now }
    store:add("a", "1", 10)
    pass(-3600)
    assert.are.equal("1", store:get "a")
    pass(10)
    assert.is_nil(store:get "a")
  end)

  it("uses the machine's clock by default", function()
    assert.is_true(stores.memory():add("a", "1", 100))
  end)

  it("raises at the caller's line for a mistake in its options", function()
    local line
    local message = mistakes.raised(function()
      line = mistakes.this_line() + 1
      stores.memory { max_entry = 3 }
    end)
    mistakes.assert_raised_at(
      line,
      message,
      "autopilot.store.memory: unknown option 'max_entry' (did you mean 'max_entries'?)"
    )
  end)
end)

describe("the name of an SQLite file", function()
  it(
    "is in UTF-8 on Windows, where Lua has it in the code page of the system (here 1252)",
    function()
      local is_windows = package.config:sub(1, 1) == "\\"
      assert.are.equal("plain.db", core.sqlite_name "plain.db")
      local expected = is_windows and "Z\195\188rich.db" or "Z\252rich.db"
      assert.are.equal(expected, core.sqlite_name "Z\252rich.db")
      assert.are.equal(not is_windows, core.sqlite_name(("x"):rep(300)) ~= nil)
    end
  )
end)

describe("a store in a shared dictionary", function()
  before_each(function()
    time = 1000.5
  end)

  it("accepts the dictionary's name", function()
    rawset(_G, "ngx", { shared = { autopilot = fake_dict { now = now } } })
    local ok, store = pcall(stores.shared_dict, "autopilot")
    rawset(_G, "ngx", nil)
    assert(ok, store)
    assert.is_true(store:add("a", "1", 10))
  end)

  it("raises if there is no such dictionary", function()
    for told, dict in pairs {
      ["nginx has no 'lua_shared_dict nobody'"] = "nobody",
      ["got table"] = {},
      ["got nil"] = false,
    } do
      local line
      local message = mistakes.raised(function()
        line = mistakes.this_line() + 1
        stores.shared_dict(dict or nil)
      end)
      mistakes.assert_raised_at(line, message, "autopilot.store.shared_dict: ")
      assert.truthy(message:find(told, 1, true), message)
    end
  end)

  it("never raises for an error of nginx", function()
    local store = stores.shared_dict(fake_dict { now = now, fails = "no memory" })
    assert.are.same({ nil, "no memory" }, { store:add("a", "1", 10) })
    assert.are.same({ nil, "no memory" }, { store:set("a", "1", 10) })
    assert.are.same({ nil, "no memory" }, { store:get "a" })
    assert.are.same({ nil, "no memory" }, { store:delete_if("a", "1") })
  end)

  it("makes room in a full dictionary", function()
    local store = stores.shared_dict(fake_dict { now = now, max_entries = 2 })
    for _, key in ipairs { "a", "b", "c" } do
      assert.is_true(store:add(key, key, 10))
    end
    assert.is_nil(store:get "a")
    assert.are.equal("c", store:get "c")
  end)

  it("ignores a foreign value that is not a string", function()
    local dict = fake_dict { now = now }
    dict:set("a", 5)
    assert.are.same({ n = 2 }, { n = select("#", stores.shared_dict(dict):get "a"), nil, nil })
  end)

  it("leaves an expiring entry alone, because deleting it could delete its successor", function()
    local dict = fake_dict { now = now }
    local store = stores.shared_dict(dict)
    store:add("a", "mine", 10)
    pass(9.97)
    assert.is_false(store:delete_if("a", "mine"))
    pass(0.04)
    assert.is_true(store:add("a", "next", 10))
    assert.are.equal("next", store:get "a")
  end)
end)

describe("the options of a store", function()
  it("are checked when the store is made, and secrets are not quoted", function()
    for told, make in pairs {
      ["autopilot.store.sql: option 'driver' must be one of"] = function()
        stores.sql { driver = "Oracle", database = "x" }
      end,
      ["autopilot.store.sql: option 'database' is required"] = function()
        stores.sql { driver = "MySQL" }
      end,
      ["autopilot.store.redis: option 'url' must be redis[s]://"] = function()
        stores.redis { url = "http://user:secret-word@host" }
      end,
    } do
      local message = mistakes.raised(make)
      assert.truthy(message:find(told, 1, true), message)
      assert.falsy(message:find("secret-word", 1, true), message)
    end
  end)
end)

describe("a store given as text", function()
  -- mishaps_spec opens PostgreSQL so: LuaDBI leaks a connection that could not be opened.
  it("is Redis or an SQLite file", function()
    assert.truthy(select(2, stores.open("redis://127.0.0.1:1"):get "a"):find "^Redis: ")
    assert.truthy(select(2, stores.open("rediss://127.0.0.1:1"):get "a"):find "^Redis: ")
    local folder, remove = files.folder()
    assert.is_true(stores.open(folder .. "/store.db"):set("a", "1", 60))
    assert.are.equal("1", stores.open(folder .. "/store.db"):get "a")
    remove()
    local message = mistakes.raised(function()
      stores.open "etcd://host"
    end)
    assert.truthy(message:find("autopilot.store.open: must be", 1, true), message)
    message = mistakes.raised(function()
      stores.open()
    end)
    assert.truthy(message:find("autopilot.store.open: needs a string", 1, true), message)
  end)
end)
