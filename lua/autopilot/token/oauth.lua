--- Requests to the endpoints of an Entra tenant (RFC 6749, Microsoft identity platform v2.0).
--
-- Which form to send is left to the providers; which endpoint belongs to which cloud, to `authority`.

local authority = require "autopilot.token.authority"
local core = require "autopilot.core"
local http = require "autopilot.token.http"
local merged = require "autopilot.base.merged"
local oauth_error = require "autopilot.token.oauth_error"
local provider = require "autopilot.token.provider"

local oauth = {}

---@alias autopilot.token.Form table<string, string>
--- The form, or a function that makes it anew for each attempt; it returns nil and a sentence to stop.
---@alias autopilot.token.FormSource autopilot.token.Form|fun(): autopilot.token.Form?, string?

--- The type of an assertion that proves who an application is (RFC 7523).
oauth.assertion_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

local timeout = { connect = 10, total = 30 }

-- Seconds before each further attempt with a certificate that Entra does not know yet.
local waits_for_certificate = { 2, 4, 8 }

-- Fields of forms that must not come back in a message.
local secret_fields = { "client_secret", "client_assertion", "device_code", "refresh_token" }

local function secrets_of(form)
  local secrets = {}
  for _, name in ipairs(secret_fields) do
    secrets[#secrets + 1] = form[name]
  end
  return secrets
end

--- The URL of one of the tenant's endpoints.
---@param place autopilot.token.Place
---@param endpoint string? `token` (default) or `devicecode`
---@return string
function oauth.endpoint(place, endpoint)
  return ("%s/%s/oauth2/v2.0/%s"):format(place.authority, place.tenant, endpoint or "token")
end

--- Sends a form once, with the client id and the claims that are asked for.
local function send(ask, place, url, form)
  local claims = type(ask.claims) == "string" and ask.claims ~= "" and ask.claims or nil
  return http.request(ask, {
    method = "POST",
    url = url,
    headers = {
      ["Accept"] = "application/json",
      ["Content-Type"] = "application/x-www-form-urlencoded",
      ["client-request-id"] = core.uuid(),
    },
    body = http.encode_form(merged(form, { client_id = place.client_id, claims = claims })),
    timeout = timeout,
    secrets = secrets_of(form),
  })
end

--- Sends a form to an endpoint of the tenant. A certificate that Entra does not know yet is tried again,
-- for 14 seconds in all.
---@param ask autopilot.TokenAsk its `claims` are sent as they are
---@param place autopilot.token.Place
---@param source autopilot.token.FormSource
---@param endpoint string? `token` (default) or `devicecode`
---@return table? object the JSON object of the answer
---@return string? message one line, without a secret
---@return autopilot.token.Details? details
function oauth.post(ask, place, source, endpoint)
  local url, attempt = oauth.endpoint(place, endpoint), 0
  while true do
    local form, reason = source, nil
    if type(source) == "function" then
      form, reason = source()
    end
    if not form then
      return provider.failure(reason)
    end
    local object, message, details = send(ask, place, url, form)
    attempt = attempt + 1
    local wait = details
      and oauth_error.is_not_yet_known(details)
      and waits_for_certificate[attempt]
    if object or not wait or not ask.sleep then
      return object, message, details
    end
    ask.sleep(wait)
  end
end

--- Asks the tenant's endpoint for a token.
---@param ask autopilot.TokenAsk
---@param place autopilot.token.Place
---@param source autopilot.token.FormSource
---@return string? token
---@return number|string|nil expires_in seconds, when told; without a token the message: one line, without a secret
---@return table extra `refresh_in`, `refresh_token`; without a token `autopilot.token.Details`
function oauth.request(ask, place, source)
  local object, message, details = oauth.post(ask, place, source)
  if not object then
    return nil, message, details
  end
  return http.read_token(object, http.now(ask))
end

--- Signs an application in (client credentials, RFC 6749 section 4.4).
---@param ask autopilot.TokenAsk
---@param checked table options, checked by `authority.rules`
---@param prove fun(place: autopilot.token.Place): autopilot.token.Form?, string? called for each attempt
--- Returns the fields that prove who the application is; or nil and a sentence.
---@param fallback { tenant: string?, client_id: string? }? for what the options do not have
---@return string? token
---@return number|string|nil expires_in
---@return table extra
function oauth.sign_in(ask, checked, prove, fallback)
  local place, message = authority.find(checked, ask, fallback)
  if not place then
    return provider.failure(message)
  end
  return oauth.request(ask, place, function()
    local proof, reason = prove(place)
    return proof and merged(proof, {
      grant_type = "client_credentials",
      client_assertion_type = proof.client_assertion and oauth.assertion_type,
      scope = place.scope,
    }),
      reason
  end)
end

return oauth
