-- Files that a user names for the command, and their lines.

local files = require "support.files"
local input = require "autopilot.cli.input"
local seeded_random = require "support.seeded_random"

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

  --- Opens the pipe's other end, so that opening it does not wait.
  local function write_into_pipe()
    os.execute(("echo text >'%s' 2>/dev/null &"):format(pipe))
  end

  it("says what it is that is no file, and does not open it", function()
    for path, kind in pairs { [folder] = "folder", ["/dev/zero"] = "device" } do
      local expected = path .. ": it is a " .. kind
      assert.equal(expected, input.complaint(path))
      assert.same({ nil, expected }, { input.read(path, 10) })
      assert.same({ nil, expected }, { input.lines(path, io.stdin, 10) })
    end
  end)

  it("reads from a pipe", function()
    write_into_pipe()
    assert.is_nil(input.complaint(pipe))
    write_into_pipe()
    assert.equal("text\n", (input.read(pipe, 10)))
  end)

  it("tells how long a list is, UTF-16 as the UTF-8 that its lines are read in", function()
    for text, expected in pairs { ["a.com\n"] = 6, ["\255\254a\0.\0b\0\n\0"] = 5 } do
      local path = folder .. "/list"
      files.write(path, text)
      local next_line, size, close = input.lines(path, io.stdin, 100)
      assert.equal(expected, size)
      assert.matches("^a%.", next_line())
      assert.is_nil(next_line())
      close()
    end
  end)
end)

local function of_pieces(pieces, longest, ending)
  local index = 0
  return input.line_reader(function()
    index = index + 1
    if pieces[index] == nil then
      return nil, ending
    end
    return pieces[index]
  end, longest or 100)
end

-- All lines, "?" where no line was there yet, and the message at the end.
local function all(next_line)
  local lines = {}
  while true do
    local line, message = next_line()
    if line == nil then
      return table.concat(lines, "|"), message
    end
    lines[#lines + 1] = line or "?"
  end
end

describe("a reader of lines", function()
  it("puts pieces together, and needs no line feed at the end", function()
    assert.equal("a|bc||d", all(of_pieces { "a\nb", "c\n", "\nd" }))
    assert.equal("a", all(of_pieces { "a\n" }))
    assert.equal("", all(of_pieces {}))
  end)

  it("ends lines at LF, CR LF and CR, wherever the text is cut", function()
    assert.equal("a|b\0c", all(of_pieces { "a\r", "\nb\0c" }))
    assert.equal("a||b|c|", all(of_pieces { "a\r", "\r\nb\r", "c\n", "\r" }))
    assert.equal("a|?|b", all(of_pieces { "a\r", false, "\nb" }))
  end)

  it("reads UTF-16 that has a byte order mark", function()
    assert.equal("a|\195\164", all(of_pieces { "\255", "\254a\0\r", "\0\n\0\228\0" }))
  end)

  it("gives no part of a line that is not there to its end yet", function()
    assert.equal("?|?|abc|?|d", all(of_pieces { false, "a", false, "bc\nd", false }))
  end)

  it("gives the beginning of a line that is too long, and goes on behind it", function()
    local lines = all(of_pieces({ "abc", "defg", "hi\nabcd\nabc", "de\n", "xy" }, 4))
    assert.equal("abcde|abcd|abcde|xy", lines)
  end)

  it("keeps no more of a line than it gives", function()
    local left = 2000
    local next_line = input.line_reader(function()
      left = left - 1
      return left > 0 and ("x"):rep(1000) or nil
    end, 1000)
    collectgarbage()
    local before = collectgarbage "count"
    local line = next_line()
    assert.equal(1001, #line)
    collectgarbage()
    assert.is_true(collectgarbage "count" - before < 100)
  end)

  it("tells of a failure, and takes no part of a line for a line then", function()
    local lines, message = all(of_pieces({ "a\nb" }, 100, "Input/output error"))
    assert.equal("a", lines)
    assert.equal("Input/output error", message)
  end)

  it("gives the same lines, wherever the text is cut", function()
    local chance = seeded_random.new "LINES_SEED"
    for _ = 1, 300 do
      local letters = {}
      for index = 1, chance:integer(0, 40) do
        letters[index] = chance:pick { "a", "b", "\0", "\n", "\r" }
      end
      local text, pieces, from = table.concat(letters), {}, 1
      while from <= #text do
        local size = chance:integer(1, 9)
        pieces[#pieces + 1] = text:sub(from, from + size - 1)
        from = from + size
      end
      assert.equal(all(of_pieces { text }), (all(of_pieces(pieces))), tostring(chance))
    end
  end)
end)
