--- Makes one clean line out of a text that a service sent; and reads the character references of HTML: `&amp;`,
-- `&#38;`, `&#x26;`.
--
-- A clean line is valid UTF-8, has no characters that control a terminal or change the direction of writing
-- (a service must not forge a line of a log), only single spaces, and a bounded length. The work is linear.

local sentence = {}

-- Bytes of a text that are read: ten times as many as the longest message that was seen.
local longest_line = 16384

local replacement = "\239\191\189" -- U+FFFD
local ellipsis = "\226\128\166" -- U+2026

-- The characters of UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF); printable
-- ASCII characters in a row count as one part.
local valid = {
  "^[ -~]+",
  "^[%z\1-\31\127]",
  "^[\194-\223][\128-\191]",
  "^\224[\160-\191][\128-\191]",
  "^\237[\128-\159][\128-\191]",
  "^[\225-\236\238\239][\128-\191][\128-\191]",
  "^\240[\144-\191][\128-\191][\128-\191]",
  "^[\241-\243][\128-\191][\128-\191][\128-\191]",
  "^\244[\128-\143][\128-\191][\128-\191]",
}

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

--- The text that the first matching pattern finds at a position, or nil.
local function match_any(patterns, text, position)
  for _, pattern in ipairs(patterns) do
    local part = text:match(pattern, position)
    if part then
      return part
    end
  end
end

--- Calls `add` with each part of a text that `valid` matches, and with U+FFFD for each other byte. Ends when
-- `add` returns true.
local function each_part(text, add)
  local position = 1
  while position <= #text do
    local part = match_any(valid, text, position)
    if add(part or replacement) then
      return
    end
    position = position + (part and #part or 1)
  end
end

--- The text with U+FFFD in place of each byte that is in no character: valid UTF-8.
---@param text string
---@return string
function sentence.valid(text)
  local parts = {}
  each_part(text, function(part)
    parts[#parts + 1] = part
  end)
  return table.concat(parts)
end

--- The text, cut to `limit` characters with an ellipsis.
local function shown(text, limit)
  local parts, room = {}, limit - 1
  each_part(text, function(part)
    if part:byte() >= 0x80 and match_any(hidden, part, 1) then
      return false
    end
    local width = part:byte() < 0x80 and #part or 1
    local is_too_long = width > room
    if is_too_long then
      part = (width > 1 and part:sub(1, room) or "") .. ellipsis
    end
    room = room - width
    parts[#parts + 1] = part
    return is_too_long
  end)
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

-- ---- Character references ----------------------------------------------------------------------------

-- The names of printable ASCII characters (HTML, section 13.5), each before its character.
local names = [[
  excl! quot" QUOT" num# dollar$ percnt% amp& AMP& apos' lpar( rpar) ast* midast* plus+ comma,
  hyphen- dash- period. sol/ colon: semi; lt< LT< equals= gt> GT> quest? commat@ lsqb[ lbrack[
  bsol\ rsqb] rbrack] Hat^ lowbar_ UnderBar_ grave` DiacriticalGrave` lcub{ lbrace{ verbar|
  vert| VerticalLine| rcub} rbrace} tilde~
]]

local named = {}
for name, character in names:gmatch "(%a+)(%p)" do
  named[name] = character
end
for name in ("nbsp NonBreakingSpace Tab NewLine ensp emsp thinsp"):gmatch "%a+" do
  named[name] = " "
end
for name in ("shy zwnj zwj lrm rlm ZeroWidthSpace NoBreak"):gmatch "%a+" do
  named[name] = "" -- invisible
end

--- A character in UTF-8.
---@param code integer 0 to 0x10FFFF
---@return string
function sentence.utf8(code)
  if code < 0x80 then
    return string.char(code)
  end
  -- The first byte of a longer sequence has room for fewer bits.
  local following, lead, room = "", 0xC0, 0x20
  while true do
    following = string.char(0x80 + code % 64) .. following
    code = math.floor(code / 64)
    if code < room then
      return string.char(lead + code) .. following
    end
    lead, room = lead + room, room / 2
  end
end

local function numbered(digits, base)
  local code = tonumber(digits, base)
  return code and code <= 0x10FFFF and sentence.utf8(code) or nil
end

--- Decoders of character references: of those by hexadecimal code, by decimal code, and by name.
---@type (fun(text: string): string)[]
sentence.reference_decoders = {
  function(text)
    return (text:gsub("&#[xX](%x+);?", function(digits)
      return numbered(digits, 16)
    end))
  end,
  function(text)
    return (text:gsub("&#(%d+);?", function(digits)
      return numbered(digits, 10)
    end))
  end,
  function(text)
    return (text:gsub("&(%a+);?", named))
  end,
}

--- The text with characters in place of their references; unknown references stay.
---@param text string
---@return string
function sentence.decode_references(text)
  for _, decode in ipairs(sentence.reference_decoders) do
    text = decode(text)
  end
  return text
end

return sentence
