--- Requests to the endpoints of an Entra tenant (RFC 6749, Microsoft identity platform v2.0).
--
-- Which form to send is left to the providers; which endpoint belongs to which cloud, to `authority`.

local authority = require "autopilot.token.authority"
local core = require "autopilot.core"
local endpoint = require "autopilot.token.endpoint"
local merged = require "autopilot.base.merged"

local oauth = {}

-- Seconds before each further attempt with a certificate that Entra does not know yet.
local waits_for_certificate = { 2, 4, 8 }

--- The URL of one of the tenant's endpoints: `token`, the default, or `devicecode`.
function oauth.url(place, name)
  return ("%s/%s/oauth2/v2.0/%s"):format(place.authority, place.tenant, name or "token")
end

--- Sends a form to one of these endpoints, once, with the client id and the claims that are asked for.
---@param ask autopilot.TokenAsk
---@param place autopilot.token.Place
---@param form table<string, string>
---@param name string? of the endpoint
---@return table? object the JSON object of the answer
---@return string? message one line, without a secret
---@return autopilot.token.Details? details
function oauth.post(ask, place, form, name)
  local secret = form.client_secret or form.client_assertion
  return endpoint.request(ask, {
    url = oauth.url(place, name),
    form = merged(form, { client_id = place.client_id, claims = ask.claims }),
    headers = { Accept = "application/json", ["client-request-id"] = core.uuid() },
    secrets = { secret or form.device_code or form.refresh_token },
  })
end

--- Asks the tenant's endpoint for a token, once.
---@param ask autopilot.TokenAsk
---@param place autopilot.token.Place
---@param form table<string, string>
---@return string? token
---@return number|string|nil expires_in seconds, when told; without a token the message: one line, without a secret
---@return table extra `refresh_in`, `refresh_token`; without a token `autopilot.token.Details`
function oauth.request(ask, place, form)
  local object, message, details = oauth.post(ask, place, form)
  if not object then
    return nil, message, details
  end
  return endpoint.read_token(object, ask.now())
end

--- Signs an application in (client credentials, RFC 6749 section 4.4). A certificate that Entra does not know
-- yet is tried again, for 14 seconds in all.
---@param ask autopilot.TokenAsk
---@param checked table options, checked by `authority.rules`
---@param prove fun(place: autopilot.token.Place): table<string, string> called for each attempt
--- Returns the fields that prove who the application is.
---@param fallback { tenant: string?, client_id: string? }? for what the options do not have
---@return string? token, number|string|nil expires_in, table extra
function oauth.sign_in(ask, checked, prove, fallback)
  local place = authority.find(checked, ask, fallback)
  local grant = { grant_type = "client_credentials", scope = place.scope }
  for attempt = 1, #waits_for_certificate + 1 do
    local token, expires_in, extra = oauth.request(ask, place, merged(prove(place), grant))
    local wait = extra.reason == endpoint.not_yet_known and waits_for_certificate[attempt]
    if token or not wait or not ask.sleep then
      return token, expires_in, extra
    end
    ask.sleep(wait)
  end
end

--- The fields that prove who an application is by an assertion (RFC 7523 section 2.2).
function oauth.proof(assertion)
  return {
    client_assertion = assertion,
    client_assertion_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
  }
end

return oauth
