-- UTF-16 with a byte order mark, read as UTF-8 in pieces.

local seeded_random = require "support.seeded_random"
local utf16 = require "autopilot.cli.utf16"

local function all(pieces, ending)
  local index = 0
  local read = utf16.reader(function()
    index = index + 1
    if pieces[index] == nil then
      return nil, ending
    end
    return pieces[index]
  end)
  local parts = {}
  while true do
    local piece, message = read()
    if piece == nil then
      return table.concat(parts), message
    end
    parts[#parts + 1] = piece or "?"
  end
end

local replacement = "\239\191\189"

describe("a reader of UTF-16", function()
  it("passes on what has no byte order mark of it", function()
    for _, text in ipairs { "", "a", "\255", "\254a", "ab\255\254", "\239\187\191a", "a\0b\0" } do
      assert.equal(text, (all { text }))
    end
    assert.equal("?ab?c", (all { "a", false, "b", false, "c" }))
  end)

  it("gives code points of every length, in both byte orders", function()
    local expected = "A\194\128\223\191\224\160\128\239\191\191\240\144\128\128\244\143\191\191"
    local big = "\0A\0\128\7\255\8\0\255\255\216\0\220\0\219\255\223\255"
    local little = big:gsub("(.)(.)", "%2%1")
    assert.equal(expected, (all { "\254\255" .. big }))
    assert.equal(expected, (all { "\255\254" .. little }))
  end)

  it("puts a sign of replacement for half a pair and for half a unit", function()
    assert.equal(replacement .. "A", (all { "\254\255\216\0\0A" }))
    assert.equal(replacement .. "A", (all { "\254\255\220\0\0A" }))
    assert.equal(replacement .. replacement, (all { "\254\255\216\0\216\0" }))
    assert.equal("A" .. replacement, (all { "\254\255\0A\0" }))
  end)

  it("tells of a failure", function()
    local text, message = all({ "\254\255\0A\0" }, "Input/output error")
    assert.equal("A", text)
    assert.equal("Input/output error", message)
  end)

  it("gives the same text, wherever it is cut", function()
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
      assert.equal(all { text }, (all(pieces)), tostring(chance))
    end
  end)
end)
