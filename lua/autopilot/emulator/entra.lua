--- Entra's endpoints: tokens for applications and for people, and codes for devices (RFC 8628).
--
-- `proof` checks the secret or the assertion of an application. A test decides what a person does with a code.

local answers = require "autopilot.emulator.answers"
local base64url = require "autopilot.base.base64url"
local challenges = require "autopilot.emulator.challenges"
local check_proof = require "autopilot.emulator.proof"
local json = require "autopilot.base.json"

local demand = answers.demand

local entra = {}

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

--- The scopes and the person of a device code, once the person has approved it. A code is good once.
local function poll(service, call)
  local code, now = call.fields.device_code, call.now
  local sign_in = service.sign_ins[code]
  demand(call, sign_in and sign_in.client_id == call.fields.client_id, "unknown_device_code")
  local is_expired, is_early = sign_in.expires <= now, now < sign_in.next_poll
  sign_in.interval = sign_in.interval + (is_early and prolongation or 0)
  sign_in.next_poll = now + sign_in.interval
  local is_approved = sign_in.user and not is_early
  if is_expired or sign_in.has_declined or is_approved then
    service.sign_ins[code] = nil
  end
  demand(call, not is_expired, "code_expired")
  demand(call, not sign_in.has_declined, "declined")
  demand(call, not is_early, "polled_too_soon")
  demand(call, is_approved, "not_signed_in_yet")
  return sign_in.scopes, sign_in.user
end

--- Makes a refresh token. It is good in every tenant and for every resource ("Refresh tokens in the Microsoft
-- identity platform").
function entra.new_refresh_token(service, client_id, user)
  local text = service.identifiers.text(80)
  service.refresh_tokens[text] = { client_id = client_id, user = user }
  return text
end

--- The id of a person in the directory: the same at every sign-in.
local function object_id_of(service, user)
  service.object_ids[user] = service.object_ids[user] or service.identifiers.guid()
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
  demand(call, not fields.claims or challenges.read(fields.claims), "claims_not_json")
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
    answer.id_token = service.tokens:id_token(token, call.now)
  end
  if call.fields.client_info == "1" then
    local account = { uid = token.object_id, utid = token.tenant }
    answer.client_info = base64url.encode(json.encode(account))
  end
end

--- Gives out a token.
function entra.token(service, call)
  local fields = call.fields
  local grant_type = grant_types[fields.grant_type]
  demand(call, grant_type or not fields.grant_type, "unknown_grant_type")
  local needs = grant_type and grant_type.needs or { "grant_type" }
  local is_for_person = fields.grant_type ~= "client_credentials"
  local asked = read_form(service, call, needs, is_for_person)
  local granted, user = grant_type.find(service, call, asked)
  local tenant = asked.tenant or service:find_tenant(user:match "@(.+)$" or user)
  local token = {
    tenant = demand(call, tenant, "user_in_no_tenant", user),
    client_id = fields.client_id,
    roles = asked.application.roles,
    user = user,
    object_id = user and object_id_of(service, user),
    claims = challenges.read(fields.claims),
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
  local code = service.identifiers.text(40)
  local user_code = service.identifiers.guid():sub(1, 8):upper()
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
