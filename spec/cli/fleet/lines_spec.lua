-- The lines of a list of tenants, out of the bytes of a file.

local files = require "support.files"
local list_lines = require "autopilot.cli.fleet.lines"
local seeded_random = require "support.seeded_random"

describe("the lines of a file", function()
  it("tells the length of a list, that of UTF-16 as if it were UTF-8", function()
    for text, expected in pairs { ["a.com\n"] = 6, ["\255\254a\0.\0b\0\n\0"] = 5 } do
      local path, remove = files.temporary(text)
      local next_line, size = list_lines.open(path, io.stdin)
      assert.equal(expected, size)
      assert.matches("^a%.", next_line())
      assert.is_nil(next_line())
      remove()
    end
  end)
end)

local function of_pieces(pieces, longest, ending)
  local index = 0
  return list_lines.reader(function()
    index = index + 1
    if pieces[index] == nil then
      return nil, ending
    end
    return pieces[index]
  end, longest or 100)
end

-- All lines, "?" for each time that no line was ready, and the message at the end.
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
  it("joins pieces of lines, and needs no line feed at the end", function()
    assert.equal("a|bc||d", all(of_pieces { "a\nb", "c\n", "\nd" }))
    assert.equal("a", all(of_pieces { "a\n" }))
    assert.equal("", all(of_pieces {}))
  end)

  it("ends lines at LF, CR LF and CR, even if the input is split there", function()
    assert.equal("a|b\0c", all(of_pieces { "a\r", "\nb\0c" }))
    assert.equal("a||b|c|", all(of_pieces { "a\r", "\r\nb\r", "c\n", "\r" }))
    assert.equal("a|?|b", all(of_pieces { "a\r", false, "\nb" }))
  end)

  it("reads UTF-16 that has a byte order mark", function()
    assert.equal("a|\195\164", all(of_pieces { "\255", "\254a\0\r", "\0\n\0\228\0" }))
  end)

  it("returns no incomplete line before the end of the input", function()
    assert.equal("?|?|abc|?|d", all(of_pieces { false, "a", false, "bc\nd", false }))
  end)

  it("returns the beginning of a line that is too long, and continues behind it", function()
    local lines = all(of_pieces({ "abc", "defg", "hi\nabcd\nabc", "de\n", "xy" }, 4))
    assert.equal("abcde|abcd|abcde|xy", lines)
  end)

  it("keeps no more of a line than it returns", function()
    local left = 2000
    local next_line = list_lines.reader(function()
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

  it("reports a failure, and does not return an incomplete line then", function()
    local lines, message = all(of_pieces({ "a\nb" }, 100, "Input/output error"))
    assert.equal("a", lines)
    assert.equal("Input/output error", message)
  end)

  it("returns the same lines, however the input is split", function()
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

local function decoded(pieces, ending)
  return all(of_pieces(pieces, 100, ending))
end

local replacement = "\239\191\189"

describe("a reader of UTF-16", function()
  it("passes other input on unchanged", function()
    for _, text in ipairs { "", "a", "\255", "\254a", "ab\255\254", "\239\187\191a", "a\0b\0" } do
      assert.equal(text, (decoded { text }))
    end
    assert.equal("?|?|abc", (decoded { "a", false, "b", false, "c" }))
  end)

  it("decodes code points of every length, in both byte orders", function()
    local expected = "A\194\128\223\191\224\160\128\239\191\191\240\144\128\128\244\143\191\191"
    local big = "\0A\0\128\7\255\8\0\255\255\216\0\220\0\219\255\223\255"
    local little = big:gsub("(.)(.)", "%2%1")
    assert.equal(expected, (decoded { "\254\255" .. big }))
    assert.equal(expected, (decoded { "\255\254" .. little }))
  end)

  it("replaces incomplete pairs and units with U+FFFD", function()
    assert.equal(replacement .. "A", (decoded { "\254\255\216\0\0A" }))
    assert.equal(replacement .. "A", (decoded { "\254\255\220\0\0A" }))
    assert.equal(replacement .. replacement, (decoded { "\254\255\216\0\216\0" }))
    assert.equal("A" .. replacement, (decoded { "\254\255\0A\0" }))
  end)

  it("reports a failure", function()
    local text, message = decoded({ "\254\255\0A\0\n\0B" }, "Input/output error")
    assert.equal("A", text)
    assert.equal("Input/output error", message)
  end)

  it("returns the same text, however the input is split", function()
    local chance = seeded_random.new "UTF16_SEED"
    for _ = 1, 300 do
      local bytes = { chance:pick { "\255\254", "\254\255" } }
      for place = 1, chance:integer(0, 20) do
        bytes[place + 1] = string.char(chance:pick { 0, 65, 216, 220, chance:integer(0, 255) })
      end
      local text, pieces, from = table.concat(bytes), {}, 1
      while from <= #text do
        local size = chance:integer(1, 5)
        pieces[#pieces + 1] = text:sub(from, from + size - 1)
        from = from + size
      end
      assert.equal(decoded { text }, (decoded(pieces)), tostring(chance))
    end
  end)
end)
