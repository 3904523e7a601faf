--- Whatever this machine offers to sign in with, in the order of Azure's DefaultAzureCredential: the
-- environment, the platform's token, the identity of the machine, the Azure CLI.
--
-- Those of its ways that need a person before a window are not among them.

local authority = require "autopilot.token.authority"
local cached = require "autopilot.token.cached"
local chain = require "autopilot.token.chain"
local options = require "autopilot.base.options"

---@class autopilot.token.DefaultOptions
---@field tenant string? default: that of the client, else AZURE_TENANT_ID
---@field client_id string? of the application, or of the machine's identity; default: AZURE_CLIENT_ID
---@field authority string? default: AZURE_AUTHORITY_HOST, else that of the client's cloud
---@field scope string? default: that of the client
---@field allow_world_readable boolean? take a certificate's key from a file that every user can read; default false
---@field getenv (fun(name: string): string?)? default `os.getenv`

local name = "autopilot.token.default"

local rules = authority.rules { allow_world_readable = { type = "boolean", default = false } }

local names = { "environment", "workload identity", "managed identity", "Azure CLI" }

--- A provider of one way, with a cache. Where the options do not suit this way, it says so when it is
-- asked: they may suit the others.
local function member(way, given)
  local made, result = pcall(require("autopilot.token." .. way), given)
  if made then
    return cached(result)
  end
  return function()
    return nil, tostring(result), { is_transient = false }
  end
end

--- The environment without the platform's token, which is the next member's: it must be tried also
-- where the secret or certificate of the environment is refused, and only once where there is none.
local function without_platform_token(getenv)
  return function(variable)
    return variable ~= "AZURE_FEDERATED_TOKEN_FILE" and getenv(variable) or nil
  end
end

--- Makes a provider. Nothing is asked yet.
---@param given autopilot.token.DefaultOptions?
---@param level integer? where a mistake raises, as for `error`; default 2, the caller
---@return autopilot.TokenProvider
local function new(given, level)
  level = level or 2
  local checked = options.check(name, rules, given, level)
  local of_environment = {}
  for key, value in pairs(checked) do
    of_environment[key] = value
  end
  of_environment.getenv = without_platform_token(checked.getenv)
  checked.allow_world_readable = nil -- of no use to the others
  local members = {
    member("environment", of_environment),
    member("workload_identity", checked),
    member("managed_identity", {
      client_id = checked.client_id or authority.environment(checked, "AZURE_CLIENT_ID"),
      scope = checked.scope,
      getenv = checked.getenv,
    }),
    member("azure_cli", { tenant = checked.tenant, scope = checked.scope }),
  }
  return chain(members, level, names)
end

return new
