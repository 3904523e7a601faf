--- Signs an application in from a job of Azure Pipelines, as its service connection ("Connect to Azure with an Azure
-- Resource Manager service connection", with workload identity federation).

local by_assertion = require "autopilot.token.assertion"
local endpoint = require "autopilot.token.endpoint"
local need = require("autopilot.token.provider").need

---@class autopilot.token.AzurePipelinesOptions: autopilot.token.CommonOptions
---@field service_connection_id string? default: AZURESUBSCRIPTION_SERVICE_CONNECTION_ID
---@field client_id string? default: AZURESUBSCRIPTION_CLIENT_ID
---@field tenant string? default: that of the client, else AZURESUBSCRIPTION_TENANT_ID

local rules = { service_connection_id = { type = "string" } }

-- The tasks AzureCLI and AzurePowerShell set these for their service connection.
local variables = {
  service_connection_id = "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID",
  client_id = "AZURESUBSCRIPTION_CLIENT_ID",
  tenant = "AZURESUBSCRIPTION_TENANT_ID",
}

-- The second is set where the job maps it from $(System.AccessToken).
local address, key = "SYSTEM_OIDCREQUESTURI", "SYSTEM_ACCESSTOKEN"

return by_assertion("azure_pipelines", rules, variables, function(ask, setting)
  local secret = endpoint.secret(key, setting(key))
  local object = need(endpoint.request(ask, {
    source = "Azure Pipelines",
    url = endpoint.url(address, setting(address)),
    query = {
      ["api-version"] = "7.1",
      serviceConnectionId = setting "service_connection_id",
    },
    form = {}, -- a POST without a body
    headers = {
      Accept = "application/json",
      Authorization = "Bearer " .. secret,
      ["Content-Type"] = "application/json",
      ["X-TFS-FedAuthRedirect"] = "Suppress", -- refuse by a status and not by a redirect
    },
    secrets = { secret },
  }))
  return object.oidcToken
end)
