-- The file under a fleet's state: whose it is, that it is whole, and that one process has it at a time.

local command = require "support.command"
local fleet_state = require "autopilot.fleet.state"
local report = require "autopilot.report"

local start = 1790000000

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local function started(tenant)
  return report.seal {
    operation = "sync",
    outcome = "started",
    tenant = tenant,
    status = 204,
    delivered = "yes",
    request_id = "5c0e",
    elapsed = 0.25,
  }
end

describe("the file of a fleet's state", function()
  local path, remove, now, open_states

  local function open(given)
    local wanted = {
      path = path,
      now = function()
        return now
      end,
    }
    for name, value in pairs(given or {}) do
      wanted[name] = value
    end
    local state, message = fleet_state.open(wanted)
    open_states[#open_states + 1] = state
    return state, message
  end

  before_each(function()
    now, open_states = start, {}
    path, remove = command.file ""
  end)

  after_each(function()
    for _, state in ipairs(open_states) do
      state:close()
    end
    remove()
    os.remove(path .. "-wal")
  end)

  describe("is refused, and left as it was, when it is", function()
    local function assert_refused(text, pattern)
      local file = assert(io.open(path, "wb"))
      file:write(text)
      file:close()
      local state, message = open()
      assert.is_nil(state, #text .. " bytes were taken")
      assert.matches(pattern, message)
      assert.truthy(message:find("the state file " .. path .. ": ", 1, true))
      assert.equal(text, read(path))
    end

    it("a file of something else", function()
      for _, text in ipairs { "h", "hello\n", ("tenant list\n"):rep(400), "SQLite format 3\0" } do
        assert_refused(text, "it is")
      end
    end)

    it("another program's database", function()
      local connection = require("DBI").Connect("SQLite3", path)
      connection:autocommit(true)
      local statement = connection:prepare "CREATE TABLE accounts (id INTEGER)"
      statement:execute()
      statement:close()
      connection:close()
      assert_refused(read(path), "it is another program's database")
    end)

    it("one of another version", function()
      open():close()
      local text = read(path)
      assert.equal("\0\0\0\1", text:sub(61, 64)) -- where SQLite keeps user_version
      assert_refused(text:sub(1, 60) .. "\0\0\0\2" .. text:sub(65), "another version")
    end)

    it("a torn one, wherever it is cut", function()
      local state = open()
      for index = 1, 60 do
        state:note("graph/" .. index, started("tenant" .. index))
      end
      state:close()
      local whole = read(path)
      for length = 1, #whole - 1, 797 do
        assert_refused(whole:sub(1, length), "it is ")
      end
      assert_refused(whole:sub(1, -2), "it is damaged")
      assert_refused(whole:sub(1, 4096) .. ("\0"):rep(#whole - 4096), "it is damaged")
    end)

    it("one with a page that was never written", function()
      local state = open()
      for index = 1, 60 do
        state:note("graph/" .. index, started("tenant" .. index))
      end
      state:close()
      local whole, page = read(path), 4096
      for last = 2 * page, #whole, page do
        local damaged = whole:sub(1, last - page) .. ("\0"):rep(page) .. whole:sub(last + 1)
        assert_refused(damaged, "it is damaged")
      end
    end)

    it("one whose tables are not as they were made", function()
      open():close()
      local text, count = read(path):gsub("started_at REAL", "started_zt REAL")
      assert.equal(1, count)
      assert_refused(text, "it is damaged")
    end)

    it("one that somebody else has open", function()
      local first = open()
      local second, message = open()
      assert.is_nil(second)
      assert.matches("it is in use by another run", message)
      assert.is_true(first:note("a", started "a"))
      first:close()
      assert.truthy(open():known "a")
    end)

    it("a place where no file can be", function()
      local state, message = fleet_state.open { path = path .. "/state" }
      assert.is_nil(state)
      assert.matches("it cannot be opened", message)
    end)
  end)

  it("takes names that SQLite would give a meaning of its own for names of files", function()
    for _, name in ipairs { ":memory:", "file:autopilot-state?mode=memory" } do
      local state = assert(fleet_state.open { path = name })
      state:close()
      assert.truthy(os.remove(name))
    end
  end)

  it("says what to install when there is no LuaDBI", function()
    local loaded, searched = package.loaded.DBI, package.preload.DBI
    package.loaded.DBI = nil
    package.preload.DBI = function()
      error "module 'DBI' not found"
    end
    local state, message = open()
    package.loaded.DBI, package.preload.DBI = loaded, searched
    assert.is_nil(state)
    assert.matches("install lua%-dbi%-sqlite3", message)
  end)
end)
