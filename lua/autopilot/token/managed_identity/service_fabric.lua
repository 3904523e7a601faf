--- Azure Service Fabric ("leverage a Service Fabric application's managed identity").
--
-- Its endpoint shows a certificate of the cluster's own making, which other libraries know by its
-- thumbprint. Here it is checked like every other: the request, with the header that is as good as a
-- key, goes out only when the certificate is trusted, by the client's `http.ca_file` for example.

local endpoint = require "autopilot.token.managed_identity.endpoint"
local exchange = require "autopilot.token.managed_identity.exchange"

local service_fabric = {}

service_fabric.variables = { "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT" }

service_fabric.name = "Service Fabric"

service_fabric.is_local = true

-- Which identity an application has is said where it is deployed.
service_fabric.identities = {}

local source = "managed identity of Service Fabric"

local untrusted = "The endpoint's certificate must be trusted: give that of the cluster to the "
  .. "client's http.ca_file; it must name the host of IDENTITY_ENDPOINT."

---@param place autopilot.token.IdentityPlace
function service_fabric.request(place)
  local header = place.values.IDENTITY_HEADER
  local parameters = { ["api-version"] = "2019-07-01-preview", resource = place.resource }
  exchange.add_revocation(place.ask, parameters)
  local request = {
    source = source,
    url = endpoint.with_query(place.values.IDENTITY_ENDPOINT, parameters),
    headers = { ["Secret"] = header },
    secrets = { header },
  }
  local answer, message, details = exchange.send(place.ask, request)
  if not answer then
    details.hint = details.is_transient and untrusted or details.hint
    return nil, message, details
  end
  local token, expires_in, extra = exchange.read(place.ask, request, answer)
  return token, expires_in, extra
end

return service_fabric
