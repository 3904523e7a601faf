-- core.read_waiting: reads the data that a pipe has now, and does not wait for more.

local core = require "autopilot.core"
local files = require "support.files"
local shell = require "autopilot.cli.emulate.shell"

-- Of which this process holds both ends.
local function pipe()
  local path, remove = files.temporary ""
  remove()
  shell.read('mkfifo "$1"', path)
  local both = assert(io.open(path, "r+b"))
  local writer = assert(io.open(path, "wb"))
  return both, writer, remove
end

--- What comes next, or nil and why there is nothing more.
local function next_of(file)
  local text, message
  repeat
    text, message = core.read_waiting(file)
  until text ~= false or core.sleep(0.01)
  return text, message
end

describe("core.read_waiting", function()
  it("gives the available data, or false when there is none yet", function()
    local reader, writer, remove = pipe()
    assert.is_false(core.read_waiting(reader))
    writer:write "one\ntw"
    writer:flush()
    assert.equal("one\ntw", core.read_waiting(reader))
    assert.is_false(core.read_waiting(reader))
    writer:write "o\n\0"
    writer:flush()
    assert.equal("o\n\0", core.read_waiting(reader))
    writer:close()
    reader:close()
    remove()
  end)

  it("gives nil at the end, each time", function()
    local reader = io.popen("printf last", "r")
    assert.equal("last", next_of(reader))
    for _ = 1, 2 do
      local text, message = next_of(reader)
      assert.is_nil(text)
      assert.is_nil(message)
    end
    reader:close()
  end)

  it("gives nil and the reason for an unreadable stream", function()
    local folder = assert(io.open("/", "rb"))
    local text, message = core.read_waiting(folder)
    folder:close()
    assert.is_nil(text)
    assert.matches("^error %d+ of the system$", message)
  end)

  it("raises for anything but an open file", function()
    local file = assert(io.open("/dev/null", "rb"))
    file:close()
    for _, value in ipairs { file, 1, {}, "text" } do
      assert.is_false((pcall(core.read_waiting, value)))
    end
  end)
end)
