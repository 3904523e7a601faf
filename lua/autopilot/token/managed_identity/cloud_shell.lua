--- Azure Cloud Shell: a token of the person whose shell it is.

local exchange = require "autopilot.token.managed_identity.exchange"
local oauth = require "autopilot.token.oauth"

local cloud_shell = {}

cloud_shell.variables = { "MSI_ENDPOINT" }

cloud_shell.name = "Cloud Shell"

cloud_shell.is_local = true

cloud_shell.identities = {}

---@param place autopilot.token.IdentityPlace
function cloud_shell.request(place)
  local token, expires_in, extra = exchange.request(place.ask, {
    source = "managed identity of Cloud Shell",
    method = "POST",
    url = place.values.MSI_ENDPOINT,
    headers = {
      ["Content-Type"] = "application/x-www-form-urlencoded",
      ["Metadata"] = "true",
    },
    body = oauth.encode_form { resource = place.resource },
  })
  return token, expires_in, extra
end

return cloud_shell
