--- Text in UTF-16 with a byte order mark, turned into UTF-8: Excel saves "Unicode Text" so, and `>` in Windows
-- PowerShell writes it. Text without such a mark is passed on unchanged.

local utf8_of_point = require("autopilot.base.entities").utf8

local utf16 = {}

local little_endian, big_endian = "\255\254", "\254\255"

-- U+FFFD, for half of a surrogate pair and for half of a code unit.
local replacement = "\239\191\189"

local function is_high(unit)
  return unit >= 0xD800 and unit < 0xDC00
end

local function is_low(unit)
  return unit >= 0xDC00 and unit < 0xE000
end

--- The code unit of two bytes.
local function unit_of(first, second, is_big)
  first, second = first:byte(), second:byte()
  return is_big and first * 256 + second or second * 256 + first
end

--- The UTF-8 of a whole text without its byte order mark.
local function decode(bytes, is_big)
  local parts, high = {}, nil
  for first, second in bytes:gmatch "(.)(.?)" do
    local unit = second ~= "" and unit_of(first, second, is_big)
    if high and unit and is_low(unit) then
      local point = 0x10000 + (high - 0xD800) * 0x400 + unit - 0xDC00
      parts[#parts] = utf8_of_point(point) -- instead of the replacement for the first half alone
      high = nil
    elseif not unit or is_high(unit) or is_low(unit) then
      parts[#parts + 1] = replacement
      high = unit and is_high(unit) and unit
    else
      parts[#parts + 1] = utf8_of_point(unit)
      high = nil
    end
  end
  return table.concat(parts)
end

--- How many of the bytes can be decoded before the rest is there: half of a unit or of a pair is not.
local function decodable(bytes, is_big)
  local count = #bytes - #bytes % 2
  local last = count > 0
    and unit_of(bytes:sub(count - 1, count - 1), bytes:sub(count, count), is_big)
  return last and is_high(last) and count - 2 or count
end

--- Whether a text that begins so is UTF-16 with a byte order mark.
---@param beginning string two bytes or more
---@return boolean
function utf16.is_marked(beginning)
  local mark = beginning:sub(1, 2)
  return mark == little_endian or mark == big_endian
end

--- The same text as UTF-8, in pieces as it comes. The first is given when two bytes are there, or the end.
---@param read fun(): string|false|nil, string? the next piece; false: none yet; nil: the end, or with a message a failure
---@return fun(): string|false|nil, string? read
function utf16.reader(read)
  local has_begun, is_marked, is_big = false, false, false
  local rest = "" -- what cannot be decoded yet
  return function()
    local piece, message = read()
    if not piece and (piece == false or message or rest == "") then
      return piece, message
    end
    local bytes = rest .. (piece or "")
    if not has_begun then
      if piece and #bytes < 2 then
        rest = bytes
        return ""
      end
      has_begun, is_marked, is_big = true, utf16.is_marked(bytes), bytes:sub(1, 2) == big_endian
      bytes = is_marked and bytes:sub(3) or bytes
    end
    local count = is_marked and piece and decodable(bytes, is_big) or #bytes
    rest = bytes:sub(count + 1)
    bytes = bytes:sub(1, count)
    return is_marked and decode(bytes, is_big) or bytes
  end
end

return utf16
