--- Claims challenges: what Graph wants to see in a tenant's tokens from some moment on, and says in a
-- 401 (Microsoft Entra, "Claims challenges, claims requests, and client capabilities").
--
-- A challenge is met by a token that was asked for with the same claims, by a client that declares that it
-- understands challenges (`xms_cc` with `cp1`): Entra gives such a token to no other client. A machine's
-- token meets it when it was asked for in place of a refused one.

local base64url = require "autopilot.base.base64url"
local json = require "autopilot.base.json"

local challenges = {}

---@class autopilot.emulator.Challenge
---@field claims table what is wanted, decoded
---@field text string the same as JSON
---@field encoding string `base64` or `base64url`
---@field noise boolean? another challenge stands before it

--- A challenge; nil when the text is no claims request.
---@param text string? JSON; default: a token from now on
---@param encoding string?
---@param now number Unix seconds
---@param noise boolean?
---@return autopilot.emulator.Challenge?
function challenges.new(text, encoding, now, noise)
  text = text
    or ('{"access_token":{"nbf":{"essential":true,"value":"%.0f"}}}'):format(math.floor(now))
  local claims = json.decode(text)
  return type(claims) == "table"
      and { claims = claims, text = text, encoding = encoding or "base64", noise = noise }
    or nil
end

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

--- Whether the capability is `cp1`, in any case: MSAL for Python says `CP1`.
---@param capability any
---@return boolean
function challenges.is_capability(capability)
  return type(capability) == "string" and capability:lower() == "cp1"
end

local function declares_capability(claims)
  local wanted = claims.access_token
  local declared = type(wanted) == "table" and wanted.xms_cc
  local values = type(declared) == "table" and declared.values
  for _, value in ipairs(type(values) == "table" and values or {}) do
    if challenges.is_capability(value) then
      return true
    end
  end
  return false
end

--- Whether a token is good enough.
---@param challenge autopilot.emulator.Challenge
---@param token autopilot.emulator.Token
---@return boolean
function challenges.is_met(challenge, token)
  local claims = token.claims
  return token.replaces_refused
    or (claims ~= nil and contains(claims, challenge.claims) and declares_capability(claims))
end

--- The value of WWW-Authenticate that tells the challenge.
---@param challenge autopilot.emulator.Challenge
---@return string
function challenges.header(challenge)
  local encoded = base64url.encode(challenge.text)
  if challenge.encoding == "base64" then
    encoded = encoded:gsub("-", "+"):gsub("_", "/") .. ("="):rep(-#encoded % 4)
  end
  return (challenge.noise and "Negotiate, " or "")
    .. 'Bearer realm="", '
    .. 'authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", '
    .. 'client_id="00000003-0000-0000-c000-000000000000", '
    .. ('error="insufficient_claims", claims="%s"'):format(encoded)
end

return challenges
