--- Reads as much JSON as there is in a text that may be cut off, broken or followed by something else.
--
-- A whole document is read by `autopilot.base.json`. Here, the end of the first value is found, and single
-- members are picked out of what is cut off or broken. The work is linear in the length of the text.

local json = require "autopilot.base.json"

local loose_json = {}

-- U+2026, an ellipsis, marks where a text was cut off. No code or id has one.
local cut_mark = "\226\128\166"

local double_quote = 34

local literals = { null = true, ["true"] = true, ["false"] = true }

--- Whether a text begins with an object, a list or a string, or is a literal such as `null`. A number is not
-- taken for JSON: a sentence may begin with one.
function loose_json.begins(text)
  return literals[text:match "^%s*(%l+)%s*$"] or text:find '^%s*[{%["]' ~= nil
end

--- Where the first value of a text ends: a whole object, list or string.
---@param bare string the text with blanks in place of its escapes
local function end_of_value(bare)
  -- Strings are filled with blanks, so that brackets in them do not count.
  bare = bare:gsub('"[^"]*"', function(characters)
    return '"' .. (" "):rep(#characters - 2) .. '"'
  end)
  for _, form in ipairs { "^%s*%b{}", "^%s*%b[]", '^%s*"[^"]*"' } do
    local _, finish = bare:find(form)
    if finish then
      return finish
    end
  end
end

--- The string whose text begins at `position`; `cut_mark` is added if it is cut off. If an escape in it is not
-- valid JSON, all escapes are left as they are.
local function string_at(text, bare, position)
  local quote = bare:find('"', position, true)
  if quote then
    local words = text:sub(position, quote - 1)
    return json.decode('"' .. words .. '"') or words
  end
  -- Half an escape at the end is left out. A `u` that is not blank in `bare` follows an escaped backslash.
  local half = bare:match "()\\$" or text:match "()\\u%x?%x?%x?$"
  local is_escape = half and not bare:find("^u", half + 1)
  local words = text:sub(position, is_escape and half - 1 or #text) .. cut_mark
  return json.decode('"' .. words .. '"') or words
end

--- Finds the members of a broken JSON text, at any depth: the first string or number of each name. Nil if it finds no
-- member.
local function pick_members(text, bare)
  local members
  for name, position in text:gmatch '"([%a_-]+)"[ \t\r\n]*:[ \t\r\n]*()' do
    members = members or {}
    if members[name] == nil then
      if text:byte(position) == double_quote then
        members[name] = string_at(text, bare, position + 1)
      else
        members[name] = json.decode(text:match("^[%d.]+", position))
      end
    end
  end
  return members
end

--- The first JSON value of a text that begins with one, whole or not.
---@return any value nil when nothing can be read
---@return integer? rest where the text goes on behind the value; nil when the value is cut off or broken
function loose_json.read(text)
  if text:sub(-#cut_mark) == cut_mark then
    -- The text around this one was cut off here, perhaps within an escape: the mark must not follow that.
    text = text:sub(1, -#cut_mark - 1)
  end
  local whole = json.decode(text)
  if whole ~= nil then
    return whole, #text + 1
  end
  local bare = text:gsub("\\.", "  ")
  local finish = end_of_value(bare)
  local value = finish and json.decode(text:sub(1, finish))
  if value ~= nil then
    return value, finish + 1
  end
  local quote = text:match '^%s*"()'
  return quote and string_at(text, bare, quote) or pick_members(text, bare)
end

return loose_json
