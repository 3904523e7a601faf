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

-- The characters of UTF-8 that are not ASCII (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF).
local valid = {
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
  "\194[\128-\159\173]", -- U+0080 to U+009F, U+00AD
  "\216\156", -- U+061C
  "\225\160\142", -- U+180E
  "\226\128[\139-\143\168-\174]", -- U+200B to U+200F, U+2028 to U+202E
  "\226\129[\160-\175]", -- U+2060 to U+206F
  "\239\187\191", -- U+FEFF
  "\239\191[\185-\187]", -- U+FFF9 to U+FFFB
  "\243\160[\128\129][\128-\191]", -- U+E0000 to U+E007F
}

--- Returns the character of UTF-8 that starts at a position, or U+FFFD if the bytes there are not valid; and the
-- position of the next character. The bytes must not be ASCII.
local function character_at(bytes, position)
  for _, pattern in ipairs(valid) do
    local character = bytes:match(pattern, position)
    if character then
      return character, position + #character
    end
  end
  return replacement, position + 1
end

local function valid_characters(bytes)
  local characters, position = {}, 1
  while position <= #bytes do
    characters[#characters + 1], position = character_at(bytes, position)
  end
  return table.concat(characters)
end

--- The text with U+FFFD in place of each byte that is in no character: valid UTF-8.
function sentence.valid(text)
  return (text:gsub("[\128-\255]+", valid_characters))
end

--- The visible characters of a text; where there are more than `limit`, the last one is an ellipsis.
local function shown(text, limit)
  text = sentence.valid(text)
  for _, pattern in ipairs(hidden) do
    text = text:gsub(pattern, "")
  end
  local count, last = 0, nil
  for position in text:gmatch "()[^\128-\191]" do
    count = count + 1
    if count > limit then
      return text:sub(1, last - 1) .. ellipsis
    end
    last = position
  end
  return text
end

--- The text as one line of visible characters, for printing. Blanks are kept as they are.
function sentence.visible(text)
  text = text:gsub("[%z\1-\31\127]", " "):gsub("\194[\128-\159]", " ")
  return shown(text, math.huge)
end

--- The first 16 KiB of a text as one line: white space and ASCII control characters become single spaces, and are
-- removed at both ends.
function sentence.line(text)
  local line = text:sub(1, longest_line):gsub("[%z\1-\32\127]+", " ")
  return (line:gsub("^ ", ""):gsub(" $", ""))
end

--- The text as one clean line, or nil when nothing is left of it.
---@param limit integer? characters; default 1000
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

--- The character with this code, in digits of the base 10, if no other is given.
local function numbered(digits, base)
  local code = tonumber(digits, base) -- where it is too large for an integer, Lua may give a negative one
  return code >= 0 and code <= 0x10FFFF and sentence.utf8(code) or nil
end

local forms_of_references = {
  ["^&#[xX](%x+);?"] = function(digits)
    return numbered(digits, 16)
  end,
  ["^&#(%d+);?"] = numbered,
  ["^&(%a+);?"] = named,
}

--- The character that a reference stands for, and what is behind it without a semicolon.
local function referenced(reference)
  for form, character in pairs(forms_of_references) do
    local decoded = reference:gsub(form, character)
    if decoded ~= reference then
      return decoded
    end
  end
end

--- The text with characters in place of their references, in one pass: `&amp;lt;` becomes `&lt;`. Unknown references
-- stay.
function sentence.decode_references(text)
  return (text:gsub("&#?%w+;?", referenced))
end

return sentence
