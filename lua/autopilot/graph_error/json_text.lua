--- Reads as much JSON as there is in a text that may be cut, broken or followed by something else.
--
-- Whole documents are lua-cjson's. Around it stands what an answer's body needs: finding where the
-- first value ends, closing what was cut off, and picking single members out of ruins. Every step is
-- linear in the text. What the members mean is left to others.

local json = require "autopilot.base.json"

local json_text = {}

-- U+2026, an ellipsis: where a text was cut, people can see it, and no code or id has one.
local cut_mark = "\226\128\166"

local double_quote, letter_u = 34, 117
local closer_of = { ["{"] = "}", ["["] = "]" }

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

--- How a text must end to be a document: `text` up to `finish`, then `closing`. `whole` tells that
-- nothing had to be added.
---@class autopilot.graph_error.Ending
---@field finish integer
---@field closing string
---@field whole boolean?

local Scan = {}
Scan.__index = Scan

--- The text can be ended after `finish`, by closing what is open there.
function Scan:mark_safe(finish)
  self.safe_finish, self.safe_depth = finish, self.depth
end

function Scan:closing(depth)
  local closers = {}
  for level = depth, 1, -1 do
    closers[#closers + 1] = closer_of[self.open[level]]
  end
  return table.concat(closers)
end

--- Reads on over a string that begins at `at`. Returns where it goes on, or nil and the ending.
function Scan:string(at)
  local finish, cut = end_of_string(self.text, at + 1)
  if finish and self.depth == 0 then
    return nil, { finish = finish, closing = "", whole = true }
  elseif finish then
    if self.value_is_due then
      self:mark_safe(finish)
    end
    return finish + 1
  elseif self.value_is_due then
    return nil, { finish = cut, closing = cut_mark .. '"' .. self:closing(self.depth) }
  end
  return nil
end

function Scan:opening(at, mark)
  self.depth = self.depth + 1
  self.open[self.depth] = mark
  self.value_is_due = mark == "["
  self:mark_safe(at)
  return at + 1
end

function Scan:closing_bracket(at)
  if self.depth == 0 then
    return nil
  end
  self.depth = self.depth - 1
  if self.depth == 0 then
    return nil, { finish = at, closing = "", whole = true }
  end
  self:mark_safe(at)
  return at + 1
end

function Scan:comma(at)
  if self.depth == 0 then
    return nil
  end
  self.value_is_due = self.open[self.depth] == "["
  self:mark_safe(at - 1)
  return at + 1
end

function Scan:colon(at)
  self.value_is_due = true
  return at + 1
end

local step = {
  ['"'] = Scan.string,
  ["{"] = Scan.opening,
  ["["] = Scan.opening,
  ["}"] = Scan.closing_bracket,
  ["]"] = Scan.closing_bracket,
  [","] = Scan.comma,
  [":"] = Scan.colon,
}

--- Finds the end of the first value, or the last place where it can be ended; nil where there is
-- none.
---@param text string
---@return autopilot.graph_error.Ending?
local function find_ending(text)
  local scan = setmetatable({ text = text, open = {}, depth = 0, value_is_due = true }, Scan)
  local position, ending = 1, nil
  while position do
    local at = text:find('["{}%[%],:]', position)
    if not at then
      break
    end
    local mark = text:sub(at, at)
    position, ending = step[mark](scan, at, mark)
  end
  if not ending and scan.safe_finish then
    ending = { finish = scan.safe_finish, closing = scan:closing(scan.safe_depth) }
  end
  return ending
end

--- Members that can be read one by one where the whole cannot.
local wanted = {
  code = true,
  Code = true,
  ErrorCode = true,
  message = true,
  Message = true,
  error_description = true,
  RetryAfter = true,
  ["request-id"] = true,
  ["client-request-id"] = true,
}

--- A number, or a word that stands where a string should.
local function bare_value(text, position)
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
        local finish = end_of_string(text, position + 1)
        -- An escape that JSON does not know spoils the escapes, not the words.
        value = finish
          and (json.decode(text:sub(position, finish)) or text:sub(position + 1, finish - 1))
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
  local ending = find_ending(text)
  if ending then
    local value = json.decode(text:sub(1, ending.finish) .. ending.closing)
    if value ~= nil then
      return value, ending.whole and ending.finish + 1 or nil
    end
  end
  return members_of(text)
end

return json_text
