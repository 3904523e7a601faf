--- The endpoints by which a machine in Azure signs in as itself: those of App Service, Machine Learning,
-- Service Fabric and virtual machines ("How to use managed identities for App Service", "… to acquire an
-- access token").

local answers = require "autopilot.emulator.answers"
local challenges = require "autopilot.emulator.challenges"
local form = require "autopilot.emulator.form"

local identity = {}

---@class autopilot.emulator.Identity the machine's managed identity
---@field tenant string
---@field client_id string
---@field object_id string?
---@field resource_id string? its path in Azure
---@field header string? what the platform wants in a header of its own; nil: it is a virtual machine
---@field roles string[]? permissions in its tokens; default: the one that the sync needs

local paths = {
  ["/msi/token"] = "app_service",
  ["/metadata/identity/oauth2/token"] = "metadata",
}

--- The platform of a path, which may end in a slash, as MSAL for JavaScript writes it.
local function platform_of(path)
  return paths[path:gsub("/$", "")]
end

--- Whether a path is one of these.
---@param path string
---@return boolean
function identity.is_path(path)
  return platform_of(path) ~= nil
end

--- Parameters that choose an identity, in each platform's words, with the field that they must equal.
local choices = {
  client_id = "client_id",
  clientid = "client_id",
  object_id = "object_id",
  principal_id = "object_id",
  msi_res_id = "resource_id",
  mi_res_id = "resource_id",
}

--- Whether the identity that a request chooses is the machine's.
local function is_chosen(known, query)
  for parameter, field in pairs(choices) do
    local wanted = query[parameter]
    if wanted and wanted:lower() ~= (known[field] or ""):lower() then
      return false
    end
  end
  return true
end

--- Whether the request is for a token in place of a refused one, from a client that understands challenges.
local function replaces_refused(query)
  for capability in (query.xms_cc or ""):gmatch "[^,]+" do
    if challenges.is_capability(capability) then
      return (query.token_sha256_to_refresh or ""):match "^%x+$" ~= nil
    end
  end
  return false
end

local function refused(call, status, code, sentence)
  return answers.json(call, { error = code, error_description = sentence }, status)
end

--- A check of an endpoint that knows who may ask by a header.
local function by_key(header, version)
  return function(known, call, query)
    if not known.header or call.headers[header] ~= known.header then
      return 401, "unauthorized", "The request has no right header."
    elseif query["api-version"] ~= version then
      return 400, "invalid_request", "The api-version is not supported."
    end
  end
end

--- Nil when the request is right, else status, code and sentence.
local checks = {
  app_service = by_key("x-identity-header", "2019-08-01"),
  machine_learning = by_key("secret", "2017-09-01"),
  service_fabric = by_key("secret", "2019-07-01-preview"),
  metadata = function(_, call, query)
    if call.headers.metadata ~= "true" then
      return 400, "invalid_request", "Required metadata header not specified"
    elseif call.headers["x-forwarded-for"] then
      return 400, "invalid_request", "The request was forwarded."
    elseif query["api-version"] ~= "2018-02-01" then
      return 400, "invalid_request", "The api-version is not supported."
    end
  end,
}

--- Which platform is asked: two of them have the path of another, and a header of their own.
local function kind_of(call)
  local kind = platform_of(call.path)
  if not call.headers.secret then
    return kind
  end
  return kind == "metadata" and "service_fabric" or "machine_learning"
end

--- Answers a request for a token of the machine.
---@param service table identity, tokens, token_lifetime: what the emulator has
---@param call autopilot.emulator.Call
---@param request table
---@return table response
function identity.answer(service, call, request)
  local known, query = service.identity, form.read(request.url:match "%?([^#]*)")
  if request.method ~= "GET" then
    return refused(call, 405, "invalid_request", "The endpoint only accepts GET requests.")
  elseif not known then
    return refused(call, 400, "invalid_request", "Identity not found")
  end
  local kind = kind_of(call)
  local status, code, sentence = checks[kind](known, call, query)
  if status then
    return refused(call, status, code, sentence)
  elseif not query.resource then
    return refused(call, 400, "invalid_request", "The parameter 'resource' is missing.")
  end
  if not is_chosen(known, query) then
    return refused(call, 400, "invalid_request", "Identity not found")
  end
  local lifetime = service.token_lifetime
  local token = service.tokens:issue({
    tenant = known.tenant,
    client_id = known.client_id,
    roles = known.roles,
    audience = query.resource,
    replaces_refused = replaces_refused(query),
    expires = call.now + lifetime,
  }, call.now)
  local told = {
    access_token = token,
    client_id = known.client_id,
    expires_on = ("%.0f"):format(call.now + lifetime),
    resource = query.resource,
    token_type = "Bearer",
  }
  if kind == "metadata" then
    told.expires_in, told.not_before = ("%.0f"):format(lifetime), ("%.0f"):format(call.now)
  end
  return answers.json(call, told)
end

return identity
