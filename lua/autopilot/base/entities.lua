--- Character references of HTML: `&amp;`, `&#38;`, `&#x26;`.

local entities = {}

-- The names of the printable ASCII characters (HTML, section 13.5), of blanks and of what is invisible.
local named = {}
for character, names in pairs {
  ["!"] = "excl",
  ['"'] = "quot QUOT",
  ["#"] = "num",
  ["$"] = "dollar",
  ["%"] = "percnt",
  ["&"] = "amp AMP",
  ["'"] = "apos",
  ["("] = "lpar",
  [")"] = "rpar",
  ["*"] = "ast midast",
  ["+"] = "plus",
  [","] = "comma",
  ["-"] = "hyphen dash",
  ["."] = "period",
  ["/"] = "sol",
  [":"] = "colon",
  [";"] = "semi",
  ["<"] = "lt LT",
  ["="] = "equals",
  [">"] = "gt GT",
  ["?"] = "quest",
  ["@"] = "commat",
  ["["] = "lsqb lbrack",
  ["\\"] = "bsol",
  ["]"] = "rsqb rbrack",
  ["^"] = "Hat",
  ["_"] = "lowbar UnderBar",
  ["`"] = "grave DiacriticalGrave",
  ["{"] = "lcub lbrace",
  ["|"] = "verbar vert VerticalLine",
  ["}"] = "rcub rbrace",
  ["~"] = "tilde",
  [" "] = "nbsp NonBreakingSpace Tab NewLine ensp emsp thinsp",
  [""] = "shy zwnj zwj lrm rlm ZeroWidthSpace NoBreak",
} do
  for name in names:gmatch "%a+" do
    named[name] = character
  end
end

local function byte(lead, code, place)
  return lead + math.floor(code / place) % 64
end

--- A character in UTF-8.
---@param code integer 0 to 0x10FFFF
---@return string
function entities.utf8(code)
  if code < 0x80 then
    return string.char(code)
  elseif code < 0x800 then
    return string.char(byte(0xC0, code, 64), byte(0x80, code, 1))
  elseif code < 0x10000 then
    return string.char(byte(0xE0, code, 4096), byte(0x80, code, 64), byte(0x80, code, 1))
  end
  return string.char(
    byte(0xF0, code, 262144),
    byte(0x80, code, 4096),
    byte(0x80, code, 64),
    byte(0x80, code, 1)
  )
end

local function numbered(digits, base)
  local code = tonumber(digits, base)
  return code and code <= 0x10FFFF and entities.utf8(code) or nil
end

--- The text with the characters in place of their references; unknown ones stay.
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
