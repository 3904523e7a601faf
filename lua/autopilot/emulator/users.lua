--- People who sign in with a code on another device (RFC 8628), and the refresh tokens that they leave.
--
-- A test tells what the person does with the code, by `approve` and `decline`.

local users = {}
users.__index = users

---@class autopilot.emulator.DeviceGrant
---@field client_id string
---@field tenant string? nil: the one that the person belongs to
---@field scope string as it was asked for
---@field user_code string
---@field expires number Unix seconds
---@field interval number seconds that must pass between two polls
---@field polled_at number? Unix seconds
---@field user string? who has approved
---@field declined boolean?

--- Names in a URL that stand for the tenant that a person belongs to.
users.any_tenant = { common = true, organizations = true, consumers = true }

-- By so much a poll that comes too soon prolongs the interval (RFC 8628 section 3.5).
local slower = 5

---@param given { lifetime: number, interval: number } seconds
---@param made_up table the emulator's generator of identifiers
function users.new(given, made_up)
  return setmetatable({
    lifetime = given.lifetime,
    interval = given.interval,
    made_up = made_up,
    grants = {}, -- by device code
    refresh_tokens = {},
    object_ids = {}, -- by user
  }, users)
end

--- Gives out a code.
---@return string device_code
---@return autopilot.emulator.DeviceGrant grant
function users:offer(client_id, tenant, scope, now)
  local code = self.made_up.text(40)
  local grant = {
    client_id = client_id,
    tenant = tenant,
    scope = scope,
    user_code = self.made_up.guid():sub(1, 8):upper(),
    expires = now + self.lifetime,
    interval = self.interval,
  }
  self.grants[code] = grant
  return code, grant
end

--- What a person does with a code; false when no device shows it.
---@param user_code string
---@param user string? who signs in; nil declines
---@return boolean
function users:decide(user_code, user)
  for _, grant in pairs(self.grants) do
    if grant.user_code == user_code then
      grant.user, grant.declined = user, user == nil
      return true
    end
  end
  return false
end

--- The grant that a device code has come to, or nil with the refusal: OAuth error, AADSTS number, sentence.
---@return autopilot.emulator.DeviceGrant? grant
---@return string? code, integer? number, string? sentence
function users:poll(device_code, client_id, now)
  local grant = self.grants[device_code]
  if not grant or grant.client_id ~= client_id then
    return nil, "bad_verification_code", 70018, "The device code is not one that was given out."
  elseif grant.expires <= now then
    self.grants[device_code] = nil
    return nil, "expired_token", 70019, "The device code has expired."
  elseif grant.declined then
    self.grants[device_code] = nil
    return nil, "authorization_declined", 65004, "The person has declined to sign in."
  elseif grant.polled_at and now - grant.polled_at < grant.interval then
    grant.interval, grant.polled_at = grant.interval + slower, now
    return nil, "slow_down", 70016, "The client asks too often."
  elseif not grant.user then
    grant.polled_at = now
    return nil, "authorization_pending", 70016, "The person has not signed in yet."
  end
  self.grants[device_code] = nil -- good once
  return grant
end

--- A refresh token of a sign-in.
---@return string
function users:leave_refresh_token(grant)
  local token = self.made_up.text(80)
  self.refresh_tokens[token] = { client_id = grant.client_id, user = grant.user }
  return token
end

--- The sign-in that a refresh token is of, or nil with the refusal. It is good in every tenant and for
-- every resource ("Refresh tokens in the Microsoft identity platform").
---@return { client_id: string, user: string }? sign_in
---@return string? code, integer? number, string? sentence
function users:refresh(token, client_id)
  local sign_in = self.refresh_tokens[token]
  if not sign_in or sign_in.client_id ~= client_id then
    return nil, "invalid_grant", 70000, "The refresh token is not one that was given out."
  end
  return sign_in
end

--- The id of a person in the directory: the same at every sign-in.
---@param user string
---@return string
function users:object_id(user)
  local id = self.object_ids[user] or self.made_up.guid()
  self.object_ids[user] = id
  return id
end

--- Makes every refresh token void, as a changed password does.
function users:forget_sign_ins()
  self.refresh_tokens = {}
end

return users
