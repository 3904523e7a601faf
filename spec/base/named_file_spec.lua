-- Files that a user names.

local files = require "support.files"
local named_file = require "autopilot.base.named_file"

describe("autopilot.base.named_file", function()
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

  it("says why something is not a file, and does not open it", function()
    for path, kind in pairs { [folder] = "folder", ["/dev/zero"] = "device" } do
      local expected = path .. ": it is a " .. kind
      assert.equal(expected, named_file.read_complaint(path))
      assert.same({ nil, expected }, { named_file.read(path, 10, true) })
      assert.same({ nil, expected }, { named_file.open(path, true) })
    end
  end)

  it("says why a file cannot be read, in one line", function()
    files.write(folder .. "/empty", "")
    files.write(folder .. "/large", ("x"):rep(11))
    for path, complaint in pairs {
      [folder .. "/none\n"] = folder .. "/none?: No such file or directory",
      [folder .. "/empty"] = folder .. "/empty: it is empty",
      [folder .. "/large"] = folder .. "/large: it is too large",
      [pipe] = pipe .. ": it is a named pipe",
      ["a\0b"] = "a file name must not contain NUL",
    } do
      assert.same({ nil, complaint }, { named_file.read(path, 10) })
    end
    assert.equal(folder .. "/empty: it is empty", named_file.read_complaint(folder .. "/empty"))
    assert.equal(pipe .. ": it is a named pipe", named_file.read_complaint(pipe))
    assert.is_nil(named_file.read_complaint(folder .. "/large"))
  end)

  it("reads from a pipe where that is allowed", function()
    write_into_pipe "echo text"
    assert.same({ "text\n", false }, { named_file.read(pipe, 10, true) })
  end)
end)
