--- Makes one clean line for people out of whatever text a service sent.
--
-- Clean is: valid UTF-8, no control or direction-changing characters (a service must not write to a
-- terminal or forge a line of a log), single spaces, a bounded length. All of it is linear.

local sentence = {}

-- Longer than any message seen, address and ids included, by a factor of ten.
local longest_line = 16384

local replacement = "\239\191\189" -- U+FFFD
local ellipsis = "\226\128\166" -- U+2026

--- How many bytes the UTF-8 sequence at `position` has, or nil when it is none (RFC 3629: no
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

--- Whether a character has no shape of its own but an effect: U+0080 to U+009F (controls), U+2028 to
-- U+202E and U+2066 to U+2069 (line ends and direction), U+FEFF.
local function is_hidden(character)
  return character:find "^\194[\128-\159]"
    or character:find "^\226\128[\168-\174]"
    or character:find "^\226\129[\166-\169]"
    or character == "\239\187\191"
end

--- The character or the run of ASCII at `position`, and how many bytes of the text it stands for.
local function next_part(text, position)
  local run = text:match("^[ -~]+", position)
  local length = run and #run or sequence_length(text, position)
  if not length then
    return replacement, 1
  end
  return run or text:sub(position, position + length - 1), length
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

--- The text as one line: white space and ASCII control characters are single spaces.
---@param text string
---@return string
function sentence.line(text)
  local line = text:sub(1, longest_line):gsub("[%z\1-\32\127]+", " ")
  return (line:gsub("^ ", ""):gsub(" $", ""))
end

--- One clean line, or nil when nothing is left of it.
---@param text string
---@param limit integer? characters; default 1000
---@return string?
function sentence.clean(text, limit)
  local line = sentence.line(shown(sentence.line(text), limit or 1000))
  return line ~= "" and line or nil
end

return sentence
