--- People who sign in with a code on another device (RFC 8628), and the refresh tokens that they leave.
--
-- A test decides what a person does with a code, by `approve` and `decline`.

local refuse = require("autopilot.emulator.answers").refuse

---@class autopilot.emulator.Users
local Users = {}
Users.__index = Users

---@class autopilot.emulator.SignIn a code that was given out
---@field client_id string
---@field tenant string? nil: the one that the person belongs to
---@field scopes autopilot.emulator.Scopes
---@field user_code string
---@field expires number Unix seconds
---@field interval number seconds that must pass between two polls
---@field polled_at number? Unix seconds
---@field user string? who has approved
---@field declined boolean?

--- Names in a URL that stand for the tenant that a person belongs to.
Users.any_tenant = { common = true, organizations = true, consumers = true }

-- A poll that comes too soon prolongs the interval by so many seconds (RFC 8628 section 3.5).
local slower = 5

---@param rules { lifetime: number, interval: number } of codes, seconds
---@param made_up table the emulator's generator of identifiers
---@return autopilot.emulator.Users
function Users.new(rules, made_up)
  return setmetatable({
    rules = rules,
    made_up = made_up,
    sign_ins = {}, -- by device code
    refresh_tokens = {},
    object_ids = {}, -- by user
  }, Users)
end

--- Gives out a device code. Returns it and its `SignIn`.
function Users:offer(client_id, tenant, asked, now)
  local code = self.made_up.text(40)
  self.sign_ins[code] = {
    client_id = client_id,
    tenant = tenant,
    scopes = asked,
    user_code = self.made_up.guid():sub(1, 8):upper(),
    expires = now + self.rules.lifetime,
    interval = self.rules.interval,
  }
  return code, self.sign_ins[code]
end

--- The person `user` signs in with a code, or somebody declines to (nil). Returns false when no device shows the code.
function Users:decide(user_code, user)
  for _, sign_in in pairs(self.sign_ins) do
    if sign_in.user_code == user_code then
      sign_in.user, sign_in.declined = user, user == nil
      return true
    end
  end
  return false
end

--- The sign-in of the device code in a token request, once the person has approved it. A code is good once.
function Users:poll(call)
  local code, now = call.fields.device_code, call.now
  local sign_in = self.sign_ins[code]
  if not sign_in or sign_in.client_id ~= call.fields.client_id then
    refuse(call, "unknown_device_code")
  end
  local is_over = sign_in.expires <= now or sign_in.declined
  if not is_over and sign_in.polled_at and now - sign_in.polled_at < sign_in.interval then
    sign_in.interval, sign_in.polled_at = sign_in.interval + slower, now
    refuse(call, "polled_too_soon")
  elseif not is_over and not sign_in.user then
    sign_in.polled_at = now
    refuse(call, "not_signed_in_yet")
  end
  self.sign_ins[code] = nil
  if is_over then
    refuse(call, sign_in.expires <= now and "code_expired" or "declined")
  end
  return sign_in
end

--- Makes a refresh token.
function Users:leave_refresh_token(client_id, user)
  local token = self.made_up.text(80)
  self.refresh_tokens[token] = { client_id = client_id, user = user }
  return token
end

--- The user who has left the refresh token in a token request. It is good in every tenant and for every resource
-- ("Refresh tokens in the Microsoft identity platform").
function Users:refresh(call)
  local left = self.refresh_tokens[call.fields.refresh_token]
  if not left or left.client_id ~= call.fields.client_id then
    refuse(call, "wrong_refresh_token")
  end
  return left.user
end

--- The id of a person in the directory: the same at every sign-in.
function Users:object_id(user)
  self.object_ids[user] = self.object_ids[user] or self.made_up.guid()
  return self.object_ids[user]
end

--- Makes every refresh token void, as a changed password does.
function Users:forget_sign_ins()
  self.refresh_tokens = {}
end

return Users
