--- Access tokens: made, remembered and checked.
--
-- A token made here has the three parts of a JWT and the claims of an application's or a user's. It is
-- known again because it is remembered, not by its signature, which only looks like one.

local identifiers = require "autopilot.emulator.identifiers"
local base64url = require "autopilot.base.base64url"
local json = require "autopilot.base.json"

---@class autopilot.emulator.AccessTokens
local AccessTokens = {}
AccessTokens.__index = AccessTokens

---@class autopilot.emulator.Token
---@field tenant string
---@field client_id string? the application it was made for
---@field roles string[] permissions of the application, or delegated by the user
---@field user string? who signed in; nil for an application's own
---@field object_id string? of the user, in the directory
---@field claims table? the claims request that it was asked for with
---@field replaces_refused boolean? a machine's, asked for in place of one that was refused
---@field expires number? Unix seconds; nil for never
---@field audience string? nil is good for every service

-- An expired token is remembered this long, so that it is refused as expired and not as unknown.
local remembered_after_expiry = 3600
local first_sweep = 1024

---@param known table<string, autopilot.emulator.Token> tokens that are good without having been asked for
---@param made_up table the emulator's generator of identifiers
---@return autopilot.emulator.AccessTokens
function AccessTokens.new(known, made_up)
  return setmetatable({
    known = known,
    made_up = made_up,
    issued = {},
    count = 0,
    sweep_at = first_sweep,
  }, AccessTokens)
end

--- Forgets tokens that expired long ago, and sets at how many tokens to do so again.
local function sweep(self, now)
  local left = 0
  for text, token in pairs(self.issued) do
    if token.expires + remembered_after_expiry < now then
      self.issued[text] = nil
    else
      left = left + 1
    end
  end
  self.count, self.sweep_at = left, math.max(first_sweep, 2 * left)
end

--- A JSON Web Token whose signature is made up.
local function jwt(self, claims)
  local header = { typ = "JWT", alg = "RS256", kid = identifiers.key_id }
  return table.concat({
    base64url.encode(json.encode(header)),
    base64url.encode(json.encode(claims)),
    self.made_up.text(86),
  }, ".")
end

--- Makes a token and remembers it.
---@param grant autopilot.emulator.Token with `expires`
---@param now number Unix seconds
---@return string token
function AccessTokens:issue(grant, now)
  if self.count >= self.sweep_at then
    sweep(self, now)
  end
  local token = jwt(self, {
    aud = grant.audience,
    iss = ("https://sts.windows.net/%s/"):format(grant.tenant),
    tid = grant.tenant,
    appid = grant.client_id,
    idtyp = grant.user and "user" or "app",
    oid = grant.object_id,
    upn = grant.user,
    scp = grant.user and table.concat(grant.roles, " ") or nil,
    -- An empty table would become an object.
    roles = not grant.user and #grant.roles > 0 and grant.roles or nil,
    iat = math.floor(now),
    nbf = math.floor(now),
    exp = math.floor(grant.expires),
    uti = self.made_up.text(22),
    ver = "1.0",
  })
  self.issued[token] = grant
  self.count = self.count + 1
  return token
end

--- The token that tells a client who has signed in (OpenID Connect).
---@param grant autopilot.emulator.Token of a user
---@param now number Unix seconds
---@return string token
function AccessTokens:id_token(grant, now)
  return jwt(self, {
    aud = grant.client_id,
    iss = ("https://login.microsoftonline.com/%s/v2.0"):format(grant.tenant),
    tid = grant.tenant,
    oid = grant.object_id,
    sub = grant.object_id,
    name = grant.user,
    preferred_username = grant.user,
    iat = math.floor(now),
    nbf = math.floor(now),
    exp = math.floor(grant.expires),
    ver = "2.0",
  })
end

--- Looks a token up and checks that it is good now, as the service does.
---@param authorization string? the header's value
---@param audiences table<string, boolean> audiences that are accepted
---@param now number Unix seconds
---@return autopilot.emulator.Token? token
---@return string? message why it is refused
function AccessTokens:check(authorization, audiences, now)
  local scheme, text = (authorization or ""):match "^(%a+) +(%S+)$"
  if not scheme or scheme:lower() ~= "bearer" then
    return nil, "Access token is empty."
  end
  local token = self.issued[text] or self.known[text]
  if not token then
    return nil, "CompactToken parsing failed with error code: 80049217"
  elseif token.expires and token.expires <= now then
    return nil, "Lifetime validation failed, the token is expired."
  elseif token.audience and not audiences[token.audience] then
    return nil, "Access token validation failure. Invalid audience."
  end
  return token
end

return AccessTokens
