--- Text in UTF-16 with a byte order mark, turned into UTF-8: what Excel saves as "Unicode Text", and what
-- `>` in Windows PowerShell writes. Text without such a mark is passed on as it is.

local utf16 = {}

local little_endian, big_endian = "\255\254", "\254\255"

-- U+FFFD, for half of a surrogate pair and for half of a code unit.
local replacement = "\239\191\189"

--- The UTF-8 of a code point.
local function encode(point)
  if point < 0x80 then
    return string.char(point)
  end
  local bytes, limit = {}, 0x40 -- what fits beside the length in the first byte
  while point >= limit do
    table.insert(bytes, 1, string.char(0x80 + point % 0x40))
    point = math.floor(point / 0x40)
    limit = #bytes == 1 and 0x20 or limit / 2
  end
  return string.char(0x100 - 2 * limit + point) .. table.concat(bytes)
end

--- A converter of pieces that end after a whole code unit; half of a surrogate pair is kept for the next.
local function converter(is_big)
  local high -- the first half of a surrogate pair

  local function convert(first, second)
    first, second = first:byte(), second:byte()
    local unit = is_big and first * 256 + second or second * 256 + first
    local is_low = unit >= 0xDC00 and unit < 0xE000
    local before = high and not is_low and replacement or ""
    local pair = high and is_low and 0x10000 + (high - 0xD800) * 0x400 + unit - 0xDC00
    high = unit >= 0xD800 and unit < 0xDC00 and unit or nil
    if high then
      return before
    end
    return before .. (is_low and not pair and replacement or encode(pair or unit))
  end

  return function(text)
    return (text:gsub("(.)(.)", convert))
  end, function()
    return high and replacement or ""
  end
end

--- Reads UTF-16 as UTF-8.
local function decoding(read, is_big, rest)
  local convert, unfinished = converter(is_big)
  local is_at_end = false
  return function()
    if is_at_end then
      return nil
    end
    local piece, message = read()
    if piece then
      local text = rest .. piece
      local even = #text - #text % 2
      rest = text:sub(even + 1)
      return convert(text:sub(1, even))
    elseif piece == nil and not message then
      is_at_end = true
      local last = unfinished() .. (rest ~= "" and replacement or "")
      return last ~= "" and last or nil
    end
    return piece, message
  end
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
  local next_piece
  local beginning = ""
  return function()
    if next_piece then
      return next_piece()
    end
    local piece, message = read()
    beginning = beginning .. (piece or "")
    if piece and #beginning < 2 then
      return ""
    elseif not piece and (piece == false or beginning == "") then
      return piece, message
    end
    local is_marked = utf16.is_marked(beginning)
    local is_given = false
    local function first_then_rest()
      if not is_given then
        is_given = true
        return is_marked and beginning:sub(3) or beginning
      end
      return read()
    end
    next_piece = is_marked and decoding(first_then_rest, beginning:sub(1, 2) == big_endian, "")
      or first_then_rest
    return next_piece()
  end
end

return utf16
