--- How an application proves to Entra who it is: with its secret, or with a signed assertion.
--
-- No signature is checked here, which would need OpenSSL: `verify` of an application may do that. What
-- a certificate's or a platform's assertion says is held against what is known of the application.

local base64url = require "autopilot.base.base64url"
local inspect = require "autopilot.base.jwt"
local json = require "autopilot.base.json"

local proof = {}

---@class autopilot.emulator.FederatedCredential what a platform's token must say
---@field issuer string
---@field subject string
---@field audience string? default `api://AzureADTokenExchange`

local jwt_bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
local default_audience = "api://AzureADTokenExchange"

-- Seconds by which the clocks of two machines may differ.
local skew = 300

local function contains(list, wanted)
  for _, value in ipairs(list or {}) do
    if value == wanted then
      return true
    end
  end
  return false
end

--- The thumbprint that an assertion names, in base64url: SHA-256, else SHA-1; nil when it names none.
local function thumbprint_of(assertion)
  local encoded = assertion:match "^([^.]*)%."
  local text = encoded and base64url.decode(encoded)
  local header = text and json.decode(text)
  local thumbprint = type(header) == "table" and (header["x5t#S256"] or header.x5t)
  -- MSAL for Python leaves the padding.
  return type(thumbprint) == "string" and (thumbprint:gsub("=+$", "")) or nil
end

local function is_timely(claims, now)
  local begins, ends = tonumber(claims.nbf) or now, tonumber(claims.exp)
  return ends ~= nil and ends + skew > now and begins - skew <= now
end

--- Whether an audience is the endpoint that was asked, whatever host it was asked under.
local function is_endpoint(audience, path)
  return type(audience) == "string" and audience:match "^https?://[^/]+(/.*)$" == path
end

local function refusal_of_certificate(application, form, call, claims, thumbprint)
  if not contains(application.certificates, thumbprint) then
    return 700027, "The key that signed the client assertion is not registered for this app."
  elseif claims.iss ~= form.client_id or claims.sub ~= form.client_id then
    return 700021, "The client assertion's application identifier does not match 'client_id'."
  elseif not is_endpoint(claims.aud, call.path) then
    return 700023, "The client assertion's audience does not match the realm's issuer."
  elseif not is_timely(claims, call.now) then
    return 700024, "The client assertion is not within its valid time range."
  end
end

local function refusal_of_platform(application, call, claims)
  local number, sentence = 700211, "No federated identity record matches the assertion's issuer."
  for _, known in ipairs(application.federated) do
    if claims.iss == known.issuer then
      if claims.sub ~= known.subject then
        number, sentence = 700213, "No federated identity record matches the assertion's subject."
      elseif claims.aud ~= (known.audience or default_audience) then
        number, sentence = 700212, "No federated identity record matches the assertion's audience."
      elseif not is_timely(claims, call.now) then
        return 700024, "The client assertion is not within its valid time range."
      else
        return nil
      end
    end
  end
  return number, sentence
end

local function refusal_of_assertion(application, form, call)
  local assertion = form.client_assertion
  if form.client_assertion_type ~= jwt_bearer then
    return 900023, "The parameter 'client_assertion_type' has an unsupported value."
  elseif application.verify then
    local good, why = application.verify(assertion, form)
    if not good then
      return 700027, "The client assertion is not valid: " .. (why or "wrong signature") .. "."
    end
    return nil
  end
  local claims, thumbprint = inspect(assertion), thumbprint_of(assertion)
  if claims and thumbprint then
    return refusal_of_certificate(application, form, call, claims, thumbprint)
  elseif claims and application.federated then
    return refusal_of_platform(application, call, claims)
  end
  return 700027, "The key that signed the client assertion is not registered for this app."
end

--- Nil when the application has proven who it is, else the refusal.
---@param application autopilot.emulator.Application
---@param form table<string, string>
---@param call autopilot.emulator.Call
---@return integer? number AADSTS
---@return string? sentence
function proof.refusal(application, form, call)
  if form.client_assertion then
    return refusal_of_assertion(application, form, call)
  elseif not form.client_secret then
    return 7000218, "The request body must contain 'client_assertion' or 'client_secret'."
  elseif form.client_secret ~= application.secret then
    return 7000215, "Invalid client secret provided."
  elseif application.secret_expires and application.secret_expires <= call.now then
    return 7000222, "The provided client secret keys for this app are expired."
  end
end

return proof
