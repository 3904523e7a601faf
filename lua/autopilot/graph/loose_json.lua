--- Reads as much JSON as there is in a text that may be cut off, broken or followed by something else.
--
-- A whole document is read by `autopilot.base.json`. Here, the end of the first value is found, and single
-- members are picked out of what is cut off or broken. The work is linear in the length of the text.

local json = require "autopilot.base.json"

local loose_json = {}

-- U+2026, an ellipsis, marks where a text was cut off. No code or id has one.
local cut_mark = "\226\128\166"

local double_quote, letter_u = 34, 117

local literals =
  { null = true, ["true"] = true, ["false"] = true, nan = true, inf = true, infinity = true }

--- Whether a text begins with an object, a list or a string, or is a literal such as `null`. A number is not
-- taken for JSON: a sentence may begin with one.
---@param text string
---@return boolean
function loose_json.begins(text)
  local literal = text:match "^%s*(%l+)%s*$"
  return literals[literal] or text:find '^%s*[{%["]' ~= nil
end

--- Where the string ends whose text begins at `position`.
---@return integer? quote nil when the string is cut off
---@return integer? last then, where its last whole character or escape ends
local function end_of_string(text, position)
  while true do
    local at = text:find('["\\]', position)
    if not at then
      return nil, #text
    elseif text:byte(at) == double_quote then
      return at
    end
    position = at + (text:byte(at + 1) == letter_u and 6 or 2)
    if position > #text + 1 then
      return nil, at - 1
    end
  end
end

--- Where the first value of a text ends: a whole object, list or string.
---@return integer?
local function end_of_value(text)
  -- Strings are filled with blanks, so that brackets in them do not count.
  local bare = text:gsub("\\.", "  "):gsub('"[^"]*"', function(characters)
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
local function string_at(text, position)
  local quote, last = end_of_string(text, position)
  local words = quote and text:sub(position, quote - 1) or text:sub(position, last) .. cut_mark
  return json.decode('"' .. words .. '"') or words
end

--- A number, the first number of a list, or a word that lacks its quotes.
local function bare_value(text, position)
  local first = text:match("^%[%s*([%d.]+)", position)
  if first then
    return { json.decode(first) }
  end
  local number = text:match("^[%d.]+", position)
  local word = text:match("^%a[%w_]*", position)
  if word and not literals[word:lower()] then
    return word
  end
  return number and json.decode(number) or nil
end

--- Finds the members of a broken JSON text, at any depth: the first value of each name. Nil if it finds no member.
local function pick_members(text)
  local members
  for name, position in text:gmatch '"([%a_-]+)"[ \t\r\n]*:[ \t\r\n]*()' do
    members = members or {}
    if members[name] == nil then
      if text:byte(position) == double_quote then
        members[name] = string_at(text, position + 1)
      else
        members[name] = bare_value(text, position)
      end
    end
  end
  return members
end

--- The first JSON value of a text that begins with one, whole or not.
---@param text string
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
  local finish = end_of_value(text)
  local value = finish and json.decode(text:sub(1, finish))
  if value ~= nil then
    return value, finish + 1
  end
  local quote = text:match '^%s*"()'
  return quote and string_at(text, quote) or pick_members(text)
end

return loose_json
