--- Signs a person in, who types a code on another device (OAuth 2.0 device grant, RFC 8628).
--
-- The option `prompt` shows the person what to do. The refresh token of a sign-in is kept in memory only;
-- it spares the next sign-in, also to another tenant. How long an access token is kept is left to the cache.

local Leases = require "autopilot.base.lease"
local authority = require "autopilot.token.authority"
local core = require "autopilot.core"
local fetch_once = require "autopilot.token.fetch_once"
local life = require "autopilot.token.life"
local protected_call = require "autopilot.base.protected_call"
local provider = require "autopilot.token.provider"

local need = provider.need

---@class autopilot.token.DeviceCodeOptions: autopilot.token.CommonOptions
---@field client_id string of an application that allows public client flows
---@field prompt fun(info: autopilot.token.DevicePrompt) shows the person what to do
---@field tenant string? default: that of the client, else `organizations`

---@class autopilot.token.DevicePrompt
---@field user_code string what to type
---@field verification_uri string where
---@field message string both in one sentence
---@field expires_in number seconds until the code expires

local rules = authority.rules {
  client_id = authority.required_client_id,
  prompt = { type = "function", required = true },
  tenant = {
    type = "string",
    check = function(value)
      return authority.tenant_complaint(value, true)
    end,
  },
}

local fallback = { tenant = "organizations", is_interactive = true }

-- Seconds, where the service does not tell (RFC 8628 section 3.2), and the longest life of a code.
local default_interval, default_lifetime, longest_lifetime = 5, 900, 3600

-- Seconds by which "slow_down" prolongs each further wait (section 3.5).
local slower = 5

-- Seconds up to which waits double while the network or the service fails.
local longest_interval = 60

--- Reads the answer that contains a code.
local function read_device(answer)
  local device_code, line = answer.device_code, provider.cleaner()
  local user_code, uri = line(answer.user_code), line(answer.verification_uri)
  local is_right = type(device_code) == "string" and device_code:find "^[\33-\126]+$"
  local message = "the device code endpoint's answer holds no code that can be used"
  need(is_right and user_code and uri, message)
  local interval = life.positive(answer.interval) or default_interval
  local lifetime = math.min(life.positive(answer.expires_in) or default_lifetime, longest_lifetime)
  local instruction = "To sign in, open %s and enter the code %s."
  return {
    code = device_code,
    interval = math.min(interval, longest_interval),
    info = {
      user_code = user_code,
      verification_uri = uri,
      message = line(answer.message) or instruction:format(uri, user_code),
      expires_in = lifetime,
    },
  }
end

local ends = {
  expired_token = "the code has expired: nobody signed in in time",
  access_denied = "the sign-in was declined",
  authorization_declined = "the sign-in was declined", -- Entra's name for it
}

--- The next wait after an answer without a token; false when the sign-in has ended. "slow_down" prolongs all further
-- waits, a failure only the next one.
local function next_wait(device, wait, details)
  if details.code == "slow_down" then
    device.interval = device.interval + slower
  elseif details.code ~= "authorization_pending" then
    wait = details.is_transient and math.min(wait * 2, longest_interval)
    return wait and math.max(wait, details.retry_after or 0)
  end
  return device.interval
end

--- Requests a code, shows it to the person, and waits until they have signed in. Returns what `authority.request` does.
local function sign_in(ask, place, prompt)
  local device =
    read_device(need(authority.post(ask, place, { scope = place.scope }, "devicecode")))
  need(protected_call(prompt, device.info), "the function prompt raised an error")
  local grant = {
    grant_type = "urn:ietf:params:oauth:grant-type:device_code",
    device_code = device.code,
  }
  local now, sleep = ask.now, ask.sleep or core.sleep
  local began, waited, wait = now(), 0, device.interval
  while true do
    -- The clock may be set back, or not move in a test: so the waits are counted as well.
    if math.max(now() - began, waited) + wait > device.info.expires_in then
      provider.fail(ends.expired_token, { code = "expired_token" })
    elseif ask.deadline and now() >= ask.deadline then
      provider.fail("the deadline passed before anybody signed in", { is_transient = true })
    end
    sleep(wait)
    waited = waited + wait
    local token, expires_in, extra = authority.request(ask, place, grant)
    wait = not token and next_wait(device, wait, extra)
    if not wait then
      return token, ends[extra.code] or expires_in, extra
    end
  end
end

--- Refusals of a refresh token after which a person has to sign in again.
local needs_person = {
  invalid_grant = true,
  interaction_required = true,
  consent_required = true,
  login_required = true,
}

--- The keys of the tenant's own refresh token, and of the newest one of any tenant.
local function keys_of(place)
  return place.authority .. " " .. place.tenant, place.authority
end

return provider.kind("device_code", rules, function(checked)
  -- Refresh tokens belong to no tenant or resource, so the newest is tried for a tenant without its own.
  local refresh_tokens = {}
  -- One sign-in at a time, because those that wait for it can then use its refresh token.
  local leases = Leases.new()

  --- Returns a token, and keeps the refresh token that came with it.
  local function keep(place, token, expires_in, extra)
    if token then
      local own, any = keys_of(place)
      refresh_tokens[own] = extra.refresh_token or refresh_tokens[own]
      refresh_tokens[any] = refresh_tokens[own]
      extra.refresh_token = nil -- not for the caller
    end
    return token, expires_in, extra
  end

  --- Requests a token with a refresh token. Returns nil alone if a person has to sign in.
  local function renew(ask, place)
    local own, any = keys_of(place)
    local known = refresh_tokens[own] or refresh_tokens[any]
    if not known then
      return nil
    end
    local grant = { grant_type = "refresh_token", refresh_token = known, scope = place.scope }
    local token, expires_in, extra = authority.request(ask, place, grant)
    if token or not needs_person[extra.code] then
      return keep(place, token, expires_in, extra)
    end
    -- The refused token is forgotten, and no newer one; one that another tenant has given stays.
    if refresh_tokens[own] == known then
      refresh_tokens[own] = nil
      refresh_tokens[any] = refresh_tokens[any] ~= known and refresh_tokens[any] or nil
    end
  end

  return function(ask)
    local place, is_own = authority.find(checked, ask, fallback), false
    -- Entra sends a refresh token only if this scope is requested.
    place.scope = place.scope .. " offline_access"
    local function ask_person(watched)
      is_own = true
      return keep(place, provider.results(sign_in, watched, place, checked.prompt))
    end
    while true do
      local token, expires_in, extra = renew(ask, place)
      if token or extra then
        return token, expires_in, extra
      end
      token, expires_in, extra = fetch_once(leases, place.authority, ask, ask_person)
      -- Another call's sign-in may have been for another tenant: its token is not used, and its failure is returned only
      -- if the person declined, or did not enter the code in time.
      if is_own or (not token and (not extra or ends[extra.code])) then
        return token, expires_in, extra
      end
    end
  end
end)
