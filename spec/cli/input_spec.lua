-- Files that a user names for the command.

local files = require "support.files"
local input = require "autopilot.cli.input"

describe("autopilot.cli.input", function()
  local folder, remove, pipe

  before_each(function()
    folder, remove = files.folder()
    pipe = folder .. "/pipe"
    os.execute(("mkfifo '%s'"):format(pipe))
  end)

  after_each(function()
    remove()
  end)

  --- Runs a command that has the pipe's other end, so that opening it does not wait.
  local function write_into_pipe(command)
    os.execute(("%s >'%s' 2>/dev/null &"):format(command, pipe))
  end

  it("says what it is that is no file, and does not open it", function()
    for path, kind in pairs { [folder] = "folder", ["/dev/zero"] = "device" } do
      local expected = path .. ": it is a " .. kind
      assert.equal(expected, input.complaint(path))
      assert.same({ nil, expected }, { input.read(path, 10) })
      assert.same({ nil, expected }, { input.open(path) })
    end
  end)

  it("reads from a pipe", function()
    write_into_pipe ":"
    assert.is_nil(input.complaint(pipe))
    write_into_pipe "echo text"
    assert.equal("text\n", (input.read(pipe, 10)))
  end)
end)
