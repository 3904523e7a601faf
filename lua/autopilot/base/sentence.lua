--- Makes one clean line out of a text that a service sent.
--
-- A clean line is valid UTF-8, has no characters that control a terminal or change the direction of writing
-- (a service must not forge a line of a log), only single spaces, and a bounded length. The work is linear.

local sentence = {}

-- Bytes of a text that are read: ten times as many as the longest message that was seen.
local longest_line = 16384

local replacement = "\239\191\189" -- U+FFFD
local ellipsis = "\226\128\166" -- U+2026

--- The number of bytes of the UTF-8 sequence at `position`; nil when it is invalid (RFC 3629: no
-- overlong forms, no surrogates, nothing above U+10FFFF).
local function sequence_length(text, position)
  local first, second, third, fourth = text:byte(position, position + 3)
  local function follows(byte, low, high)
    return byte ~= nil and byte >= (low or 0x80) and byte <= (high or 0xBF)
  end
  if first < 0x80 then
    return 1
  elseif first >= 0xC2 and first <= 0xDF then
    return follows(second) and 2 or nil
  elseif first >= 0xE0 and first <= 0xEF then
    local low, high = first == 0xE0 and 0xA0, first == 0xED and 0x9F
    return follows(second, low, high) and follows(third) and 3 or nil
  elseif first >= 0xF0 and first <= 0xF4 then
    local low, high = first == 0xF0 and 0x90, first == 0xF4 and 0x8F
    return follows(second, low, high) and follows(third) and follows(fourth) and 4 or nil
  end
  return nil
end

-- Invisible characters: controls, soft hyphen, direction marks, zero width, line ends, byte order mark,
-- annotations, tags.
local hidden = {
  "^\194[\128-\159\173]", -- U+0080 to U+009F, U+00AD
  "^\216\156", -- U+061C
  "^\225\160\142", -- U+180E
  "^\226\128[\139-\143\168-\174]", -- U+200B to U+200F, U+2028 to U+202E
  "^\226\129[\160-\175]", -- U+2060 to U+206F
  "^\239\187\191", -- U+FEFF
  "^\239\191[\185-\187]", -- U+FFF9 to U+FFFB
  "^\243\160[\128\129]", -- U+E0000 to U+E007F
}

local function is_hidden(character)
  if character:byte() < 0x80 then
    return false
  end
  for _, pattern in ipairs(hidden) do
    if character:find(pattern) then
      return true
    end
  end
  return false
end

--- The character, or the run of ASCII characters, at `position`, and its length in the text in bytes.
local function next_part(text, position)
  local run = text:match("^[ -~]+", position)
  local length = run and #run or sequence_length(text, position)
  if not length then
    return replacement, 1
  end
  return run or text:sub(position, position + length - 1), length
end

--- The text with U+FFFD in place of each byte that is in no character: valid UTF-8.
---@param text string
---@return string
function sentence.valid(text)
  local parts, position = {}, 1
  while position <= #text do
    local part, length = next_part(text, position)
    parts[#parts + 1] = part
    position = position + length
  end
  return table.concat(parts)
end

--- At most `limit` characters, the last of them an ellipsis where some are left out.
---@param text string one line
---@param limit integer
---@return string
local function shown(text, limit)
  local parts, room, position = {}, limit - 1, 1
  while position <= #text do
    local part, length = next_part(text, position)
    if not is_hidden(part) then
      local width = part:byte() < 0x80 and #part or 1
      if width > room then
        parts[#parts + 1] = (width > 1 and part:sub(1, room) or "") .. ellipsis
        break
      end
      room = room - width
      parts[#parts + 1] = part
    end
    position = position + length
  end
  return table.concat(parts)
end

--- The text as one line of visible characters, for printing. Blanks are kept as they are.
---@param text string
---@return string
function sentence.visible(text)
  text = text:gsub("[%z\1-\31\127]", " "):gsub("\194[\128-\159]", " ")
  return shown(text, math.huge)
end

--- The text as one line: white space and ASCII control characters become single spaces.
---@param text string
---@return string
function sentence.line(text)
  local line = text:sub(1, longest_line):gsub("[%z\1-\32\127]+", " ")
  return (line:gsub("^ ", ""):gsub(" $", ""))
end

--- The text as one clean line, or nil when nothing is left of it.
---@param text string
---@param limit integer? characters; default 1000
---@return string?
function sentence.clean(text, limit)
  local line = sentence.line(shown(sentence.line(text), limit or 1000))
  return line ~= "" and line or nil
end

return sentence
