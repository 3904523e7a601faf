--- Claims challenges: what a service requires of the next token (OpenID Connect Core section 5.5.1,
-- Microsoft Entra, "Claims challenges, claims requests, and client capabilities").
--
-- A service that refuses a token before it expires says so in a 401: `claims`, JSON in base64, usually with
-- `error="insufficient_claims"`. This module turns it into the text for the token endpoint. The token is
-- requested elsewhere; `jwt` reads the claims of a token.
--
-- A value of WWW-Authenticate may hold several challenges (RFC 9110 sections 11.2 to 11.6.1), and several
-- headers arrive joined by ", ": the reader distinguishes a new scheme from a further parameter of the scheme
-- before.

local core = require "autopilot.core"
local json = require "autopilot.base.json"
local options = require "autopilot.base.options"

local claims = {}

-- Bytes. All headers together have a few thousand.
local longest = 16 * 1024

-- How often to look for another challenge after a malformed one.
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
  local request = #text <= longest and text:find "^%s*{" and json.decode(text, true)
  local wanted = is_object(request) and request.access_token or nil
  if wanted == nil or wanted == json.null then
    wanted = {}
  end
  if not is_object(request) or not is_object(wanted) then
    return nil
  end
  local declared = is_object(wanted.xms_cc) and wanted.xms_cc or {}
  local values = declared.values
  if type(values) ~= "table" or #values == 0 then -- not a list
    values = {}
  end
  if not options.contains(values, capability) then
    values[#values + 1] = capability
  end
  request.access_token, wanted.xms_cc, declared.values = wanted, declared, values
  return (json.encode(request))
end

-- The bytes of a token: a scheme, a parameter's name, an unquoted value.
local token = "[A-Za-z0-9!#$%%&'*+%-.^_`|~]+"

-- A quoted string (RFC 9110 section 5.6.4) without control characters. In it, a quoted pair (`\"`) was turned into
-- the backslash and the three digits of its byte; not that of a comma, behind which another header may begin.
local quoted = '^"([^"%z\1-\8\10-\31\127]*)"()'

local function digits_of(character)
  return ("\\%03d"):format(character:byte())
end

local function character_of(digits)
  return string.char(tonumber(digits))
end

--- The position behind the blanks at a position, if a member of a list ends there; else nil.
local function end_of_member(text, position)
  position = text:find("[^ \t]", position) or #text + 1
  return (position > #text or text:find("^,", position)) and position or nil
end

--- Reads challenges from a position on, until one of the scheme Bearer requires claims. Where a parameter is
-- repeated, against the RFC, the first one counts: text appended to a value cannot change what it said.
---@return string? request JSON: those claims, and this client's capability; nil: no challenge requires claims
---@return integer? position at which reading ended because the text is malformed; nil: the text was read to its end
local function first_request(text, position)
  local is_bearer = false
  while true do
    position = text:find("[^, \t]", position)
    if not position then
      return nil
    end
    local name, equals, after = text:match("^(" .. token .. ")[ \t]*(=?)[ \t]*()", position)
    local is_scheme, value = equals == "", nil
    if is_scheme then
      is_bearer = name:lower() == "bearer"
      -- One value may follow in place of parameters: `abc=` is such a value, `abc=def` is a parameter.
      local behind = text:match("^[A-Za-z0-9%-._~+/]+=*()", after)
      after = behind and end_of_member(text, behind) or after
    elseif name then
      local pattern = text:find('^"', after) and quoted or "^(" .. token .. ")()"
      value, after = text:match(pattern, after)
    end
    after = value and end_of_member(text, after) or is_scheme and after
    if not after then
      return nil, position
    elseif value and is_bearer and name:lower() == "claims" then
      value = value:gsub("\\(%d%d%d)", character_of)
      local decoded = #value <= longest and core.base64_decode(value)
      local request = decoded and claims.merge(decoded)
      if request then
        return request
      end
      is_bearer = false -- a second `claims` of this challenge does not count
    end
    position = after
  end
end

--- The claims request for the token endpoint after a 401: the claims that one of its challenges requires,
-- and this client's capability. Nil when no challenge requires claims. Never raises.
--
-- A malformed challenge does not hide a later one, which may be in another header: reading starts again
-- at the next "Bearer".
---@param header string|number|nil the WWW-Authenticate headers, repeated ones joined by ", "
---@return string? request JSON
function claims.of_header(header)
  local text, position = tostring(header):gsub("\\([\t -+.-~\128-\255-])", digits_of), 1
  for _ = 0, most_searches do
    local request, malformed = first_request(text, position)
    position = malformed and text:match(",[ \t]*()[Bb][Ee][Aa][Rr][Ee][Rr][ \t]", malformed)
    if not position then
      return request
    end
  end
end

return claims
