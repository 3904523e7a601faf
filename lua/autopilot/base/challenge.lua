--- The challenges of WWW-Authenticate (RFC 9110 sections 11.2 to 11.6.1): which schemes a service takes,
-- and what it says about each.
--
-- Several challenges stand in one value, and several headers arrive joined by ", ": the reader tells a
-- new scheme from one more parameter of the scheme before. What a challenge means is left to others.

local challenge = {}

---@class autopilot.Challenge
---@field scheme string in small letters
---@field token68 string? the one value of a challenge that has no parameters
---@field parameters table<string, string> by name in small letters

-- The bytes of a token: a scheme, a parameter's name, an unquoted value.
local token = "[A-Za-z0-9!#$%%&'*+%-.^_`|~]+"

--- The position behind blanks when a list member ends there; else nil.
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
---@return string? name, string? value, integer? position behind it
local function read_parameter(text, position)
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
    return name:lower(), value, after
  end
end

--- Reads what follows a scheme in the same list member: a token68, or the first parameter.
---@return integer? position behind it; nil when it is malformed
local function read_first(text, position, found)
  -- `abc=` is a token68, `abc=def` is a parameter.
  local token68, after = text:match("^([A-Za-z0-9%-._~+/]+=*)()", position)
  after = token68 and end_of_member(text, after)
  if after then
    found.token68 = token68
    return after
  end
  local name, value
  name, value, after = read_parameter(text, position)
  if name then
    found.parameters[name] = value
  end
  return after
end

--- Reads a scheme and what follows it in the same list member.
---@return autopilot.Challenge? found nil when the scheme is malformed
---@return integer position behind it; where the malformed part begins
---@return boolean is_malformed
local function read_scheme(text, position)
  local scheme, after = text:match("^(" .. token .. ")()", position)
  if not scheme or (after <= #text and not text:find("^[ \t,]", after)) then
    return nil, position, true
  end
  local found = { scheme = scheme:lower(), parameters = {} }
  local ends = end_of_member(text, after)
  if ends then
    return found, ends, false
  end
  local first = text:find("[^ \t]", after)
  ends = read_first(text, first, found)
  return found, ends or first, not ends
end

--- Reads the challenges of a header's value. Where a parameter is repeated, against the RFC, the first
-- holds: what is appended to a value changes nothing that stood there. A parameter after a comma belongs
-- to the scheme before it. Control bytes, NUL among them, are malformed anywhere.
---@param text string
---@return autopilot.Challenge[] challenges those before a malformed part; the last one perhaps short of parameters
---@return string? message that the text is malformed, and at which byte
function challenge.read(text)
  local list, current = {}, nil
  local position = text:find "[^, \t]"
  while position do
    local is_malformed
    if text:find("^[A-Za-z0-9!#$%%&'*+%-.^_`|~]*[ \t]*=", position) then
      local name, value, after
      if current and not current.token68 then
        name, value, after = read_parameter(text, position)
      end
      is_malformed = not name
      if name then
        current.parameters[name] = current.parameters[name] or value
        position = after
      end
    else
      current, position, is_malformed = read_scheme(text, position)
      list[#list + 1] = current
    end
    if is_malformed then
      return list, ("malformed challenge at byte %d"):format(position)
    end
    position = text:find("[^, \t]", position)
  end
  return list
end

return challenge
