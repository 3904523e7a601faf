--- Entra's endpoints: tokens for applications and for people, and codes for devices.
--
-- How an application proves who it is stands in `proof`; people, their codes and refresh tokens in `users`. Where a
-- function here returns nil, the name of an error in `answers` follows, and its detail.

local Users = require "autopilot.emulator.users"
local answers = require "autopilot.emulator.answers"
local base64url = require "autopilot.base.base64url"
local challenges = require "autopilot.emulator.challenges"
local json = require "autopilot.base.json"
local proof_mistake = require "autopilot.emulator.proof"
local scopes = require "autopilot.emulator.scopes"

local entra = {}

---@class autopilot.emulator.GrantType
---@field needs string[] parameters of the form
---@field find fun(service: autopilot.Emulator, call: autopilot.emulator.Call, asked: table): table? the `scopes` of the token, and the `user` whose it is

local client_credentials = { needs = { "client_id", "scope" } }

function client_credentials.find(_, call, asked)
  if not asked.tenant then
    return nil, "no_tenant"
  end
  local mistake, detail = proof_mistake(asked.application, call)
  if mistake then
    return nil, mistake, detail
  end
  return { scopes = asked.scopes }
end

local device_code = { needs = { "client_id", "device_code" } }

function device_code.find(service, call)
  return service.users:poll(call.fields.device_code, call.fields.client_id, call.now)
end

local refresh_token = { needs = { "client_id", "refresh_token", "scope" } }

function refresh_token.find(service, call, asked)
  local fields = call.fields
  return service.users:refresh(fields.refresh_token, fields.client_id, asked.scopes)
end

---@type table<string, autopilot.emulator.GrantType>
local grant_types = {
  client_credentials = client_credentials,
  refresh_token = refresh_token,
  device_code = device_code, -- its name before RFC 8628, which MSAL sends
  ["urn:ietf:params:oauth:grant-type:device_code"] = device_code,
}

--- What a right form asks for: `application`, `scopes` where it names some, and `tenant`; nil where that is the
-- person's.
local function read_form(service, call, needs, is_for_person)
  local fields, named = call.fields, call.tenant_in_path
  for _, name in ipairs(needs) do
    if not fields[name] then
      return nil, "missing_parameter", name
    end
  end
  local asked = {}
  if fields.scope then
    asked.scopes = scopes.read(fields.scope, is_for_person)
    if not asked.scopes then
      return nil, "wrong_scope"
    end
  end
  if fields.claims and not challenges.read(fields.claims) then
    return nil, "claims_not_json"
  elseif not Users.any_tenant[named] then
    asked.tenant = service:find_tenant(named)
    if not asked.tenant then
      return nil, "unknown_tenant", named
    end
  end
  asked.application = service.options.clients[fields.client_id]
  if not asked.application then
    return nil, "unknown_application", fields.client_id
  end
  return asked
end

--- Adds to a person's answer the scopes and, on request, a refresh token, who has signed in (OpenID Connect), and
-- the account under which clients keep the tokens.
local function add_person(answer, service, call, token, granted)
  answer.scope = scopes.granted(granted, token.roles)
  if granted.has.offline_access then
    answer.refresh_token = service.users:leave_refresh_token(token.client_id, token.user)
  end
  if granted.has.openid then
    answer.id_token = service.tokens:id_token(token, call.now)
  end
  if call.fields.client_info == "1" then
    local account = { uid = token.object_id, utid = token.tenant }
    answer.client_info = base64url.encode(json.encode(account))
  end
end

entra.token = answers.entra_endpoint("POST", function(service, call)
  local fields = call.fields
  local grant_type = grant_types[fields.grant_type]
  if fields.grant_type and not grant_type then
    return nil, "unknown_grant_type"
  end
  local needs = grant_type and grant_type.needs or { "grant_type" }
  local is_for_person = grant_type ~= client_credentials
  local asked, mistake, detail = read_form(service, call, needs, is_for_person)
  local grant
  if asked then
    grant, mistake, detail = grant_type.find(service, call, asked)
  end
  if not grant then
    return nil, mistake, detail
  end

  local user = grant.user
  local tenant = asked.tenant or service:find_tenant(user:match "@(.+)$" or user)
  if not tenant then
    return nil, "user_in_no_tenant", user
  end
  local token = {
    tenant = tenant,
    client_id = fields.client_id,
    roles = asked.application.roles,
    user = user,
    object_id = user and service.users:object_id(user),
    claims = challenges.read(fields.claims),
    audience = grant.scopes.resource,
  }
  local answer = {
    token_type = "Bearer",
    expires_in = service.tokens.lifetime,
    ext_expires_in = service.tokens.lifetime,
    access_token = service.tokens:issue(token, call.now),
  }
  if user then
    add_person(answer, service, call, token, grant.scopes)
  end
  return answer
end)

--- Gives out a code for a person and one for the device.
entra.device_code = answers.entra_endpoint("POST", function(service, call)
  local asked, mistake, detail = read_form(service, call, { "client_id", "scope" }, true)
  if not asked then
    return nil, mistake, detail
  elseif not asked.application.public then
    return nil, "not_public"
  end
  local code, sign_in =
    service.users:offer(call.fields.client_id, asked.tenant, asked.scopes, call.now)
  local uri = "https://microsoft.com/devicelogin"
  return {
    device_code = code,
    user_code = sign_in.user_code,
    verification_uri = uri,
    expires_in = sign_in.expires - call.now,
    interval = sign_in.interval,
    message = ("To sign in, open the page %s and enter the code %s."):format(
      uri,
      sign_in.user_code
    ),
  }
end)

return entra
