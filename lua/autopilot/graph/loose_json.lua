--- Reads as much JSON as there is in a text that may be cut, broken or followed by something else.
--
-- Whole documents are base.json's. Around it stands what an answer's body needs: finding where the
-- first value ends, and picking single members out of what is cut or broken. Every step is linear in the
-- text. What the members mean is left to others.

local json = require "autopilot.base.json"

local json_text = {}

-- U+2026, an ellipsis: where a text was cut, people can see it, and no code or id has one.
local cut_mark = "\226\128\166"

local double_quote, letter_u = 34, 117

local literals =
  { null = true, ["true"] = true, ["false"] = true, nan = true, inf = true, infinity = true }

--- Whether a text begins as a JSON document does: with an object, a list or a string, or it is a
-- literal and nothing else. Numbers are left to whoever reads words.
---@param text string
---@return boolean
function json_text.begins(text)
  local literal = text:match "^%s*(%l+)%s*$"
  return literals[literal] or text:find '^%s*[{%["]' ~= nil
end

--- Where the string ends whose text begins at `position`. When it is cut off: nil, and where the
-- last whole character or escape ends.
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

--- Where the first value of a text ends, when it is an object, a list or a string, and whole.
---@return integer?
local function end_of_value(text)
  -- Strings are filled with blanks, so that a bracket in one does not count.
  local bare = text:gsub("\\.", "  "):gsub('"[^"]*"', function(characters)
    return '"' .. (" "):rep(#characters - 2) .. '"'
  end)
  local _, finish = bare:find "^%s*%b{}"
  if not finish then
    _, finish = bare:find "^%s*%b[]"
  end
  if not finish then
    _, finish = bare:find '^%s*"[^"]*"'
  end
  return finish
end

--- Members that can be read one by one where the whole cannot.
local wanted = {
  code = true,
  Code = true,
  ErrorCode = true,
  message = true,
  Message = true,
  error = true,
  error_codes = true,
  error_description = true,
  RetryAfter = true,
  ["request-id"] = true,
  ["client-request-id"] = true,
}

--- The string whose text begins at `position`, complete or not. An escape that JSON does not know spoils
-- the escapes, not the words.
local function string_at(text, position)
  local finish, cut = end_of_string(text, position)
  local words = text:sub(position, finish and finish - 1 or cut) .. (finish and "" or cut_mark)
  return json.decode('"' .. words .. '"') or words
end

--- A number, the first number of a list, or a word that stands where a string should.
local function bare_value(text, position)
  local first = text:match("^%[%s*([%d.]+)", position)
  if first then
    return { json.decode(first) }
  end
  local number = text:match("^[%d.]+", position)
  local word = not number and text:match("^%a[%w_]*", position)
  if word and not literals[word:lower()] then
    return word
  end
  return number and json.decode(number) or nil
end

--- The first text or number of each wanted member, wherever it stands.
local function members_of(text)
  local members
  for name, position in text:gmatch '"([%a_-]+)"[ \t\r\n]*:[ \t\r\n]*()' do
    if wanted[name] and not (members and members[name] ~= nil) then
      local value
      if text:byte(position) == double_quote then
        value = string_at(text, position + 1)
      else
        value = bare_value(text, position)
      end
      members = members or {}
      members[name] = value
    end
  end
  return members
end

--- The first JSON value in a text that begins with one, complete or not.
-- A text that was cut off ends with an ellipsis; what cannot be read at all is left out.
---@param text string
---@return any value nil when there is nothing to be had
---@return integer? rest where the text goes on after the value; nil when that is cut or broken
function json_text.read(text)
  if text:sub(-#cut_mark) == cut_mark then
    -- The text around this one was cut here: the mark is ours, and could follow half an escape.
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
  return quote and string_at(text, quote) or members_of(text)
end

return json_text
