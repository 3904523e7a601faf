--- Signs an application in as the environment says: with a secret, a certificate or the token of the
-- platform, whichever is set first in this order (that of Azure's EnvironmentCredential).
--
-- The environment is read when a token is first asked for. The provider that it names is then kept.

local authority = require "autopilot.token.authority"
local merged = require "autopilot.base.merged"
local provider = require "autopilot.token.provider"

local need = provider.need

---@class autopilot.token.EnvironmentOptions: autopilot.token.CommonOptions
---@field tenant string? default: that of the client, else AZURE_TENANT_ID
---@field client_id string? default: AZURE_CLIENT_ID
---@field allow_world_readable boolean? take a certificate's key from a file that every user can read; default false

local rules = authority.rules { allow_world_readable = { type = "boolean", default = false } }

-- Each provider, and the option of it that a variable gives.
local ways = {
  { "client_secret", option = "client_secret", variable = "AZURE_CLIENT_SECRET" },
  { "client_certificate", option = "certificate", variable = "AZURE_CLIENT_CERTIFICATE_PATH" },
  { "workload_identity", option = "token_file", variable = "AZURE_FEDERATED_TOKEN_FILE" },
}

--- The provider that the environment names.
local function open(checked, variable)
  for _, way in ipairs(ways) do
    local value = variable(way.variable)
    if value then
      local client_id = checked.client_id or variable "AZURE_CLIENT_ID"
      need(client_id, "the environment is not complete: set AZURE_CLIENT_ID")
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

return provider.kind("environment", rules, function(checked)
  local variable = authority.environment(checked)
  local chosen
  return function(ask)
    chosen = chosen or open(checked, variable)
    return chosen(merged(ask, { tenant = ask.tenant or variable "AZURE_TENANT_ID" }))
  end
end)
