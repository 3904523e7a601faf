--- Texts without encodings and decorations, for comparing them with a secret.
--
-- Undone are JSON's escapes, percent-encoding and HTML's character references, in any order and depth.
-- Left out are blanks, plus signs (blanks in a form), backslashes, control characters and everything that
-- is not ASCII, such as soft hyphens. The secret is changed in the same way before the two are compared.

local entities = require "autopilot.base.entities"

local normal_text = {}

-- Far more layers of encoding than any chain of programs makes by mistake.
local most_rounds = 8

local function character(digits)
  return string.char(tonumber(digits, 16))
end

local function unicode_character(digits)
  return entities.utf8(tonumber(digits, 16))
end

local controls = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

--- Undoes one layer of encoding. Backslashes in a row count as one: JSON inside JSON doubles them.
local function undo(text)
  if text:find("\\", 1, true) then
    local count
    text, count = text:gsub("\\+", "\\"):gsub("\\u(%x%x%x%x)", unicode_character)
    if count == 0 then -- else one of the new characters may be a backslash: they are for the next round
      text = text:gsub("\\x(%x%x)", character):gsub("\\([bfnrt])", controls):gsub("\\", "")
    end
  end
  if text:find("%", 1, true) then
    text = text:gsub("%%(%x%x)", character)
  end
  return entities.decode(text)
end

--- The text without any encoding; nil where it has too many layers.
---@param text string
---@return string?
function normal_text.decoded(text)
  for _ = 1, most_rounds do
    local before = text
    text = undo(text)
    if text == before then
      return text
    end
  end
  return undo(text) == text and text or nil
end

--- A decoded text without its decorations.
---@param decoded string
---@return string
function normal_text.bare(decoded)
  return (decoded:gsub("[^!-~]+", ""):gsub("[+\\]", ""))
end

local function untagged(text)
  return (text:gsub("<[^<>]*>", ""))
end

--- The decoded forms in which a text may be read. Blanks and tags may stand between encoded characters, or
-- within the encoding of one: they are left out after decoding, or before.
---@param text string
---@return string[]? readings nil where the text has too many layers of encoding
function normal_text.readings(text)
  local readings = {}
  local squeezed = text:gsub("[^!-~]", "")
  for _, form in ipairs { text, squeezed, untagged(squeezed) } do
    local decoded = normal_text.decoded(form)
    if not decoded then
      return nil
    end
    readings[#readings + 1] = decoded
    readings[#readings + 1] = untagged(decoded)
  end
  return readings
end

return normal_text
