--- Signs in as the environment says, or with the first way that this machine offers.
--
-- The environment is read when a token is first asked for. The provider that it names is then kept.

local authority = require "autopilot.token.authority"
local cached = require "autopilot.token.cached"
local chain = require "autopilot.token.chain"
local merged = require "autopilot.base.merged"
local provider = require "autopilot.token.provider"

local environment = {}

local rules = authority.rules { allow_world_readable = { type = "boolean", default = false } }

-- ---- The environment ---------------------------------------------------------------------------------

-- Each provider, and the option of it that a variable gives: the first that is set, in the order of Azure's
-- EnvironmentCredential.
local variables = {
  { "client_secret", option = "client_secret", variable = "AZURE_CLIENT_SECRET" },
  { "client_certificate", option = "certificate", variable = "AZURE_CLIENT_CERTIFICATE_PATH" },
  { "workload_identity", option = "token_file", variable = "AZURE_FEDERATED_TOKEN_FILE" },
}

--- The provider that the environment names.
local function open(checked, variable)
  for _, way in ipairs(variables) do
    local value = variable(way.variable)
    if value then
      local client_id = checked.client_id or variable "AZURE_CLIENT_ID"
      provider.need(client_id, "the environment is not complete: set AZURE_CLIENT_ID")
      local given = merged(checked, { client_id = client_id, [way.option] = value })
      local has_key = way.option == "certificate"
      given.passphrase = has_key and variable "AZURE_CLIENT_CERTIFICATE_PASSWORD" or nil
      given.allow_world_readable = has_key and checked.allow_world_readable or nil
      return provider.open(way[1], given, "the environment is wrong: ")
    end
  end
  provider.fail(
    "the environment names no way to sign in: set AZURE_CLIENT_SECRET, "
      .. "AZURE_CLIENT_CERTIFICATE_PATH or AZURE_FEDERATED_TOKEN_FILE"
  )
end

---@class autopilot.token.EnvironmentOptions: autopilot.token.CommonOptions
---@field tenant string? default: that of the client, else AZURE_TENANT_ID
---@field client_id string? default: AZURE_CLIENT_ID
---@field allow_world_readable boolean? take a certificate's key from a file that every user can read; default false

environment.environment = provider.kind("environment", rules, function(checked)
  local variable = authority.environment(checked)
  local chosen
  return function(ask)
    chosen = chosen or open(checked, variable)
    return chosen(merged(ask, { tenant = ask.tenant or variable "AZURE_TENANT_ID" }))
  end
end)

-- ---- All that a machine offers -------------------------------------------------------------------------

-- In the order of Azure's DefaultAzureCredential, without its ways that need a person at a window: the module, the name
-- in messages, and in AZURE_TOKEN_CREDENTIALS the group and the name of the credential.
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

---@class autopilot.token.DefaultOptions: autopilot.token.EnvironmentOptions
---@field client_id string? of the application, or of the machine's identity; default: AZURE_CLIENT_ID

--- The provider that asks the ways in turn. As in Azure's libraries, the environment variable AZURE_TOKEN_CREDENTIALS
-- limits the ways to those of a group or to one.
local function open_ways(checked)
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
    provider.fail(must:format(provider.cleaner()(selected, 60) or ""))
  end
  -- A single way is asked directly, without the chain's short probe of the metadata service.
  return #members == 1 and members[1] or chain(members, names)
end

environment.default = provider.kind("default", rules, function(checked)
  local chosen
  return function(ask)
    chosen = chosen or open_ways(checked)
    return chosen(ask)
  end
end)

return environment
