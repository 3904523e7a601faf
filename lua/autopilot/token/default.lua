--- Signs in with the first way that this machine offers, in the order of Azure's DefaultAzureCredential: the
-- environment, the platform's token, the identity of the machine, the Azure CLI.
--
-- Azure's ways that need a person at a window are left out. As in Azure's libraries, the environment variable
-- AZURE_TOKEN_CREDENTIALS limits the ways to those of a group or to one.

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

-- In their order: the module, the name in messages, and in AZURE_TOKEN_CREDENTIALS the group and the name of the
-- credential.
local ways = {
  { "environment", "environment", "prod", "EnvironmentCredential" },
  { "workload_identity", "workload identity", "prod", "WorkloadIdentityCredential" },
  { "managed_identity", "managed identity", "prod", "ManagedIdentityCredential" },
  { "azure_cli", "Azure CLI", "dev", "AzureCliCredential" },
}

--- The options of each way.
local function options_of_ways(checked)
  local common = merged(checked)
  common.allow_world_readable = nil -- only a certificate in the environment has this option
  return {
    environment = merged(checked, {
      -- The platform's token is left to the second provider: it is tried also where the secret or the
      -- certificate of the environment is refused, and only once where neither is set.
      getenv = function(variable)
        return variable ~= "AZURE_FEDERATED_TOKEN_FILE" and checked.getenv(variable) or nil
      end,
    }),
    workload_identity = common,
    managed_identity = {
      client_id = checked.client_id or authority.environment(checked) "AZURE_CLIENT_ID",
      scope = checked.scope,
      getenv = checked.getenv,
    },
    azure_cli = { tenant = checked.tenant, scope = checked.scope },
  }
end

local must = "AZURE_TOKEN_CREDENTIALS must be dev, prod, or one of EnvironmentCredential, "
  .. "WorkloadIdentityCredential, ManagedIdentityCredential, AzureCliCredential (got '%s')"

return provider.kind("default", rules, function(checked)
  local selected = authority.environment(checked) "AZURE_TOKEN_CREDENTIALS"
  local word, given = selected and selected:match("^%s*(.-)%s*$"):lower(), options_of_ways(checked)
  local members, names = {}, {}
  for _, way in ipairs(ways) do
    if not word or word == way[3] or word == way[4]:lower() then
      members[#members + 1] = cached(provider.open(way[1], given[way[1]]))
      names[#names + 1] = way[2]
    end
  end
  if #members == 0 then
    return function()
      provider.fail(must:format(provider.cleaner()(selected, 60) or ""))
    end
  end
  -- A single way is asked directly, without the chain's short probe of the metadata service.
  return #members == 1 and members[1] or chain(members, names)
end)
