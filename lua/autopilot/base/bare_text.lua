--- A text without its escapes that still knows where each of its characters came from.
--
-- Two kinds of escapes: those of JSON, also of JSON inside JSON, and percent-encoding. Nothing is
-- validated: what is no escape stands for itself.

---@class autopilot.redact.BareText
---@field text string
---@field starts integer[] where each piece begins in `text`, not descending; the last is its end
---@field origins integer[] where each piece begins in the text that this one was made of
local BareText = {}
BareText.__index = BareText

--- A character of the Basic Multilingual Plane in UTF-8.
local function utf8_character(code)
  if code < 0x80 then
    return string.char(code)
  elseif code < 0x800 then
    return string.char(0xC0 + math.floor(code / 64), 0x80 + code % 64)
  end
  local middle = 0x80 + math.floor(code / 64) % 64
  return string.char(0xE0 + math.floor(code / 4096), middle, 0x80 + code % 64)
end

local control_characters = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

--- Backslashes stand for nothing, however many and however written: JSON inside JSON doubles them.
local function read_backslashes(text, at)
  local finish, is_backslash = at - 1, true
  while is_backslash do
    finish = select(2, text:find("^\\*", finish + 1))
    is_backslash = text:find("^u005[Cc]", finish + 1) ~= nil
    finish = is_backslash and finish + 5 or finish
  end
  local letter = text:sub(finish + 1, finish + 1)
  local digits = letter == "u" and text:match("^%x%x%x%x", finish + 2)
  if digits then
    return utf8_character(tonumber(digits, 16)), finish + 5
  elseif control_characters[letter] then
    return control_characters[letter], finish + 1
  end
  return "", finish
end

local function read_percent_sign(text, at)
  local digits = text:match("^%x%x", at + 1)
  if digits then
    return string.char(tonumber(digits, 16)), at + 2
  end
  return "%", at
end

--- `read_escape(text, at)` returns what the escape at `at` stands for and where it ends.
local function strip(text, sign, read_escape)
  local pieces, starts, origins, length, position = {}, {}, {}, 0, 1
  local function keep(piece, origin)
    local count = #pieces + 1
    pieces[count], starts[count], origins[count] = piece, length + 1, origin
    length = length + #piece
  end
  local at = text:find(sign, 1, true)
  while at do
    if at > position then
      keep(text:sub(position, at - 1), position)
    end
    local plain, finish = read_escape(text, at)
    keep(plain, at)
    position = finish + 1
    at = text:find(sign, position, true)
  end
  keep(text:sub(position), position)
  keep("", #text + 1)
  return setmetatable({ text = table.concat(pieces), starts = starts, origins = origins }, BareText)
end

--- Without JSON's escapes, at whatever depth.
---@param text string
---@return autopilot.redact.BareText
function BareText.of_json(text)
  return strip(text, "\\", read_backslashes)
end

--- Without percent-encoding, one layer of it.
---@param text string
---@return autopilot.redact.BareText
function BareText.of_percent(text)
  return strip(text, "%", read_percent_sign)
end

--- Where the character at `position` comes from, with the escape that it belongs to.
---@param position integer 1 to one behind the end
---@return integer
function BareText:origin(position)
  local starts = self.starts
  local low, high = 1, #starts
  while low < high do
    local middle = math.floor((low + high + 1) / 2)
    if starts[middle] <= position then
      low = middle
    else
      high = middle - 1
    end
  end
  -- An escape that stands for nothing belongs to what follows it.
  while low > 1 and starts[low] == position and starts[low - 1] == position do
    low = low - 1
  end
  return self.origins[low] + position - starts[low]
end

return BareText
