local core = require "autopilot.core"
local files = require "support.files"
local secret_file = require "autopilot.token.secret_file"
local token_world = require "support.token_world"

describe("autopilot.core.file_kind", function()
  it("tells whether every user may read a file", function()
    local modes = { ["600"] = false, ["640"] = false, ["644"] = true, ["604"] = true }
    for mode, expected in pairs(modes) do
      local path, remove = files.temporary("x", mode)
      assert.are.equal(expected, select(3, core.file_kind(path)))
      remove()
    end
  end)
end)

describe("autopilot.token.secret_file", function()
  local remove

  local function file(text, mode)
    local path
    path, remove = files.temporary(text, mode)
    return path
  end

  after_each(function()
    if remove then
      remove()
      remove = nil
    end
  end)

  it("returns the line without white space and byte order mark around it", function()
    for _, text in ipairs { "hush", "hush\n", "hush\r\n", "\239\187\191hush\r\n", " \n hush\t" } do
      assert.are.equal("hush", secret_file.read_line(file(text)))
      remove()
    end
  end)

  it("returns the whole text unchanged", function()
    assert.are.equal(" a\nb\0 \n", secret_file.read(file " a\nb\0 \n"))
  end)

  it("refuses a file that every user can read, by default", function()
    local path = file("hush-hush", "644")
    local text, message = secret_file.read_line(path)
    assert.is_nil(text)
    assert.is_truthy(message:find "can be read by every user")
    assert.is_truthy(message:find("chmod", 1, true))
    token_world.assert_nowhere("hush-hush", message)
    assert.are.equal("hush-hush", secret_file.read_line(path, true))
  end)

  it("names the program that removes the right on Windows", function()
    local path, config = file("hush-hush", "644"), package.config
    rawset(package, "config", "\\" .. config:sub(2))
    local _, message = secret_file.read_line(path)
    rawset(package, "config", config)
    assert.is_truthy(message:find('icacls /inheritance:r /grant:r "%USERNAME%:R"', 1, true))
    assert.is_nil(message:find("chmod", 1, true))
  end)

  it("reports faults of a file, without quoting it", function()
    for text, complaint in pairs {
      [""] = "it is empty",
      ["  \r\n\n"] = "it is empty",
      ["hush-a\nhush-b\n"] = "one line and nothing else",
      ["\255\254h\0u\0s\0h\0"] = "text in UTF-16: save it as UTF-8",
      ["\254\255\0h\0u\0s\0h"] = "text in UTF-16: save it as UTF-8",
      ["hush-a\0"] = "one line and nothing else",
      [("hush-"):rep(100000)] = "too large",
    } do
      local line, message = secret_file.read_line(file(text))
      remove()
      assert.is_nil(line)
      assert.is_truthy(message:find(complaint, 1, true), message)
      token_world.assert_nowhere("hush-", message)
    end
  end)

  it("survives an endless line of blanks", function()
    assert.are.equal("x", secret_file.read_line(file((" "):rep(200000) .. "x" .. (" "):rep(50000))))
  end)

  it("names a file that is missing, is a folder, or has no name", function()
    local text, message = secret_file.read "/nowhere/at\nall"
    assert.is_nil(text)
    assert.is_truthy(message:find("/nowhere/at?all", 1, true))
    text, message = secret_file.read("/", true)
    assert.is_nil(text)
    assert.equal("/: it is a folder", message)
    assert.is_nil((secret_file.read "a\0b"))
  end)

  it("does not wait for a named pipe, and reads no device", function()
    local folder
    folder, remove = files.folder()
    os.execute(("mkfifo '%s/pipe'"):format(folder))
    for path, expected in pairs {
      [folder .. "/pipe"] = "it is a named pipe",
      ["/dev/zero"] = "it is a device",
      ["/dev/null"] = "it is a device",
    } do
      local text, message = secret_file.read(path, true)
      assert.is_nil(text)
      assert.equal(path .. ": " .. expected, message)
    end
  end)
end)
