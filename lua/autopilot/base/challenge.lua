--- The challenges of WWW-Authenticate (RFC 9110 sections 11.2 to 11.6.1): which schemes a service accepts,
-- and what it says about each.
--
-- A value may hold several challenges, and several headers arrive joined by ", ": the reader distinguishes
-- a new scheme from a further parameter of the scheme before. What a challenge means is left to others.

local challenge = {}

---@class autopilot.Challenge
---@field scheme string in small letters
---@field token68 string? the one value of a challenge that has no parameters
---@field parameters table<string, string> by name in small letters

-- The bytes of a token: a scheme, a parameter's name, an unquoted value.
local token = "[A-Za-z0-9!#$%%&'*+%-.^_`|~]+"

--- The position behind the blanks at a position, when a list member ends there; else nil.
local function end_of_member(text, position)
  position = text:find("[^ \t]", position) or #text + 1
  return (position > #text or text:find("^,", position)) and position or nil
end

--- Reads a quoted string whose opening quote stands before the position (RFC 9110 section 5.6.4).
---@return string? value without quotes and backslashes
---@return integer? position behind the closing quote
local function read_quoted(text, first)
  local position = first
  while true do
    local stop = text:find('["\\%z\1-\8\10-\31\127]', position)
    local byte = stop and text:sub(stop, stop)
    if byte == '"' then
      return (text:sub(first, stop - 1):gsub("\\(.)", "%1")), stop + 1
    elseif byte ~= "\\" or not text:find("^[^%z\1-\8\10-\31\127]", stop + 1) then
      return nil -- it is not closed, or holds a control byte
    end
    position = stop + 2
  end
end

--- Reads `name = value`, the rest of a list member.
---@return integer? position behind it; nil when it is malformed
local function read_parameter(text, position, parameters)
  local name, after = text:match("^(" .. token .. ")[ \t]*=[ \t]*()", position)
  if not name then
    return nil
  end
  local value
  if text:find('^"', after) then
    value, after = read_quoted(text, after + 1)
  else
    value, after = text:match("^(" .. token .. ")()", after)
  end
  after = value and end_of_member(text, after)
  if after then
    name = name:lower()
    parameters[name] = parameters[name] or value
  end
  return after
end

--- Reads the one value of a challenge without parameters: `abc=` is one, `abc=def` is a parameter.
---@return integer? position behind it; nil when it is something else
local function read_token68(text, position, found)
  local token68, after = text:match("^([A-Za-z0-9%-._~+/]+=*)()", position)
  after = token68 and end_of_member(text, after)
  found.token68 = after and token68
  return after
end

--- Reads the challenges of a header's value. Where a parameter is repeated, against the RFC, the first one
-- counts: text appended to a value cannot change what it said. A parameter after a comma belongs to the
-- scheme before it. Control bytes, NUL among them, are malformed everywhere.
---@param text string
---@return autopilot.Challenge[] challenges before a malformed part; the last one may lack parameters
---@return string? message that the text is malformed, and at which byte
function challenge.read(text)
  local list, current = {}, nil
  local position = text:find "[^, \t]"
  while position do
    local ends
    if not text:find("^[A-Za-z0-9!#$%%&'*+%-.^_`|~]*[ \t]*=", position) then
      local scheme, after = text:match("^(" .. token .. ")()", position)
      current = nil
      if scheme and (after > #text or text:find("^[ \t,]", after)) then
        current = { scheme = scheme:lower(), parameters = {} }
        list[#list + 1] = current
        position = text:find("[^ \t]", after) or after
        ends = end_of_member(text, after) or read_token68(text, position, current)
      end
    end
    if not ends and current and not current.token68 then
      ends = read_parameter(text, position, current.parameters)
    end
    if not ends then
      return list, ("malformed challenge at byte %d"):format(position)
    end
    position = text:find("[^, \t]", ends)
  end
  return list
end

return challenge
