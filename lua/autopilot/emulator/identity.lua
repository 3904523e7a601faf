--- The endpoints by which a machine in Azure signs in as itself ("How to use managed identities for App Service", "… to
-- acquire an access token"), and by which a job of a build server gets an assertion: GitHub Actions ("OpenID Connect
-- reference") and Azure Pipelines ("Oidctoken - Create").

local answers = require "autopilot.emulator.answers"

local identity = {}

---@class autopilot.emulator.Identity the machine's managed identity
---@field tenant string
---@field client_id string
---@field object_id string?
---@field resource_id string? its path in Azure
---@field header string? the secret that the platform wants in a header; nil: the machine is a virtual machine
---@field roles string[]? permissions in its tokens; default: the one that the sync needs

---@class autopilot.emulator.BuildServer whose job asks
---@field key string that the job has to send
---@field issuer string of its assertions
---@field subject string
---@field service_connection string? the id that a job of Azure Pipelines has to name

-- ---- Machines ----------------------------------------------------------------------------------------

-- Each platform: its only `version` of the interface, and the header in which it wants the secret, if any.
local virtual_machine = { version = "2018-02-01" }
local app_service = { version = "2019-08-01", key = "x-identity-header" }
-- These two have the path of one of the others, and a header of their own.
local service_fabric = { version = "2019-07-01-preview", key = "secret" }
local machine_learning = { version = "2017-09-01", key = "secret" }

-- Parameters that choose an identity, in the words of each platform, with the field that they must equal.
local choices = {
  client_id = "client_id",
  clientid = "client_id",
  object_id = "object_id",
  principal_id = "object_id",
  msi_res_id = "resource_id",
  mi_res_id = "resource_id",
}

local function is_chosen(known, query)
  for parameter, field in pairs(choices) do
    local wanted = query[parameter]
    if wanted and wanted:lower() ~= (known[field] or ""):lower() then
      return false
    end
  end
  return true
end

--- Refuses a request that is not right.
local function check(call, known, platform)
  local function demand(is_right, sentence, status)
    local code = status == 401 and "unauthorized" or "invalid_request"
    local body = { error = code, error_description = sentence }
    answers.demand_json(call, is_right, body, status or 400)
  end
  local query, headers = call.fields, call.headers
  demand(call.method == "GET", "The endpoint only accepts GET requests.", 405)
  demand(known, "Identity not found")
  if platform.key then
    local secret = headers[platform.key]
    demand(secret and secret == known.header, "The request has no right header.", 401)
  else
    demand(headers.metadata == "true", "Required metadata header not specified")
    demand(not headers["x-forwarded-for"], "The request was forwarded.")
  end
  demand(query["api-version"] == platform.version, "The api-version is not supported.")
  demand(query.resource, "The parameter 'resource' is missing.")
  demand(is_chosen(known, query), "Identity not found")
end

--- Whether the token is wanted in place of a refused one, by a client that understands claims challenges.
local function replaces_refused(query)
  local capabilities = "," .. (query.xms_cc or ""):lower() .. ","
  local refused = query.token_sha256_to_refresh or ""
  return capabilities:find(",cp1,", 1, true) ~= nil and refused:find "^%x+$" ~= nil
end

--- An endpoint that serves one platform, or another one whose requests have the header `Secret`.
local function endpoint(usual, with_secret)
  return function(service, call)
    local known, query, lifetime = service.options.identity, call.fields, service.tokens.lifetime
    local platform = call.headers.secret and with_secret or usual
    check(call, known, platform)
    local token = service.tokens:issue({
      tenant = service:id_of(known.tenant),
      client_id = known.client_id,
      roles = known.roles,
      audience = query.resource,
      replaces_refused = replaces_refused(query),
    }, call.now)
    local answer = {
      access_token = token,
      client_id = known.client_id,
      expires_on = ("%.0f"):format(call.now + lifetime),
      resource = query.resource,
      token_type = "Bearer",
    }
    if platform == virtual_machine then
      answer.expires_in = ("%.0f"):format(lifetime)
      answer.not_before = ("%.0f"):format(call.now)
    end
    return answers.json(call, answer)
  end
end

identity.app_service = endpoint(app_service, machine_learning)
identity.virtual_machine = endpoint(virtual_machine, service_fabric)

-- ---- Jobs of a build server --------------------------------------------------------------------------

local seconds_of_assertion = 600

--- The assertion for a job whose request names an audience. Refuses a request that is not right.
local function assertion_for(service, call, method, audience)
  local known = service.options.build_server
  local function demand(is_right, status, message)
    answers.demand_json(call, is_right, { message = message }, status)
  end
  demand(known and call.headers.authorization == "Bearer " .. known.key, 401, "Unauthorized")
  demand(call.method == method, 405, "The method is not allowed.")
  demand(audience, 404, "There is no such service connection or audience.")
  local claims = { iss = known.issuer, sub = known.subject, aud = audience }
  return service.tokens:assertion(claims, call.now, seconds_of_assertion)
end

function identity.github(service, call)
  local assertion = assertion_for(service, call, "GET", call.query.audience)
  return answers.json(call, { count = #assertion, value = assertion })
end

function identity.azure_pipelines(service, call)
  local query, known = call.query, service.options.build_server or {}
  local is_right = query["api-version"] and query.serviceConnectionId == known.service_connection
  local audience = is_right and "api://AzureADTokenExchange"
  return answers.json(call, { oidcToken = assertion_for(service, call, "POST", audience) })
end

return identity
