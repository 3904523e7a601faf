--- Entra's endpoints: tokens for applications and for people, and codes for devices (RFC 8628).
--
-- A test decides what a person does with a code. No signature is checked here, which would need OpenSSL: the function
-- `verify` of an application may do that.

local answers = require "autopilot.emulator.answers"
local base64url = require "autopilot.base.base64url"
local contains = require("autopilot.base.options").contains
local inspect = require "autopilot.base.jwt"
local json = require "autopilot.base.json"

local demand = answers.demand

local entra = {}

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

--- Names in a URL that stand for any tenant: the tenant is that of the person who signs in.
entra.any_tenant = { common = true, organizations = true, consumers = true }

-- ---- Scopes ------------------------------------------------------------------------------------------

-- Scopes of OpenID Connect, which belong to no resource.
local openid = { openid = true, profile = true, email = true, offline_access = true }

--- The resource of one scope; nil when the scope is wrong. A person may ask for a single permission instead of
-- `/.default`: by default one of Graph's.
local function resource_of(word, is_for_person)
  local resource = word:match "^(.+)/%.default$"
  if resource then
    -- A URI such as `https://…` or `api://…`, or a GUID.
    return resource:match "^%a[%w+.-]*://%S+$" or resource:match "^%x+%-%x+%-%x+%-%x+%-%x+$"
  elseif is_for_person and not word:find("/", 1, true) then
    return "https://graph.microsoft.com"
  end
  return is_for_person and word:match "^(%a[%w+.-]*://.+)/[^/]+$" or nil
end

--- Reads scopes, a text with blanks between them, as the `resource` that they name, the `words`, and these as a set
-- (`has`); nil when they name no resource, or several. A person may ask for permissions and for OpenID Connect, too.
local function read_scopes(text, is_for_person)
  local read = { words = {}, has = {} }
  for word in text:gmatch "%S+" do
    table.insert(read.words, word)
    read.has[word] = true
    if not (is_for_person and openid[word]) then
      local resource = resource_of(word, is_for_person)
      if not resource or resource ~= (read.resource or resource) then
        return nil
      end
      read.resource = resource
    end
  end
  return read.resource and read or nil
end

--- The scopes of a person's token: permissions first, then what was asked for, without `offline_access`.
local function granted_scopes(asked, permissions)
  local words = {}
  for _, permission in ipairs(permissions) do
    local word = asked.resource .. "/" .. permission
    words[#words + 1] = not asked.has[word] and word or nil
  end
  for _, word in ipairs(asked.words) do
    words[#words + 1] = word ~= "offline_access" and word or nil
  end
  return table.concat(words, " ")
end

-- ---- Applications -------------------------------------------------------------------------------------

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
    if mistake and claims.iss == known.issuer then
      local is_audience = claims.aud == (known.audience or default_audience)
      mistake = claims.sub ~= known.subject and "wrong_subject"
        or not is_audience and "wrong_audience"
    end
  end
  demand(call, not mistake, mistake)
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

--- Refuses a token request of an application without valid authentication: its secret, or a signed assertion whose
-- claims fit the application's settings.
local function check_proof(application, call)
  local fields, expires = call.fields, application.secret_expires
  if fields.client_assertion then
    return check_assertion(application, call)
  end
  demand(call, fields.client_secret, "no_credential")
  demand(call, fields.client_secret == application.secret, "wrong_secret")
  demand(call, not expires or expires > call.now, "expired_secret")
end

-- ---- People ------------------------------------------------------------------------------------------

-- Seconds by which a poll that comes too soon prolongs the interval (RFC 8628 section 3.5).
local prolongation = 5

--- The person `user` signs in with the code that a device shows; nil: declines to. False when no device shows it.
function entra.decide(service, user_code, user)
  for _, sign_in in pairs(service.sign_ins) do
    if sign_in.user_code == user_code then
      sign_in.user, sign_in.has_declined = user, user == nil
      return true
    end
  end
  return false
end

--- The scopes and the person of a device code, once the person has approved it. A code whose end was told is forgotten.
local function poll(service, call)
  local code, now = call.fields.device_code, call.now
  local sign_in = service.sign_ins[code]
  demand(call, sign_in and sign_in.client_id == call.fields.client_id, "unknown_device_code")
  local is_expired = now >= sign_in.expires
  if is_expired or sign_in.has_declined then
    service.sign_ins[code] = nil
  end
  demand(call, not is_expired, "code_expired")
  demand(call, not sign_in.has_declined, "declined")
  local is_early = now < sign_in.next_poll
  sign_in.interval = sign_in.interval + (is_early and prolongation or 0)
  sign_in.next_poll = now + sign_in.interval
  demand(call, not is_early, "polled_too_soon")
  demand(call, sign_in.user, "not_signed_in_yet")
  service.sign_ins[code] = nil
  return sign_in.scopes, sign_in.user
end

--- Makes a refresh token. It is good in every tenant and for every resource ("Refresh tokens in the Microsoft
-- identity platform").
function entra.new_refresh_token(service, client_id, user)
  local text = service.made_up(("x"):rep(80))
  service.refresh_tokens[text] = { client_id = client_id, user = user }
  return text
end

--- The id of a person in the directory: the same at every sign-in.
local function object_id_of(service, user)
  service.object_ids[user] = service.object_ids[user] or service:made_up_guid()
  return service.object_ids[user]
end

-- ---- Endpoints ---------------------------------------------------------------------------------------

local device_code = { needs = { "client_id", "device_code" }, find = poll }

-- What each grant type `needs` in the form; `find` gives the scopes of the token, and the person who signs in.
local grant_types = {
  client_credentials = {
    needs = { "client_id", "scope" },
    find = function(_, call, asked)
      demand(call, asked.tenant, "no_tenant")
      check_proof(asked.application, call)
      return asked.scopes
    end,
  },
  refresh_token = {
    needs = { "client_id", "refresh_token", "scope" },
    find = function(service, call, asked)
      local known = service.refresh_tokens[call.fields.refresh_token]
      local is_known = known and known.client_id == call.fields.client_id
      demand(call, is_known, "wrong_refresh_token")
      if not asked.application.public then
        check_proof(asked.application, call)
      end
      return asked.scopes, known.user
    end,
  },
  device_code = device_code, -- its name before RFC 8628, which MSAL sends
  ["urn:ietf:params:oauth:grant-type:device_code"] = device_code,
}

--- What a form asks for: the `application`, the `scopes` if it names any, and the `tenant`; nil: that of the person.
local function read_form(service, call, needs, is_for_person)
  local fields, tenant, asked = call.fields, call.tenant_in_path, {}
  for _, name in ipairs(needs) do
    demand(call, fields[name], "missing_parameter", name)
  end
  if fields.scope then
    asked.scopes = demand(call, read_scopes(fields.scope, is_for_person), "wrong_scope")
  end
  asked.claims = json.decode(fields.claims)
  demand(call, not fields.claims or type(asked.claims) == "table", "claims_not_json")
  if not entra.any_tenant[tenant] then
    asked.tenant = demand(call, service:find_tenant(tenant), "unknown_tenant", tenant)
  end
  local application = service.options.clients[fields.client_id]
  asked.application = demand(call, application, "unknown_application", fields.client_id)
  return asked
end

--- Adds to a person's answer the scopes and, on request, a refresh token, who has signed in (OpenID Connect), and
-- the account under which clients keep the tokens.
local function add_person(answer, service, call, token, granted)
  answer.scope = granted_scopes(granted, token.roles)
  if granted.has.offline_access then
    answer.refresh_token = entra.new_refresh_token(service, token.client_id, token.user)
  end
  if granted.has.openid then
    answer.id_token = service.tokens:jwt(token, call.now, {
      aud = token.client_id,
      iss = ("%s/%s/v2.0"):format(call.origin, token.tenant), -- as discovery says
      sub = token.object_id,
      name = token.user,
      preferred_username = token.user,
      ver = "2.0",
    })
  end
  if call.fields.client_info == "1" then
    local account = { uid = token.object_id, utid = token.tenant }
    answer.client_info = base64url.encode(json.encode(account))
  end
end

--- Gives out a token.
function entra.token(service, call)
  local fields = call.fields
  demand(call, fields.grant_type, "missing_parameter", "grant_type")
  local grant_type = demand(call, grant_types[fields.grant_type], "unknown_grant_type")
  local is_for_person = fields.grant_type ~= "client_credentials"
  local asked = read_form(service, call, grant_type.needs, is_for_person)
  local granted, user = grant_type.find(service, call, asked)
  local tenant = asked.tenant or service:find_tenant(user:match "@(.+)$" or user)
  local token = {
    tenant = demand(call, tenant, "user_in_no_tenant", user),
    client_id = fields.client_id,
    roles = asked.application.roles,
    user = user,
    object_id = user and object_id_of(service, user),
    claims = asked.claims,
    audience = granted.resource,
  }
  local answer = {
    token_type = "Bearer",
    expires_in = service.tokens.lifetime,
    ext_expires_in = service.tokens.lifetime,
    access_token = service.tokens:issue(token, call.now),
  }
  if user then
    add_person(answer, service, call, token, granted)
  end
  return answers.json(call, answer)
end

--- Gives out a code for a person and one for the device.
function entra.device_code(service, call)
  local asked = read_form(service, call, { "client_id", "scope" }, true)
  demand(call, asked.application.public, "not_public")
  local rules, uri = service.options.device_code, "https://microsoft.com/devicelogin"
  local code = service.made_up(("x"):rep(40))
  local user_code = service.made_up("xxxxxxxx"):upper()
  service.sign_ins[code] = {
    client_id = call.fields.client_id,
    scopes = asked.scopes,
    user_code = user_code,
    expires = call.now + rules.lifetime,
    interval = rules.interval,
    next_poll = call.now,
  }
  return answers.json(call, {
    device_code = code,
    user_code = user_code,
    verification_uri = uri,
    expires_in = rules.lifetime,
    interval = rules.interval,
    message = ("To sign in, open the page %s and enter the code %s."):format(uri, user_code),
  })
end

return entra
