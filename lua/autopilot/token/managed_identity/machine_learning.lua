--- Azure Machine Learning: the endpoint of its compute, in the version of 2017.

local endpoint = require "autopilot.token.managed_identity.endpoint"
local exchange = require "autopilot.token.managed_identity.exchange"

local machine_learning = {}

machine_learning.variables = { "MSI_ENDPOINT", "MSI_SECRET" }

machine_learning.name = "Azure Machine Learning"

-- Names of this version; other ids it does not know.
machine_learning.identities = { client_id = true }

---@param place autopilot.token.IdentityPlace
function machine_learning.request(place)
  local secret = place.values.MSI_SECRET
  local token, expires_in, extra = exchange.request(place.ask, {
    source = "managed identity of Azure Machine Learning",
    url = endpoint.with_query(place.values.MSI_ENDPOINT, {
      ["api-version"] = "2017-09-01",
      resource = place.resource,
      clientid = place.identity and place.identity.value
        or place.variable "DEFAULT_IDENTITY_CLIENT_ID",
    }),
    headers = { ["secret"] = secret },
    secrets = { secret },
  })
  return token, expires_in, extra
end

return machine_learning
