--- Entra's endpoints: tokens for applications and for people, and codes for devices.
--
-- How an application proves who it is stands in `proof`; people, their codes and refresh tokens in `users`.

local Users = require "autopilot.emulator.users"
local answers = require "autopilot.emulator.answers"
local base64url = require "autopilot.base.base64url"
local challenges = require "autopilot.emulator.challenges"
local check_proof = require "autopilot.emulator.proof"
local json = require "autopilot.base.json"
local scopes = require "autopilot.emulator.scopes"

local refuse = answers.refuse

local entra = {}

-- Each grant type `needs` these parameters of the form. `find` gives the scopes of the token, and the user whose it is.

local client_credentials = { needs = { "client_id", "scope" } }

function client_credentials.find(_, call, asked)
  if not asked.tenant then
    refuse(call, "no_tenant")
  end
  check_proof(asked.application, call)
  return asked.scopes
end

local device_code = { needs = { "client_id", "device_code" } }

function device_code.find(service, call)
  local sign_in = service.users:poll(call)
  return sign_in.scopes, sign_in.user
end

local refresh_token = { needs = { "client_id", "refresh_token", "scope" } }

function refresh_token.find(service, call, asked)
  return asked.scopes, service.users:refresh(call)
end

local grant_types = {
  client_credentials = client_credentials,
  refresh_token = refresh_token,
  device_code = device_code, -- its name before RFC 8628, which MSAL sends
  ["urn:ietf:params:oauth:grant-type:device_code"] = device_code,
}

--- What a form asks for: `application`, `scopes` where it names some, and `tenant`; nil where that is the person's.
local function read_form(service, call, needs, is_for_person)
  local fields, tenant = call.fields, call.tenant_in_path
  if call.method ~= "POST" then
    refuse(call, "wrong_method", "POST")
  end
  for _, name in ipairs(needs) do
    if not fields[name] then
      refuse(call, "missing_parameter", name)
    end
  end
  local asked = {}
  if fields.scope then
    asked.scopes = scopes.read(fields.scope, is_for_person) or refuse(call, "wrong_scope")
  end
  if fields.claims and not challenges.read(fields.claims) then
    refuse(call, "claims_not_json")
  end
  if not Users.any_tenant[tenant] then
    asked.tenant = service:find_tenant(tenant) or refuse(call, "unknown_tenant", tenant)
  end
  asked.application = service.options.clients[fields.client_id]
    or refuse(call, "unknown_application", fields.client_id)
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

function entra.token(service, call)
  local fields = call.fields
  local grant_type = grant_types[fields.grant_type]
  if fields.grant_type and not grant_type then
    refuse(call, "unknown_grant_type")
  end
  local needs = grant_type and grant_type.needs or { "grant_type" }
  local asked = read_form(service, call, needs, grant_type ~= client_credentials)
  local granted, user = grant_type.find(service, call, asked)
  local token = {
    tenant = asked.tenant
      or service:find_tenant(user:match "@(.+)$" or user)
      or refuse(call, "user_in_no_tenant", user),
    client_id = fields.client_id,
    roles = asked.application.roles,
    user = user,
    object_id = user and service.users:object_id(user),
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
  if not asked.application.public then
    refuse(call, "not_public")
  end
  local code, sign_in =
    service.users:offer(call.fields.client_id, asked.tenant, asked.scopes, call.now)
  local uri = "https://microsoft.com/devicelogin"
  return answers.json(call, {
    device_code = code,
    user_code = sign_in.user_code,
    verification_uri = uri,
    expires_in = sign_in.expires - call.now,
    interval = sign_in.interval,
    message = ("To sign in, open the page %s and enter the code %s."):format(
      uri,
      sign_in.user_code
    ),
  })
end

return entra
