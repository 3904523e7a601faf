--- Signs in with the first way that this machine offers, in the order of Azure's DefaultAzureCredential: the
-- environment, the platform's token, the identity of the machine, the Azure CLI.
--
-- Azure's ways that need a person at a window are left out.

local authority = require "autopilot.token.authority"
local cached = require "autopilot.token.cached"
local chain = require "autopilot.token.chain"
local merged = require "autopilot.base.merged"
local provider = require "autopilot.token.provider"

---@class autopilot.token.DefaultOptions: autopilot.token.CommonOptions
---@field tenant string? default: that of the client, else AZURE_TENANT_ID
---@field client_id string? of the application, or of the machine's identity; default: AZURE_CLIENT_ID
---@field allow_world_readable boolean? take a certificate's key from a file that every user can read; default false

local rules = authority.rules { allow_world_readable = { type = "boolean", default = false } }

local names = { "environment", "workload identity", "managed identity", "Azure CLI" }

return provider.kind("default", rules, function(checked)
  local of_environment = merged(checked, {
    -- The platform's token is left to the second provider: it is tried also where the secret or the
    -- certificate of the environment is refused, and only once where neither is set.
    getenv = function(variable)
      return variable ~= "AZURE_FEDERATED_TOKEN_FILE" and checked.getenv(variable) or nil
    end,
  })
  checked.allow_world_readable = nil -- the other providers have no such option
  local members = {
    provider.open("environment", of_environment),
    provider.open("workload_identity", checked),
    provider.open("managed_identity", {
      client_id = checked.client_id or authority.environment(checked) "AZURE_CLIENT_ID",
      scope = checked.scope,
      getenv = checked.getenv,
    }),
    provider.open("azure_cli", { tenant = checked.tenant, scope = checked.scope }),
  }
  for index, member in ipairs(members) do
    members[index] = cached(member)
  end
  return chain(members, names)
end)
