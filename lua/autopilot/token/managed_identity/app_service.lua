--- Azure App Service, Functions, Container Apps and Automation (App Service, "REST endpoint reference").

local endpoint = require "autopilot.token.managed_identity.endpoint"
local exchange = require "autopilot.token.managed_identity.exchange"

local app_service = {}

app_service.variables = { "IDENTITY_ENDPOINT", "IDENTITY_HEADER" }

local names = { client_id = "client_id", resource_id = "mi_res_id", object_id = "object_id" }

---@param place autopilot.token.IdentityPlace
function app_service.request(place)
  local header = place.values.IDENTITY_HEADER
  local parameters = { ["api-version"] = "2019-08-01", resource = place.resource }
  if place.identity then
    parameters[names[place.identity.kind]] = place.identity.value
  end
  exchange.add_revocation(place.ask, parameters)
  local token, expires_in, extra = exchange.request(place.ask, {
    source = "managed identity of App Service",
    url = endpoint.with_query(place.values.IDENTITY_ENDPOINT, parameters),
    -- Azure Automation wants the second one.
    headers = { ["X-IDENTITY-HEADER"] = header, ["Metadata"] = "true" },
    secrets = { header },
  })
  return token, expires_in, extra
end

return app_service
