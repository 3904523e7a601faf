--- Character references of HTML: `&amp;`, `&#38;`, `&#x26;`.

local entities = {}

-- The names of printable ASCII characters (HTML, section 13.5), from a code on, in the order of the codes.
-- A character may have several names.
local names_from = {
  [33] = "excl quot/QUOT num dollar percnt amp/AMP apos lpar rpar ast/midast plus comma "
    .. "hyphen/dash period sol",
  [58] = "colon semi lt/LT equals gt/GT quest commat",
  [91] = "lsqb/lbrack bsol rsqb/rbrack Hat lowbar/UnderBar grave/DiacriticalGrave",
  [123] = "lcub/lbrace verbar/vert/VerticalLine rcub/rbrace tilde",
}

local named = {}
for first, names in pairs(names_from) do
  local code = first
  for synonyms in names:gmatch "%S+" do
    for name in synonyms:gmatch "%a+" do
      named[name] = string.char(code)
    end
    code = code + 1
  end
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
function entities.utf8(code)
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
  return code and code <= 0x10FFFF and entities.utf8(code) or nil
end

--- The text with characters in place of their references; unknown references stay.
---@param text string
---@return string
function entities.decode(text)
  if not text:find("&", 1, true) then
    return text
  end
  text = text:gsub("&#[xX](%x+);?", function(digits)
    return numbered(digits, 16)
  end)
  text = text:gsub("&#(%d+);?", function(digits)
    return numbered(digits, 10)
  end)
  return (text:gsub("&(%a+);?", named))
end

return entities
