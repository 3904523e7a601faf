--- Signs an application in with a token of its platform, such as Kubernetes: a file holds that token (Microsoft
-- Entra Workload ID). The platform renews the file.

local by_assertion = require "autopilot.token.assertion"
local need = require("autopilot.token.provider").need
local secret_file = require "autopilot.token.secret_file"

---@class autopilot.token.WorkloadIdentityOptions: autopilot.token.CommonOptions
---@field token_file string? default: AZURE_FEDERATED_TOKEN_FILE
---@field client_id string? default: AZURE_CLIENT_ID
---@field tenant string? default: that of the client, else AZURE_TENANT_ID

local rules = { token_file = { type = "string" } }
local variables = { token_file = "AZURE_FEDERATED_TOKEN_FILE" }

return by_assertion("workload_identity", rules, variables, function(_, setting)
  local path = setting "token_file"
  -- Platforms mount the file readable within the container, which has one user.
  return need(secret_file.read_line(path, true)), secret_file.printable(path)
end)
