--- Claims challenges: what a service requires of the next token (OpenID Connect Core section 5.5.1,
-- Microsoft Entra, "Claims challenges, claims requests, and client capabilities").
--
-- A service that refuses a token before it expires says so in a 401: `claims`, JSON in base64, usually with
-- `error="insufficient_claims"`. This module turns it into the text for the token endpoint. Asking for the
-- token is left to others; `jwt` reads the claims of a token.
--
-- A value of WWW-Authenticate may hold several challenges (RFC 9110 sections 11.2 to 11.6.1), and several
-- headers arrive joined by ", ": the reader distinguishes a new scheme from a further parameter of the scheme
-- before.

local core = require "autopilot.core"
local json = require "autopilot.base.json"
local options = require "autopilot.base.options"

local claims = {}

-- ---- Reading WWW-Authenticate ------------------------------------------------------------------------

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
function claims.challenges(text)
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

-- ---- Claims requests ---------------------------------------------------------------------------------

-- Bytes. All headers together have a few thousand.
local longest = 16 * 1024

-- How often to look for another challenge behind a malformed one.
local most_searches = 16

-- "cp1": this client understands claims challenges.
local capability = "cp1"

--- Whether a value is a JSON object. An empty list looks the same.
local function is_object(value)
  return type(value) == "table" and #value == 0
end

--- A claims request with this client's capability in it.
---@param text string a JSON object
---@return string? merged nil when the text is not a claims request
function claims.merge(text)
  local request = #text <= longest and text:find "^%s*{" and json.decode(text)
  local wanted = is_object(request) and request.access_token or nil
  if wanted == nil or wanted == json.null then
    wanted = {}
  end
  if not is_object(request) or not is_object(wanted) then
    return nil
  end
  local declared = is_object(wanted.xms_cc) and wanted.xms_cc or {}
  local values = type(declared.values) == "table" and declared.values or {}
  if #values == 0 then
    values = {} -- not a list
  end
  if not options.contains(values, capability) then
    values[#values + 1] = capability
  end
  request.access_token, wanted.xms_cc, declared.values = wanted, declared, values
  return (json.encode(request))
end

--- The claims request of one challenge, or nil.
local function of_challenge(challenge)
  local parameters = challenge.parameters
  local encoded = challenge.scheme == "bearer" and parameters.claims
  if not encoded or #encoded > longest then
    return nil
  end
  local text = core.base64_decode(encoded)
  return text and claims.merge(text)
end

--- The claims request for the token endpoint after a 401: the claims that one of its challenges requires,
-- and this client's capability. Nil when no challenge requires claims. Never raises.
--
-- A malformed challenge does not hide one behind it, which may be in another header: reading starts again
-- at each further "Bearer".
---@param header string|number|nil the WWW-Authenticate headers, repeated ones joined by ", "
---@return string? request JSON
function claims.of_header(header)
  local rest, is_malformed = type(header) == "string" and header or "", false
  for _ = 0, most_searches do
    local list, message = claims.challenges(rest)
    for _, challenge in ipairs(list) do
      local request = of_challenge(challenge)
      if request then
        return request
      end
    end
    is_malformed = is_malformed or message ~= nil
    local next_bearer = is_malformed and rest:match ",[ \t]*()[Bb][Ee][Aa][Rr][Ee][Rr][ \t]"
    if not next_bearer then
      return nil
    end
    rest = rest:sub(next_bearer)
  end
end

return claims
