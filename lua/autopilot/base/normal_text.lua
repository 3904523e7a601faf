--- A text without encodings and decorations, for comparing it with a secret.
--
-- Undone are JSON's escapes, percent-encoding and HTML's character references, in any order and depth;
-- left out are blanks, plus signs (a form's blanks), backslashes, control characters and all that is not
-- ASCII, such as soft hyphens. A secret is changed in the same way before both are compared.

local entities = require "autopilot.base.entities"

local normal_text = {}

-- Far more encodings on top of each other than any chain of programs makes by mistake.
local most_rounds = 8

local function character(digits)
  return string.char(tonumber(digits, 16))
end

local function unicode_character(digits)
  return entities.utf8(tonumber(digits, 16))
end

local controls = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

--- Undoes one layer. Backslashes in a row count as one: JSON inside JSON doubles them.
local function undo(text)
  if text:find("\\", 1, true) then
    local count
    text, count = text:gsub("\\+", "\\"):gsub("\\u(%x%x%x%x)", unicode_character)
    if count == 0 then -- else one of the characters may be a backslash
      text = text:gsub("\\x(%x%x)", character):gsub("\\([bfnrt])", controls):gsub("\\", "")
    end
  end
  if text:find("%", 1, true) then
    text = text:gsub("%%(%x%x)", character)
  end
  return entities.decode(text)
end

--- The text without any encoding; nil where it has more layers than are undone.
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

--- A decoded text without its tags.
---@param decoded string
---@return string
function normal_text.untagged(decoded)
  return (decoded:gsub("<[^<>]*>", ""))
end

return normal_text
