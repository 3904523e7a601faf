--- Signs an application in as the environment says: with a secret, a certificate or the token of the
-- platform, whichever is set first in this order (that of Azure's EnvironmentCredential).
--
-- The environment is read when a token is asked for. What was read, and the way that follows from it,
-- then stays.

local authority = require "autopilot.token.authority"
local options = require "autopilot.base.options"

---@class autopilot.token.EnvironmentOptions
---@field tenant string? default: that of the client, else AZURE_TENANT_ID
---@field client_id string? default: AZURE_CLIENT_ID
---@field authority string? default: AZURE_AUTHORITY_HOST, else that of the client's cloud
---@field scope string? default: that of the client
---@field allow_world_readable boolean? take a certificate's key from a file that every user can read; default false
---@field getenv (fun(name: string): string?)? default `os.getenv`

local name = "autopilot.token.environment"

local rules = authority.rules { allow_world_readable = { type = "boolean", default = false } }

local nothing_set = "the environment names no way to sign in: set AZURE_CLIENT_SECRET, "
  .. "AZURE_CLIENT_CERTIFICATE_PATH or AZURE_FEDERATED_TOKEN_FILE"

--- Which provider, and with what options of its own; nil when nothing is set.
local function choose(checked)
  local function variable(variable_name)
    return authority.environment(checked, variable_name)
  end
  local secret = variable "AZURE_CLIENT_SECRET"
  if secret then
    return "client_secret", { client_secret = secret }
  end
  local certificate = variable "AZURE_CLIENT_CERTIFICATE_PATH"
  if certificate then
    return "client_certificate",
      {
        certificate = certificate,
        passphrase = variable "AZURE_CLIENT_CERTIFICATE_PASSWORD",
        allow_world_readable = checked.allow_world_readable,
      }
  end
  local token_file = variable "AZURE_FEDERATED_TOKEN_FILE"
  if token_file then
    return "workload_identity", { token_file = token_file }
  end
end

--- The provider that the environment describes, or nil and a sentence.
local function open(checked)
  local way, given = choose(checked)
  if not way then
    return nil, nothing_set
  end
  given.client_id = checked.client_id or authority.environment(checked, "AZURE_CLIENT_ID")
  if not given.client_id then
    return nil, "the environment is not complete: set AZURE_CLIENT_ID"
  end
  for _, option in ipairs { "tenant", "authority", "scope", "getenv" } do
    given[option] = checked[option]
  end
  local made, result = pcall(require("autopilot.token." .. way), given)
  if made then
    return result
  end
  -- What is wrong with a variable is not the caller's mistake. No secret is quoted.
  return nil, "the environment is wrong: " .. tostring(result)
end

--- Makes a provider. Nothing is read yet.
---@param given autopilot.token.EnvironmentOptions?
---@param level integer? where a mistake raises, as for `error`; default 2, the caller
---@return autopilot.TokenProvider
local function new(given, level)
  level = level or 2
  local checked = options.check(name, rules, given, level)
  local provider
  return function(ask)
    local message
    if not provider then
      provider, message = open(checked)
    end
    if not provider then
      return nil, message, { is_transient = false }
    end
    local asked = {}
    for key, value in pairs(ask) do
      asked[key] = value
    end
    asked.tenant = ask.tenant or authority.environment(checked, "AZURE_TENANT_ID")
    local token, second, third = provider(asked)
    return token, second, third
  end
end

return new
