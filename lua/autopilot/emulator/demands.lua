--- Claims challenges: what Graph wants to see in a tenant's tokens from some moment on, and says in a
-- 401 (Microsoft Entra, "Claims challenges, claims requests, and client capabilities").
--
-- A token meets them that was asked for with the same claims, by a client that declares to understand
-- challenges (`xms_cc` with `cp1`): Entra would not give one to others.

local identifiers = require "autopilot.emulator.identifiers"
local json = require "autopilot.base.json"

local demands = {}

---@class autopilot.emulator.Demand
---@field claims table what is wanted, decoded
---@field text string the same as JSON
---@field encoding string `base64` or `base64url`

--- A demand; nil when the text is no claims request.
---@param text string? JSON; default: a token from now on
---@param encoding string?
---@param now number Unix seconds
---@return autopilot.emulator.Demand?
function demands.new(text, encoding, now)
  text = text
    or ('{"access_token":{"nbf":{"essential":true,"value":"%.0f"}}}'):format(math.floor(now))
  local claims = json.decode(text)
  return type(claims) == "table"
      and { claims = claims, text = text, encoding = encoding or "base64" }
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

local function declares_capability(claims)
  local wanted = claims.access_token
  local declared = type(wanted) == "table" and wanted.xms_cc
  local values = type(declared) == "table" and declared.values
  for _, value in ipairs(type(values) == "table" and values or {}) do
    if value == "cp1" then
      return true
    end
  end
  return false
end

--- Whether a token that was asked for with these claims is good enough.
---@param demand autopilot.emulator.Demand
---@param claims table? decoded
---@return boolean
function demands.are_met(demand, claims)
  return claims ~= nil and contains(claims, demand.claims) and declares_capability(claims)
end

--- The value of WWW-Authenticate that tells the demand, among a challenge that does not matter.
---@param demand autopilot.emulator.Demand
---@return string
function demands.challenge(demand)
  local encoded = identifiers.base64url(demand.text)
  if demand.encoding == "base64" then
    encoded = encoded:gsub("-", "+"):gsub("_", "/") .. ("="):rep(-#encoded % 4)
  end
  return 'Negotiate, Bearer realm="", '
    .. 'authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", '
    .. 'client_id="00000003-0000-0000-c000-000000000000", '
    .. ('error="insufficient_claims", claims="%s"'):format(encoded)
end

return demands
