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

-- The fields of a form that are secrets.
local secret_fields = { "client_secret", "client_assertion", "device_code", "refresh_token" }

--- Sends a form to one of these endpoints, once, with the client id and the claims that are asked for.
---@param ask autopilot.TokenAsk
---@param place autopilot.token.Place
---@param form table<string, string>
---@param name string? of the endpoint
---@return table? object the JSON object of the answer
---@return string? message one line, without a secret
---@return autopilot.token.Details? details
function oauth.post(ask, place, form, name)
  local secrets = {}
  for _, field in ipairs(secret_fields) do
    secrets[#secrets + 1] = form[field]
  end
  return endpoint.request(ask, {
    url = authority.url(place, name),
    form = merged(form, { client_id = place.client_id, claims = ask.claims }),
    headers = { Accept = "application/json", ["client-request-id"] = core.uuid() },
    secrets = secrets,
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

--- Requests a token for an application that authenticates itself. With a certificate that Entra does not
-- know yet this is tried again, for 14 seconds in all.
---@param ask autopilot.TokenAsk
---@param place autopilot.token.Place
---@param prove autopilot.token.Prove
---@param grant table<string, string>? default: client credentials (RFC 6749 section 4.4)
---@return string? token, number|string|nil expires_in, table extra as `oauth.request`
function oauth.sign_in(ask, place, prove, grant)
  grant = grant or { grant_type = "client_credentials", scope = place.scope }
  for attempt = 1, #waits_for_certificate + 1 do
    local token, expires_in, extra = oauth.request(ask, place, merged(prove(ask, place), grant))
    local wait = extra.reason == endpoint.not_yet_known and waits_for_certificate[attempt]
    if token or not wait or not ask.sleep then
      return token, expires_in, extra
    end
    ask.sleep(wait)
  end
end

return oauth
