--- People who sign in with a code on another device (RFC 8628), and their refresh tokens.
--
-- A test decides what a person does with a code, by `approve` and `decline`.

local demand = require("autopilot.emulator.answers").demand

---@class autopilot.emulator.Users
local Users = {}
Users.__index = Users

--- Names in a URL in the place of a tenant: the tenant is that of the person who signs in.
Users.any_tenant = { common = true, organizations = true, consumers = true }

-- Seconds by which a poll that comes too soon prolongs the interval (RFC 8628 section 3.5).
local prolongation = 5

--- `rules`: seconds that a code lasts (`lifetime`) and between two polls (`interval`).
function Users.new(rules, identifiers)
  return setmetatable({
    rules = rules,
    identifiers = identifiers,
    sign_ins = {}, -- by device code
    refresh_tokens = {},
    object_ids = {}, -- by user
  }, Users)
end

--- Gives out a device code. Returns it and what is known of this sign-in; later it also has `polled_at` (Unix
-- seconds), `user` (who has approved) and `declined`.
function Users:offer(client_id, scopes, now)
  local code = self.identifiers.text(40)
  self.sign_ins[code] = {
    client_id = client_id,
    scopes = scopes,
    user_code = self.identifiers.guid():sub(1, 8):upper(),
    expires = now + self.rules.lifetime,
    interval = self.rules.interval,
  }
  return code, self.sign_ins[code]
end

--- The person `user` signs in with a code; nil: declines to. Returns false when no device shows the code.
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
  local is_known = sign_in and sign_in.client_id == call.fields.client_id
  demand(call, is_known, "unknown_device_code")
  local is_expired, last = sign_in.expires <= now, sign_in.polled_at
  if is_expired or sign_in.declined then
    self.sign_ins[code] = nil
    demand(call, false, is_expired and "code_expired" or "declined")
  end
  sign_in.polled_at = now
  if last and now - last < sign_in.interval then
    sign_in.interval = sign_in.interval + prolongation
    demand(call, false, "polled_too_soon")
  end
  demand(call, sign_in.user, "not_signed_in_yet")
  self.sign_ins[code] = nil
  return sign_in
end

--- Makes a refresh token.
function Users:new_refresh_token(client_id, user)
  local token = self.identifiers.text(80)
  self.refresh_tokens[token] = { client_id = client_id, user = user }
  return token
end

--- The user of the refresh token in a token request. It is good in every tenant and for every resource ("Refresh
-- tokens in the Microsoft identity platform").
function Users:refresh(call)
  local token = self.refresh_tokens[call.fields.refresh_token]
  local is_known = token and token.client_id == call.fields.client_id
  demand(call, is_known, "wrong_refresh_token")
  return token.user
end

--- The id of a person in the directory: the same at every sign-in.
function Users:object_id(user)
  self.object_ids[user] = self.object_ids[user] or self.identifiers.guid()
  return self.object_ids[user]
end

--- Makes every refresh token void, as a changed password does.
function Users:forget_sign_ins()
  self.refresh_tokens = {}
end

return Users
