--- The endpoints by which a machine in Azure signs in as itself ("How to use managed identities for App Service", "… to
-- acquire an access token"), and by which a job of a build server gets an assertion: GitHub Actions ("OpenID Connect
-- reference") and Azure Pipelines ("Oidctoken - Create").

local answers = require "autopilot.emulator.answers"

local demand = answers.demand

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

--- Refuses a request that is not right.
local function check(call, known, platform)
  local query, headers = call.query, call.headers
  demand(call, call.method == "GET", "not_get")
  demand(call, known, "unknown_identity")
  if platform.key then
    local secret = headers[platform.key]
    demand(call, secret and secret == known.header, "wrong_header")
  else
    demand(call, headers.metadata == "true", "no_metadata")
    demand(call, not headers["x-forwarded-for"], "forwarded")
  end
  demand(call, query["api-version"] == platform.version, "wrong_version")
  demand(call, query.resource, "no_resource")
  for parameter, field in pairs(choices) do
    local wanted = query[parameter]
    local is_chosen = not wanted or wanted:lower() == (known[field] or ""):lower()
    demand(call, is_chosen, "unknown_identity")
  end
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
    local known, query, lifetime = service.options.identity, call.query, service.tokens.lifetime
    local platform = call.headers.secret and with_secret or usual
    check(call, known, platform)
    local token = service.tokens:issue({
      tenant = service:id_of(known.tenant),
      client_id = known.client_id,
      roles = known.roles,
      audience = query.resource,
      replaces_refused = replaces_refused(query),
    }, call.now)
    local is_machine = platform == virtual_machine
    return answers.json(call, {
      access_token = token,
      client_id = known.client_id,
      expires_on = ("%.0f"):format(call.now + lifetime),
      expires_in = is_machine and ("%.0f"):format(lifetime) or nil,
      not_before = is_machine and ("%.0f"):format(call.now) or nil,
      resource = query.resource,
      token_type = "Bearer",
    })
  end
end

identity.app_service = endpoint(app_service, machine_learning)
identity.virtual_machine = endpoint(virtual_machine, service_fabric)

-- ---- Jobs of a build server --------------------------------------------------------------------------

local seconds_of_assertion = 600

--- The assertion for a job whose request names an audience. Refuses a request that is not right.
local function assertion_for(service, call, method, audience)
  local known = service.options.build_server
  demand(call, known and call.headers.authorization == "Bearer " .. known.key, "unknown_job")
  demand(call, call.method == method, "wrong_job_method")
  demand(call, audience, "no_audience")
  local claims = { iss = known.issuer, sub = known.subject, aud = audience }
  return service.tokens:jwt({ expires = call.now + seconds_of_assertion }, call.now, claims)
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
