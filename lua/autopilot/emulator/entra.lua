--- Entra's endpoints: tokens for applications and for people, and codes for devices.
--
-- What proves an application is in `proof`, what comes of people and their codes in `people`.

local answers = require "autopilot.emulator.answers"
local form = require "autopilot.emulator.form"
local json = require "autopilot.base.json"
local proof = require "autopilot.emulator.proof"

local entra = {}

---@class autopilot.emulator.Application
---@field secret string? nil refuses every secret
---@field secret_expires number? Unix seconds; nil for never
---@field certificates string[]? SHA-256 thumbprints in base64url, of keys that may sign its assertions
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
}

local function first_missing(fields, names)
  for _, name in ipairs(names) do
    if not fields[name] then
      return ("The request body must contain the parameter '%s'."):format(name)
    end
  end
end

--- The resource of a scope, whose other words are OpenID's; nil when it has none or several.
local function resource_of(scope, may_have_more)
  local resource
  for word in scope:gmatch "%S+" do
    local found = word:match "^(https://[^%s/]+)/%.default$"
    local is_extra = may_have_more
      and (word == "offline_access" or word == "openid" or word == "profile")
    if (not found and not is_extra) or (found and resource) then
      return nil
    end
    resource = found or resource
  end
  return resource
end

local wrong_scope = "The scope must be a resource with '/.default' after it."

--- What is wrong with the form before anybody is looked up: OAuth error, AADSTS number, sentence.
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
    fields.scope and not resource_of(fields.scope, fields.grant_type ~= "client_credentials")
  then
    return "invalid_scope", 1002012, wrong_scope
  elseif fields.claims and type(json.decode(fields.claims)) ~= "table" then
    return "invalid_request", 9002313, "The parameter 'claims' must be a JSON object."
  end
end

--- The tenant and the application that a form is about, or nil and the refusal.
local function look_up(service, call, fields)
  local tenant = service.find_tenant(call.tenant_in_path)
  if not tenant then
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
  local number, sentence = proof.refusal(found.application, fields, call)
  if number then
    return nil, 401, "invalid_client", number, sentence
  end
  return { scope = fields.scope }
end

grants[device_grant] = function(service, call, fields)
  local grant, code, number, sentence =
    service.people:poll(fields.device_code, fields.client_id, call.now)
  if not grant then
    return nil, 400, code, number, sentence
  end
  return { scope = grant.scope, user = grant.user }
end

function grants.refresh_token(service, _, fields, found)
  local sign_in, code, number, sentence =
    service.people:refresh(fields.refresh_token, fields.client_id, found.tenant)
  if not sign_in then
    return nil, 400, code, number, sentence
  end
  return { scope = fields.scope, user = sign_in.user }
end

--- The answer with a token, and with a refresh token where a person asked for one.
local function grant_token(service, call, fields, found, granted)
  local token = service.tokens:issue({
    tenant = found.tenant,
    client_id = fields.client_id,
    roles = found.application.roles,
    user = granted.user,
    claims = fields.claims and json.decode(fields.claims),
    audience = resource_of(granted.scope, true),
    expires = call.now + service.token_lifetime,
  }, call.now)
  local stays = granted.user and granted.scope:find("offline_access", 1, true)
  return answers.json(call, {
    token_type = "Bearer",
    expires_in = service.token_lifetime,
    ext_expires_in = service.token_lifetime,
    access_token = token,
    refresh_token = stays and service.people:leave_refresh_token {
      client_id = fields.client_id,
      tenant = found.tenant,
      user = granted.user,
    } or nil,
  })
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
  elseif not resource_of(fields.scope, true) then
    return answers.entra_error(call, 400, "invalid_scope", 1002012, wrong_scope)
  end
  local found, code, number, sentence = look_up(service, call, fields)
  if not found then
    return answers.entra_error(call, 400, code, number, sentence)
  elseif not found.application.public then
    return answers.entra_error(call, 400, "invalid_client", 70002, no_public_flow)
  end
  local device_code, grant =
    service.people:offer(fields.client_id, found.tenant, fields.scope, call.now)
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
---@param service table clients, tokens, people, find_tenant, token_lifetime: what the emulator has
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
