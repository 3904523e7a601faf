--- Access tokens: made and remembered; `autopilot.emulator.graph` checks them.
--
-- A token made here has the three parts of a JWT and the claims of an application's or a user's. It is recognized
-- because it is remembered: the signature is made up.

local base64url = require "autopilot.base.base64url"
local json = require "autopilot.base.json"
local merged = require "autopilot.base.merged"

---@class autopilot.emulator.AccessTokens
---@field lifetime number seconds, of a token for which nothing else is said
local AccessTokens = {}
AccessTokens.__index = AccessTokens

---@class autopilot.emulator.Token
---@field tenant string
---@field client_id string? the application it was made for
---@field roles string[]? permissions of the application, or delegated by the user; default: the one that the sync needs
---@field user string? who signed in; nil for an application's own
---@field object_id string? of the user, in the directory
---@field claims table? the claims request that it was asked for with
---@field replaces_refused boolean? a machine's, asked for in place of one that was refused
---@field lifetime number? seconds, of a token that is to be issued
---@field expires number? Unix seconds; nil for never
---@field audience string? nil: every service accepts it

--- The name of the key that every token claims to be signed with.
AccessTokens.key_id = "emulated"

--- The permission that the sync needs: what a token has where no roles are given.
AccessTokens.default_roles = { "DeviceManagementServiceConfig.ReadWrite.All" }

-- An expired token is remembered this long, so that it is refused as expired and not as unknown.
local remembered_after_expiry = 3600
-- After so many new tokens those that expired long ago are forgotten.
local sweep_interval = 1024

--- `known`: tokens that are accepted without having been made here, by their text.
function AccessTokens.new(known, lifetime, made_up)
  local self = { lifetime = lifetime, made_up = made_up, issued = {}, count = 0 }
  for text, token in pairs(known) do
    self.issued[text] = merged({ roles = AccessTokens.default_roles }, token)
  end
  return setmetatable(self, AccessTokens)
end

local function sweep(self, now)
  for text, token in pairs(self.issued) do
    if token.expires and token.expires + remembered_after_expiry < now then
      self.issued[text] = nil
    end
  end
end

--- A JSON Web Token with these claims and those that every token has: an access token, which is remembered by `issue`,
-- an ID token, or an assertion. The token's `expires` must be set.
function AccessTokens:jwt(token, now, claims)
  local header = { typ = "JWT", alg = "RS256", kid = AccessTokens.key_id }
  claims.tid, claims.oid = token.tenant, token.object_id
  claims.iat, claims.nbf, claims.exp = math.floor(now), math.floor(now), math.floor(token.expires)
  return table.concat({
    base64url.encode(json.encode(header)),
    base64url.encode(json.encode(claims)),
    self.made_up(("x"):rep(86)),
  }, ".")
end

--- Makes the text of a token, remembers it, and sets the token's `expires` and `roles`.
function AccessTokens:issue(token, now)
  self.count = self.count + 1
  if self.count % sweep_interval == 0 then
    sweep(self, now)
  end
  token.expires = now + (token.lifetime or self.lifetime)
  token.roles = token.roles or AccessTokens.default_roles
  local text = self:jwt(token, now, {
    aud = token.audience,
    iss = ("https://sts.windows.net/%s/"):format(token.tenant),
    appid = token.client_id,
    idtyp = token.user and "user" or "app",
    upn = token.user,
    scp = token.user and table.concat(token.roles, " "),
    -- Not an empty list: JSON would make an object of it.
    roles = not token.user and token.roles[1] and token.roles or nil,
    uti = self.made_up(("x"):rep(22)),
    ver = "1.0",
  })
  self.issued[text] = token
  return text
end

return AccessTokens
