--- Claims challenges: what a service wants to see in the next token (OpenID Connect Core section 5.5.1,
-- Microsoft Entra, "Claims challenges, claims requests, and client capabilities").
--
-- A service that refuses a token before it expires sends a 401 with `claims`: JSON in base64, mostly beside
-- `error="insufficient_claims"`. The request for the next token carries these claims. The claims in a token
-- are another matter: see `autopilot.token.inspect`.

local base64url = require "autopilot.base.base64url"
local challenges = require "autopilot.base.challenge"
local json = require "autopilot.base.json"

local claims = {}

-- Bytes of claims that are read: all headers of an answer together have some kilobytes.
local longest = 16 * 1024

-- Challenges that are looked for behind a malformed one. This bounds the work for a hostile header.
local most_beginnings = 16

-- The client's capability: it understands claims challenges.
local capability = "cp1"

--- Whether a decoded value is a JSON object. An empty list counts as one: they look the same.
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

--- Adds the capability to a decoded claims request.
---@return boolean is_done false when the request has an unknown form
local function add_capability(request)
  local wanted = request.access_token
  if wanted == nil or wanted == json.null then
    wanted = {}
  elseif not is_object(wanted) then
    return false
  end
  request.access_token = wanted
  local declared = is_object(wanted.xms_cc) and wanted.xms_cc or {}
  local values = type(declared.values) == "table" and declared.values or {}
  if #values == 0 then
    values = {} -- not a list
  end
  if not contains(values, capability) then
    values[#values + 1] = capability
  end
  declared.values, wanted.xms_cc = values, declared
  return true
end

--- A claims request with this client's capability in it.
---@param text string? a JSON object; nil for the capability alone
---@return string? merged nil when the text is no claims request
function claims.merge(text)
  if text and (#text > longest or not text:find "^%s*{") then
    return nil
  end
  local request = text and json.decode(text, true) or not text and {}
  if not is_object(request) or not add_capability(request) then
    return nil
  end
  return (json.encode(request))
end

--- The claims request of a challenge; nil when it asks for no claims, or they cannot be read.
local function of_challenge(challenge)
  local parameters = challenge.parameters
  local encoded = challenge.scheme == "bearer" and parameters.claims
  if not encoded or #encoded > longest then
    return nil
  end
  local text = base64url.decode(encoded)
  return text and claims.merge(text)
end

--- The first claims request in a list of challenges.
local function of_list(list)
  for _, challenge in ipairs(list) do
    local request = of_challenge(challenge)
    if request then
      return request
    end
  end
end

--- The first claims request behind a malformed challenge, which must not hide it: the two may come from
-- different headers.
local function behind_malformed(header)
  local position = 1
  for _ = 1, most_beginnings do
    local _, last = header:find(",[ \t]*[Bb][Ee][Aa][Rr][Ee][Rr][ \t]", position)
    if not last then
      return nil
    end
    position = last - #"Bearer"
    local request = of_list(challenges.read(header:sub(position)))
    if request then
      return request
    end
  end
end

--- The claims request for the next token, after a 401: the claims that its challenges ask for, and this
-- client's capability. Nil when no challenge asks for claims, or none can be read. Never raises.
---@param header string|number|nil the WWW-Authenticate headers, repeated ones joined by ", "
---@return string? request JSON
function claims.of_header(header)
  if type(header) ~= "string" then
    return nil
  end
  local list, malformed = challenges.read(header)
  return of_list(list) or (malformed and behind_malformed(header)) or nil
end

return claims
