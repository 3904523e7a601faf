-- Files of the command: written as a whole, and never lost.

local core = require "autopilot.core"
local files = require "support.files"
local write_file = require "autopilot.cli.output_file"

describe("a file that the command writes", function()
  local folder, remove, path

  before_each(function()
    folder, remove = files.folder()
    path = folder .. "/file"
  end)

  after_each(function()
    remove()
  end)

  --- The names in the folder.
  local function names()
    local listing = assert(io.popen(("ls -A '%s'"):format(folder)))
    local text = listing:read "*a"
    listing:close()
    return text
  end

  it("replaces the former one, and is its owner's alone if it is secret", function()
    files.write(path, "former")
    assert.is_nil(write_file(path, "new"))
    assert.equal("new", files.read(path))
    assert.is_nil(write_file(path, "secret", true))
    assert.equal("secret", files.read(path))
    assert.is_false((select(3, core.file_kind(path))))
    assert.equal("file\n", names())
  end)

  it("is not changed where it is only asked whether it can be written", function()
    files.write(path, "former")
    assert.is_nil(write_file(path))
    assert.is_nil(write_file(path, nil, true))
    assert.equal("former", files.read(path))
    assert.equal("file\n", names())
    assert.equal("No such file or directory", write_file(folder .. "/none/file"))
  end)

  it("is kept beside the former one, and named, where it cannot take its place", function()
    local rename, os_remove = os.rename, os.remove
    local function refuse()
      return nil, "refused"
    end
    files.write(path, "former")
    rawset(os, "rename", refuse)
    rawset(os, "remove", refuse)
    local complaint = write_file(path, "secret", true)
    rawset(os, "rename", rename)
    rawset(os, "remove", os_remove)
    assert.equal(("it cannot be replaced by %s.new"):format(path), complaint)
    assert.equal("secret", files.read(path .. ".new"))
    assert.equal("former", files.read(path))
  end)

  it("does not end the former one where the file beside it is gone", function()
    local rename = os.rename
    files.write(path, "former")
    rawset(os, "rename", function(new)
      os.remove(new) -- as another process does that replaces the same file
      return nil, "No such file or directory"
    end)
    local complaint = write_file(path, "secret", true)
    rawset(os, "rename", rename)
    assert.is_truthy(complaint)
    assert.equal("former", files.read(path))
  end)

  it("is refused by the name of what is in its way", function()
    os.execute(("mkdir '%s.new'"):format(path))
    assert.equal(path .. ".new cannot be made", write_file(path, "secret", true))
  end)
end)
