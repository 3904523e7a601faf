--- Claims challenges: what a service requires of the next token (OpenID Connect Core section 5.5.1,
-- Microsoft Entra, "Claims challenges, claims requests, and client capabilities").
--
-- A service that refuses a token before it expires says so in a 401: `claims`, JSON in base64, usually with
-- `error="insufficient_claims"`. This module turns it into the text for the token endpoint. Asking for the
-- token is left to others; `jwt` reads the claims of a token.

local base64url = require "autopilot.base.base64url"
local challenges = require "autopilot.base.challenge"
local json = require "autopilot.base.json"

local claims = {}

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

local function contains(list, wanted)
  for _, value in ipairs(list) do
    if value == wanted then
      return true
    end
  end
  return false
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
  local values = type(declared.values) == "table" and declared.values or {}
  if #values == 0 then
    values = {} -- not a list
  end
  if not contains(values, capability) then
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
  local text = base64url.decode(encoded)
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
    local list, message = challenges.read(rest)
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
