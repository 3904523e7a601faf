--- How an application authenticates to Entra: with its secret, or with a signed assertion.
--
-- No signature is checked here, which would need OpenSSL: the function `verify` of an application may do that. The
-- claims of an assertion are compared with the application's settings.

local base64url = require "autopilot.base.base64url"
local contains = require("autopilot.base.options").contains
local demand = require("autopilot.emulator.answers").demand
local inspect = require "autopilot.base.jwt"
local json = require "autopilot.base.json"

---@class autopilot.emulator.Application
---@field secret string? nil refuses every secret
---@field secret_expires number? Unix seconds; nil for never
---@field certificates string[]? thumbprints in base64url, SHA-256 or SHA-1, of keys that may sign its assertions
---@field federated autopilot.emulator.FederatedCredential[]? platforms whose tokens are its assertions
---@field public boolean? people may sign in to it with a code; default false
---@field roles string[]? permissions in its tokens; default: the one that the sync needs
---@field verify (fun(assertion: string, form: table<string, string>): boolean, string?)? checks a client assertion instead: whether it is right, and why not

---@class autopilot.emulator.FederatedCredential what a platform's token must say
---@field issuer string
---@field subject string
---@field audience string? default `api://AzureADTokenExchange`

local jwt_bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
local default_audience = "api://AzureADTokenExchange"

-- Seconds by which the clocks of two machines may differ.
local skew = 300

--- The thumbprint of the certificate that an assertion names, in base64url: SHA-256, else SHA-1.
local function thumbprint_of(assertion)
  local header = json.decode(base64url.decode(assertion:match "^[^.]*"))
  local thumbprint = type(header) == "table" and (header["x5t#S256"] or header.x5t)
  -- MSAL for Python does not remove the padding.
  return type(thumbprint) == "string" and (thumbprint:gsub("=+$", "")) or nil
end

local function is_timely(claims, now)
  local begins, ends = tonumber(claims.nbf) or now, tonumber(claims.exp)
  return ends ~= nil and ends + skew > now and begins - skew <= now
end

local function check_certificate(application, call, claims, thumbprint)
  local client_id = call.fields.client_id
  demand(call, contains(application.certificates or {}, thumbprint), "unknown_key")
  demand(call, claims.iss == client_id and claims.sub == client_id, "wrong_application")
  local path = tostring(claims.aud):match "^https?://[^/]+(/.*)$" -- the host may be any
  demand(call, path == call.path, "wrong_endpoint")
end

local function check_platform(application, call, claims)
  local mistake = "wrong_issuer"
  for _, known in ipairs(application.federated) do
    if claims.iss == known.issuer then
      local is_audience = claims.aud == (known.audience or default_audience)
      mistake = claims.sub ~= known.subject and "wrong_subject"
        or not is_audience and "wrong_audience"
      if not mistake then
        return
      end
    end
  end
  demand(call, false, mistake)
end

local function check_assertion(application, call)
  local fields = call.fields
  local assertion = fields.client_assertion
  demand(call, fields.client_assertion_type == jwt_bearer, "wrong_assertion_type")
  if application.verify then
    local is_right, why = application.verify(assertion, fields)
    return demand(call, is_right, "unverified", why or "wrong signature")
  end
  local claims, thumbprint = inspect(assertion), thumbprint_of(assertion)
  demand(call, claims and (thumbprint or application.federated), "unknown_key")
  local check = thumbprint and check_certificate or check_platform
  check(application, call, claims, thumbprint)
  demand(call, is_timely(claims, call.now), "not_timely")
end

--- Refuses a token request of an application without valid authentication.
---@param application autopilot.emulator.Application
---@param call autopilot.emulator.Call
return function(application, call)
  local fields, expires = call.fields, application.secret_expires
  if fields.client_assertion then
    return check_assertion(application, call)
  end
  demand(call, fields.client_secret, "no_credential")
  demand(call, fields.client_secret == application.secret, "wrong_secret")
  demand(call, not expires or expires > call.now, "expired_secret")
end
