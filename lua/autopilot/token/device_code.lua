--- Signs a person in, who types a code on another device (OAuth 2.0 device grant, RFC 8628).
--
-- What the person must see goes to the option `prompt`. The refresh token of a sign-in is kept in memory
-- alone and spares the next one, also that to another tenant. How long an access token is kept is left to
-- the cache.

local authority = require "autopilot.token.authority"
local core = require "autopilot.core"
local life = require "autopilot.token.life"
local oauth = require "autopilot.token.oauth"
local options = require "autopilot.base.options"
local protected_call = require "autopilot.base.protected_call"
local sentence = require "autopilot.base.sentence"

---@class autopilot.token.DeviceCodeOptions
---@field client_id string of an application that allows public client flows
---@field prompt fun(info: autopilot.token.DevicePrompt) shows the person what to do
---@field tenant string? default: that of the client, else `organizations`
---@field authority string? default: AZURE_AUTHORITY_HOST, else that of the client's cloud
---@field scope string? default: that of the client
---@field getenv (fun(name: string): string?)? default `os.getenv`

---@class autopilot.token.DevicePrompt
---@field user_code string what to type
---@field verification_uri string where
---@field message string both in one sentence
---@field expires_in number seconds until the code is void

local name = "autopilot.token.device_code"

local rules = authority.rules({ prompt = { type = "function", required = true } }, true)
rules.client_id.required = true

-- Seconds, where the service does not tell (RFC 8628 section 3.2), and never more.
local default_interval, default_lifetime, longest_lifetime = 5, 900, 3600

-- By so much "slow_down" prolongs each further wait (section 3.5).
local slower = 5

-- Waits double while the network or the service fails, up to this.
local longest_interval = 60

--- The text on one bounded line, or nil when it is none.
local function line_of(value)
  return type(value) == "string" and sentence.clean(value, 500) or nil
end

local function seconds_of(value, default)
  return life.positive(value) or default
end

--- The code that the service has given out, or nil when the answer is not right.
local function read_device(answer)
  local device_code = answer.device_code
  local user_code, uri = line_of(answer.user_code), line_of(answer.verification_uri)
  local is_right = type(device_code) == "string" and device_code:find "^[\33-\126]+$"
  if not is_right or not user_code or not uri then
    return nil
  end
  local lifetime = seconds_of(answer.expires_in, default_lifetime)
  local instruction = "To sign in, open %s and enter the code %s."
  return {
    code = device_code,
    interval = math.min(seconds_of(answer.interval, default_interval), longest_interval),
    lifetime = math.min(lifetime, longest_lifetime),
    user_code = user_code,
    uri = uri,
    message = line_of(answer.message) or instruction:format(uri, user_code),
  }
end

--- Asks for a code and shows it. Returns it, or nil, a sentence and details.
local function begin(ask, checked, place)
  local answer, message, details = oauth.post(ask, {
    authority = place.authority,
    tenant = place.tenant,
    endpoint = "devicecode",
    form = { client_id = checked.client_id, scope = place.scope },
  })
  if not answer then
    return nil, message, details
  end
  local device = read_device(answer)
  if not device then
    local complaint = "the device code endpoint's answer holds no code that can be used"
    return nil, complaint, { is_transient = false }
  end
  local shown = protected_call(checked.prompt, {
    user_code = device.user_code,
    verification_uri = device.uri,
    message = device.message,
    expires_in = device.lifetime,
  })
  if not shown then
    return nil, "the function prompt raised an error", { is_transient = false }
  end
  return device
end

local ends = {
  expired_token = "the code has expired: nobody signed in in time",
  access_denied = "the sign-in was declined",
  authorization_declined = "the sign-in was declined", -- Entra's own word for it
}

--- The next wait after an answer without a token; nil when the sign-in has come to an end.
local function next_interval(interval, details)
  if details.code == "authorization_pending" then
    return interval
  elseif details.code == "slow_down" then
    return interval + slower
  elseif details.is_transient then
    return math.max(math.min(interval * 2, longest_interval), details.retry_after or 0)
  end
end

--- Waits until the person has signed in. Returns the answer, or nil, a sentence and details.
local function poll(ask, checked, place, device)
  local now, sleep = ask.now or core.now, ask.sleep or core.sleep
  local began, waited, interval = now(), 0, device.interval
  while true do
    -- The clock may be set back, or stand still where a world is injected: waits count as well.
    if math.max(now() - began, waited) + interval > device.lifetime then
      return nil, ends.expired_token, { code = "expired_token", is_transient = false }
    elseif ask.deadline and now() >= ask.deadline then
      return nil, "the deadline passed before anybody signed in", { is_transient = true }
    end
    sleep(interval)
    waited = waited + interval
    local answer, message, details = oauth.post(ask, {
      authority = place.authority,
      tenant = place.tenant,
      form = {
        grant_type = "urn:ietf:params:oauth:grant-type:device_code",
        client_id = checked.client_id,
        device_code = device.code,
      },
    })
    if answer then
      return answer
    end
    interval = next_interval(interval, details)
    if not interval then
      return nil, ends[details.code] or message, details
    end
  end
end

--- Refusals of a refresh token that only a person can settle.
local needs_person = {
  invalid_grant = true,
  interaction_required = true,
  consent_required = true,
  login_required = true,
}

--- Uses the refresh token of an earlier sign-in. Returns the answer, or nil, a sentence and details.
local function refresh(ask, checked, place, refresh_token)
  return oauth.post(ask, {
    authority = place.authority,
    tenant = place.tenant,
    form = {
      grant_type = "refresh_token",
      client_id = checked.client_id,
      refresh_token = refresh_token,
      scope = place.scope,
    },
  })
end

local function sign_in(ask, checked, place)
  local device, message, details = begin(ask, checked, place)
  if not device then
    return nil, message, details
  end
  return poll(ask, checked, place, device)
end

--- Makes a provider. Nothing is sent yet.
---@param given autopilot.token.DeviceCodeOptions
---@param level integer? where a mistake raises, as for `error`; default 2, the caller
---@return autopilot.TokenProvider
local function new(given, level)
  level = level or 2
  local checked = options.check(name, rules, given, level)
  -- Refresh tokens by tenant, and the newest of an authority: they are bound to no tenant and no resource,
  -- so the newest is tried for a tenant that has none of its own.
  local refresh_tokens, newest = {}, {}

  local function get_answer(ask, place, key)
    local known = refresh_tokens[key] or newest[place.authority]
    if known then
      local answer, message, details = refresh(ask, checked, place, known)
      if answer or not needs_person[details.code or ""] then
        return answer, message, details
      elseif refresh_tokens[key] == newest[place.authority] then
        newest[place.authority] = nil
      end
      refresh_tokens[key] = nil
    end
    return sign_in(ask, checked, place)
  end

  return function(ask)
    local fallback = { tenant = "organizations", is_interactive = true }
    local place, message = authority.find(checked, ask, fallback)
    if not place then
      return nil, message, { is_transient = false }
    end
    -- A refresh token is given for this scope only: without it there is none.
    place.scope = place.scope .. " offline_access"
    local key = place.authority .. " " .. place.tenant
    local answer, reason, details = get_answer(ask, place, key)
    if not answer then
      return nil, reason, details
    end
    local token, expires_in, extra = oauth.read_token(answer)
    if not token then
      return nil, expires_in, extra
    end
    refresh_tokens[key] = extra.refresh_token or refresh_tokens[key]
    newest[place.authority] = refresh_tokens[key]
    return token, expires_in, { refresh_in = extra.refresh_in }
  end
end

return new
