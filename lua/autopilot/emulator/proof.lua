--- How an application proves to Entra who it is: with its secret, or with a signed assertion.
--
-- No signature is checked here, which would need OpenSSL: the function `verify` of an application may do that. What
-- an assertion says is compared with what is known of the application.

local base64url = require "autopilot.base.base64url"
local inspect = require "autopilot.base.jwt"
local json = require "autopilot.base.json"
local refuse = require("autopilot.emulator.answers").refuse

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
  local client_id, is_known = call.fields.client_id, false
  for _, certificate in ipairs(application.certificates or {}) do
    is_known = is_known or certificate == thumbprint
  end
  if not is_known then
    refuse(call, "unknown_key")
  elseif claims.iss ~= client_id or claims.sub ~= client_id then
    refuse(call, "wrong_application")
  elseif tostring(claims.aud):match "^https?://[^/]+(/.*)$" ~= call.path then
    refuse(call, "wrong_endpoint") -- the host may be any
  end
end

local function check_platform(application, call, claims)
  local mistake = "wrong_issuer"
  for _, known in ipairs(application.federated) do
    if claims.iss == known.issuer then
      if claims.sub ~= known.subject then
        mistake = "wrong_subject"
      elseif claims.aud ~= (known.audience or default_audience) then
        mistake = "wrong_audience"
      else
        return
      end
    end
  end
  refuse(call, mistake)
end

local function check_assertion(application, call)
  local fields = call.fields
  if fields.client_assertion_type ~= jwt_bearer then
    refuse(call, "wrong_assertion_type")
  elseif application.verify then
    local is_right, why = application.verify(fields.client_assertion, fields)
    return is_right or refuse(call, "unverified", why or "wrong signature")
  end
  local claims = inspect(fields.client_assertion)
  local thumbprint = thumbprint_of(fields.client_assertion)
  if claims and thumbprint then
    check_certificate(application, call, claims, thumbprint)
  elseif claims and application.federated then
    check_platform(application, call, claims)
  else
    refuse(call, "unknown_key")
  end
  if not is_timely(claims, call.now) then
    refuse(call, "not_timely")
  end
end

--- Refuses a token request of an application that has not proved who it is.
---@param application autopilot.emulator.Application
---@param call autopilot.emulator.Call
return function(application, call)
  local secret = call.fields.client_secret
  if call.fields.client_assertion then
    check_assertion(application, call)
  elseif not secret then
    refuse(call, "no_credential")
  elseif secret ~= application.secret then
    refuse(call, "wrong_secret")
  elseif application.secret_expires and application.secret_expires <= call.now then
    refuse(call, "expired_secret")
  end
end
