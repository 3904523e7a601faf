-- The file of a fleet's state: its owner, its integrity, and that only one process uses it at a time.

local core = require "autopilot.core"
local files = require "support.files"
local fleet_state = require "autopilot.fleet.state"
local state_file = require "support.state_file"

local started = state_file.started

describe("the file of a fleet's state", function()
  local file

  before_each(function()
    file = state_file.new()
  end)

  after_each(function()
    file:close()
  end)

  --- What a file holds with the reports of sixty tenants in it.
  local function written()
    local state = file:open()
    for index = 1, 60 do
      state:note("graph/" .. index, started("tenant" .. index))
    end
    state:close()
    return file:read()
  end

  describe("is refused, and left as it was, when it is", function()
    local function assert_refused(text, pattern)
      file:write(text)
      local state, message = file:open()
      assert.is_nil(state, #text .. " bytes were taken")
      assert.matches(pattern, message)
      assert.truthy(message:find("the state file " .. file.path .. ": ", 1, true))
      assert.equal(text, file:read())
    end

    it("another kind of file", function()
      for _, text in ipairs { "h", "hello\n", ("tenant list\n"):rep(400), "SQLite format 3\0" } do
        assert_refused(text, "it is")
      end
    end)

    it("another program's database", function()
      local connection = require("DBI").Connect("SQLite3", file.path)
      connection:autocommit(true)
      local statement = connection:prepare "CREATE TABLE accounts (id INTEGER)"
      statement:execute()
      statement:close()
      connection:close()
      assert_refused(file:read(), "it is another program's database")
    end)

    it("one of another version", function()
      file:open():close()
      local text = file:read()
      assert.equal("\0\0\0\3", text:sub(61, 64)) -- where SQLite keeps user_version
      assert_refused(text:sub(1, 60) .. "\0\0\0\9" .. text:sub(65), "another version")
    end)

    it("a truncated one, at any length", function()
      local whole = written()
      for length = 1, #whole - 1, 797 do
        assert_refused(whole:sub(1, length), "it is ")
      end
      assert_refused(whole:sub(1, -2), "it is damaged")
      assert_refused(whole:sub(1, 4096) .. ("\0"):rep(#whole - 4096), "it is damaged")
    end)

    it("one with a page that was never written", function()
      local whole, page = written(), 4096
      for last = 2 * page, #whole, page do
        local damaged = whole:sub(1, last - page) .. ("\0"):rep(page) .. whole:sub(last + 1)
        assert_refused(damaged, "it is damaged")
      end
    end)

    it("one whose tables are not as they were made", function()
      file:open():close()
      local text, count = file:read():gsub("started_at REAL", "started_zt REAL")
      assert.equal(1, count)
      assert_refused(text, "it is damaged")
    end)

    it("one that another process has open", function()
      local first = file:open()
      local second, message = file:open()
      assert.is_nil(second)
      assert.matches("it is in use by another run", message)
      assert.is_true(first:note("a", started "a"))
      first:close()
      assert.truthy(file:open():known "a")
    end)

    it("a path where no file can be", function()
      local state, message = fleet_state.open { path = file.path .. "/state" }
      assert.is_nil(state)
      assert.matches("it cannot be opened", message)
    end)
  end)

  it("treats names that are special to SQLite as names of files", function()
    for _, name in ipairs { ":memory:", "file:autopilot-state?mode=memory" } do
      local state = assert(fleet_state.open { path = name })
      state:close()
      assert.truthy(os.remove(name))
    end
  end)

  it("says what to install if LuaDBI is missing", function()
    local loaded, searched = package.loaded.DBI, package.preload.DBI
    package.loaded.DBI = nil
    package.preload.DBI = function()
      error "module 'DBI' not found"
    end
    local state, message = file:open()
    package.loaded.DBI, package.preload.DBI = loaded, searched
    assert.is_nil(state)
    assert.matches("install lua%-dbi%-sqlite3", message)
  end)
end)

describe("the files of a fleet's state", function()
  local folder, remove

  before_each(function()
    folder, remove = files.folder()
  end)

  after_each(function()
    remove()
  end)

  local function shell(command)
    local pipe = io.popen(("cd '%s' && %s"):format(folder, command))
    local output = pipe:read "*a"
    pipe:close()
    return output
  end

  local function open()
    return fleet_state.open { path = folder .. "/state" }
  end

  it("are private to their owner, those of SQLite too, whatever their mode was before", function()
    for _, before in ipairs { "true", "touch state; chmod 666 state", "chmod 644 state*" } do
      shell(before)
      local state = assert(open())
      state:note("a", started "a.example")
      local modes = shell "stat -c '%a %n' *"
      state:close()
      for line in modes:gmatch "[^\n]+" do
        assert.matches("^600 ", line)
      end
      assert.matches("600 state\n", modes)
      assert.matches("600 state%-wal\n", modes)
    end
  end)

  it("are refused, and the target is unchanged, if they are symbolic links", function()
    shell "echo mine >target; ln -s target state"
    local state, message = open()
    assert.is_nil(state)
    assert.matches(": it is a symbolic link: name the file itself$", message)
    assert.equal("mine\n", files.read(folder .. "/target"))
    shell "rm state; ln -s nothing state"
    assert.is_nil((open()))
    assert.is_nil(core.file_kind(folder .. "/nothing"))
    for _, suffix in ipairs { "-wal", "-journal", "-shm" } do
      shell(("rm -f state*; ln -s target state%s"):format(suffix))
      state, message = open()
      assert.is_nil(state)
      assert.truthy(
        message:find(("state%s: it is a symbolic link"):format(suffix), 1, true),
        message
      )
      assert.is_nil(core.file_kind(folder .. "/state"))
    end
    assert.equal("mine\n", files.read(folder .. "/target"))
  end)

  it("are refused with a message if the name is not a file's", function()
    shell "mkfifo pipe; mkdir folder"
    for path, expected in pairs {
      [folder .. "/pipe"] = "it is a named pipe",
      [folder .. "/folder"] = "it is a folder",
      ["/dev/null"] = "it is a device",
      ["/dev/full"] = "it is a device",
      [folder .. "/none/state"] = "it cannot be opened, or its folder cannot be written",
    } do
      local state, message = fleet_state.open { path = path }
      assert.is_nil(state, path)
      assert.equal(("the state file %s: %s"):format(path, expected), message)
    end
  end)
end)
