--- Entra's endpoints: tokens for applications and for people, and codes for devices.
--
-- How an application proves who it is stands in `proof`; people, their codes and refresh tokens in `users`.

local answers = require "autopilot.emulator.answers"
local form = require "autopilot.emulator.form"
local base64url = require "autopilot.base.base64url"
local json = require "autopilot.base.json"
local proof = require "autopilot.emulator.proof"
local scopes = require "autopilot.emulator.scopes"
local users = require "autopilot.emulator.users"

local entra = {}

---@class autopilot.emulator.Application
---@field secret string? nil refuses every secret
---@field secret_expires number? Unix seconds; nil for never
---@field certificates string[]? thumbprints in base64url, SHA-256 or SHA-1, of keys that may sign its assertions
---@field federated autopilot.emulator.FederatedCredential[]? platforms whose tokens are its assertions
---@field public boolean? people may sign in to it with a code; default false
---@field roles string[]? permissions in its tokens; default: the one that the sync needs
---@field verify (fun(assertion: string, form: table<string, string>): boolean, string?)? judges a client assertion instead: good or not, and why not

local device_grant = "urn:ietf:params:oauth:grant-type:device_code"

--- What each grant must have beside `grant_type` and `client_id`.
local needed = {
  client_credentials = { "scope" },
  refresh_token = { "refresh_token", "scope" },
  [device_grant] = { "device_code" },
  device_code = { "device_code" }, -- the name of the same grant before RFC 8628, which MSAL sends
}

local function first_missing(fields, names)
  for _, name in ipairs(names) do
    if not fields[name] then
      return ("The request body must contain the parameter '%s'."):format(name)
    end
  end
end

local wrong_scope = "The scopes must name one resource; an application's has '/.default' after it."

--- What is wrong with the form itself, before its application is looked up: OAuth error, AADSTS number,
-- sentence.
local function refusal_of_form(fields)
  local missing = first_missing(fields, { "grant_type", "client_id" })
  local names = needed[fields.grant_type]
  if missing then
    return "invalid_request", 900144, missing
  elseif not names then
    return "unsupported_grant_type", 70003, "The grant type is not supported."
  end
  missing = first_missing(fields, names)
  if missing then
    return "invalid_request", 900144, missing
  elseif
    fields.scope and not scopes.resource(fields.scope, fields.grant_type ~= "client_credentials")
  then
    return "invalid_scope", 1002012, wrong_scope
  elseif fields.claims and type(json.decode(fields.claims)) ~= "table" then
    return "invalid_request", 9002313, "The parameter 'claims' must be a JSON object."
  end
end

--- The tenant and the application that a form is about, or nil and the refusal. The tenant is nil where it
-- is the person's.
local function look_up(service, call, fields)
  local is_persons = users.any_tenant[call.tenant_in_path]
  local tenant = not is_persons and service.find_tenant(call.tenant_in_path) or nil
  if not tenant and not is_persons then
    local sentence = ("Tenant '%s' not found."):format(call.tenant_in_path)
    return nil, "invalid_request", 90002, sentence
  end
  local application = service.clients[fields.client_id]
  if not application then
    local sentence = ("Application '%s' was not found in the directory."):format(fields.client_id)
    return nil, "unauthorized_client", 700016, sentence
  end
  return { tenant = tenant, application = application }
end

local no_public_flow = "The client application must be marked as 'mobile.'"

--- Each returns for whom a token is made, or nil and the refusal: status, OAuth error, number, sentence.
local grants = {}

function grants.client_credentials(_, call, fields, found)
  if not found.tenant then
    return nil, 400, "invalid_request", 50059, "No tenant-identifying information was found."
  end
  local number, sentence = proof.refusal(found.application, fields, call)
  if number then
    return nil, 401, "invalid_client", number, sentence
  end
  return { scope = fields.scope }
end

grants[device_grant] = function(service, call, fields)
  local grant, code, number, sentence =
    service.users:poll(fields.device_code, fields.client_id, call.now)
  if not grant then
    return nil, 400, code, number, sentence
  end
  return { scope = grant.scope, user = grant.user }
end

grants.device_code = grants[device_grant]

function grants.refresh_token(service, _, fields)
  local sign_in, code, number, sentence =
    service.users:refresh(fields.refresh_token, fields.client_id)
  if not sign_in then
    return nil, 400, code, number, sentence
  end
  return { scope = fields.scope, user = sign_in.user }
end

--- Adds what a person's answer has besides: the scopes, and on request a refresh token, who has signed in
-- (OpenID Connect), and the account that clients keep the tokens under.
local function add_person(answer, service, call, fields, grant)
  answer.scope = scopes.granted(grant.scope, grant.roles)
  if scopes.has(grant.scope, "offline_access") then
    answer.refresh_token = service.users:leave_refresh_token(grant)
  end
  if scopes.has(grant.scope, "openid") then
    answer.id_token = service.tokens:id_token(grant, call.now)
  end
  if fields.client_info == "1" then
    local account = json.encode { uid = grant.object_id, utid = grant.tenant }
    answer.client_info = base64url.encode(account)
  end
end

--- The answer with a token.
local function grant_token(service, call, fields, found, granted)
  local tenant = found.tenant or service.find_tenant(granted.user:match "@(.+)$" or granted.user)
  if not tenant then
    local sentence = ("User account '%s' does not exist in a tenant."):format(granted.user)
    return answers.entra_error(call, 400, "invalid_grant", 50020, sentence)
  end
  local grant = {
    tenant = tenant,
    client_id = fields.client_id,
    roles = found.application.roles,
    user = granted.user,
    object_id = granted.user and service.users:object_id(granted.user),
    scope = granted.scope,
    claims = fields.claims and json.decode(fields.claims),
    audience = scopes.resource(granted.scope, true),
    expires = call.now + service.token_lifetime,
  }
  local answer = {
    token_type = "Bearer",
    expires_in = service.token_lifetime,
    ext_expires_in = service.token_lifetime,
    access_token = service.tokens:issue(grant, call.now),
  }
  if grant.user then
    add_person(answer, service, call, fields, grant)
  end
  return answers.json(call, answer)
end

local function answer_token(service, call, fields)
  local code, number, sentence = refusal_of_form(fields)
  if code then
    return answers.entra_error(call, 400, code, number, sentence)
  end
  local found
  found, code, number, sentence = look_up(service, call, fields)
  if not found then
    return answers.entra_error(call, 400, code, number, sentence)
  end
  local granted, status
  granted, status, code, number, sentence = grants[fields.grant_type](service, call, fields, found)
  if not granted then
    return answers.entra_error(call, status, code, number, sentence)
  end
  return grant_token(service, call, fields, found, granted)
end

--- Gives out a code for a person and one for the device.
local function answer_device_code(service, call, fields)
  local missing = first_missing(fields, { "client_id", "scope" })
  if missing then
    return answers.entra_error(call, 400, "invalid_request", 900144, missing)
  elseif not scopes.resource(fields.scope, true) then
    return answers.entra_error(call, 400, "invalid_scope", 1002012, wrong_scope)
  end
  local found, code, number, sentence = look_up(service, call, fields)
  if not found then
    return answers.entra_error(call, 400, code, number, sentence)
  elseif not found.application.public then
    return answers.entra_error(call, 400, "invalid_client", 70002, no_public_flow)
  end
  local device_code, grant =
    service.users:offer(fields.client_id, found.tenant, fields.scope, call.now)
  local uri = "https://microsoft.com/devicelogin"
  return answers.json(call, {
    device_code = device_code,
    user_code = grant.user_code,
    verification_uri = uri,
    expires_in = grant.expires - call.now,
    interval = grant.interval,
    message = ("To sign in, open the page %s and enter the code %s."):format(uri, grant.user_code),
  })
end

--- Answers a request to `/{tenant}/oauth2/v2.0/token` or `/{tenant}/oauth2/v2.0/devicecode`.
---@param service table clients, tokens, users, find_tenant, token_lifetime: what the emulator has
---@param call autopilot.emulator.Call
---@param request table
---@return table response
function entra.answer(service, call, request)
  if request.method ~= "POST" then
    local sentence = "The endpoint only accepts POST requests."
    return answers.entra_error(call, 400, "invalid_request", 900561, sentence)
  end
  local fields = form.read(request.body)
  call.grant_type, call.claims = fields.grant_type, fields.claims
  if call.operation == "device_code" then
    return answer_device_code(service, call, fields)
  end
  return answer_token(service, call, fields)
end

return entra
