-- Files that a user names for the command.

local files = require "support.files"
local input_file = require "autopilot.cli.input_file"

describe("autopilot.cli.input_file", function()
  local folder, remove, pipe

  before_each(function()
    folder, remove = files.folder()
    pipe = folder .. "/pipe"
    os.execute(("mkfifo '%s'"):format(pipe))
  end)

  after_each(function()
    remove()
  end)

  --- Opens the pipe's other end, so that opening it does not wait.
  local function write_into_pipe()
    os.execute(("echo text >'%s' 2>/dev/null &"):format(pipe))
  end

  it("says what it is that is no file, and does not open it", function()
    for path, kind in pairs { [folder] = "folder", ["/dev/zero"] = "device" } do
      local expected = path .. ": it is a " .. kind
      assert.equal(expected, input_file.complaint(path))
      assert.same({ nil, expected }, { input_file.read(path, 10) })
      assert.same({ nil, expected }, { input_file.lines(path, io.stdin, 10) })
    end
  end)

  it("reads from a pipe", function()
    write_into_pipe()
    assert.is_nil(input_file.complaint(pipe))
    write_into_pipe()
    assert.equal("text\n", (input_file.read(pipe, 10)))
  end)

  it("tells how long a list is, UTF-16 as the UTF-8 that its lines are read in", function()
    for text, expected in pairs { ["a.com\n"] = 6, ["\255\254a\0.\0b\0\n\0"] = 5 } do
      local path = folder .. "/list"
      files.write(path, text)
      local next_line, size, close = input_file.lines(path, io.stdin, 100)
      assert.equal(expected, size)
      assert.matches("^a%.", next_line())
      assert.is_nil(next_line())
      close()
    end
  end)
end)
