--- Claims challenges: claims that Graph requires of a tenant's tokens from some time on, and names in a 401
-- (Microsoft Entra, "Claims challenges, claims requests, and client capabilities").
--
-- A token meets a challenge when it was asked for with the same claims by a client that declares in `xms_cc` that it
-- understands challenges: Entra gives such a token to no other client. The token of a machine meets it when it was
-- asked for in place of a refused one.

local base64url = require "autopilot.base.base64url"
local json = require "autopilot.base.json"

local challenges = {}

--- What every 401 of Graph says.
challenges.plain_header = 'Bearer realm="", '
  .. 'authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", '
  .. 'client_id="00000003-0000-0000-c000-000000000000"'

--- Reads a claims request, JSON; nil when it cannot be read.
function challenges.read(text)
  local claims = json.decode(text)
  return type(claims) == "table" and claims or nil
end

--- The challenge that a fault describes: the decoded `claims` that are required, and the value of WWW-Authenticate.
---@param fault autopilot.emulator.Fault
---@return { claims: table, header: string }
function challenges.new(fault, now)
  local from_now_on = '{"access_token":{"nbf":{"essential":true,"value":"%d"}}}'
  local text = fault.claims or from_now_on:format(math.floor(now))
  local encoded = base64url.encode(text)
  if fault.encoding ~= "base64url" then
    encoded = encoded:gsub("-", "+"):gsub("_", "/") .. ("="):rep(-#encoded % 4)
  end
  return {
    claims = challenges.read(text),
    header = (fault.noise and "Negotiate, " or "")
      .. challenges.plain_header
      .. (', error="insufficient_claims", claims="%s"'):format(encoded),
  }
end

--- Whether a decoded value has everything that another one has.
local function contains(value, wanted)
  if type(value) ~= "table" or type(wanted) ~= "table" then
    return value == wanted
  end
  for key, field in pairs(wanted) do
    if not contains(value[key], field) then
      return false
    end
  end
  return true
end

--- Whether claims declare the capability `cp1`. MSAL for Python writes `CP1`.
local function declares_capability(claims)
  local wanted = claims.access_token
  local declared = type(wanted) == "table" and wanted.xms_cc
  local values = type(declared) == "table" and declared.values
  for _, value in ipairs(type(values) == "table" and values or {}) do
    if tostring(value):lower() == "cp1" then
      return true
    end
  end
  return false
end

--- Whether a token has what a challenge requires.
function challenges.is_met(challenge, token)
  local claims = token.claims
  return token.replaces_refused
    or claims ~= nil and contains(claims, challenge.claims) and declares_capability(claims)
end

return challenges
