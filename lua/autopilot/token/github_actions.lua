--- Signs an application in from a job of GitHub Actions, with the token that GitHub gives to the job ("Configuring
-- OpenID Connect in Azure"). The job needs the permission `id-token: write`.

local by_assertion = require "autopilot.token.assertion"
local endpoint = require "autopilot.token.endpoint"
local need = require("autopilot.token.provider").need

---@class autopilot.token.GithubActionsOptions: autopilot.token.CommonOptions
---@field client_id string? default: AZURE_CLIENT_ID
---@field tenant string? default: that of the client, else AZURE_TENANT_ID
---@field audience string? that the federated credential wants; default `api://AzureADTokenExchange`

local rules = { audience = { type = "string", default = "api://AzureADTokenExchange" } }

local address, key = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"

return by_assertion("github_actions", rules, nil, function(ask, setting)
  local secret = endpoint.secret(key, setting(key))
  local object = need(endpoint.request(ask, {
    source = "GitHub Actions",
    url = endpoint.url(address, setting(address)),
    query = { audience = setting "audience" },
    headers = { Accept = "application/json", Authorization = "Bearer " .. secret },
    secrets = { secret },
  }))
  return object.value
end)
