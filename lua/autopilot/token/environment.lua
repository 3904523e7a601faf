--- Signs an application in as the environment says: with a secret, a certificate or the token of the
-- platform, whichever is set first in this order (that of Azure's EnvironmentCredential).
--
-- The environment is read when a token is first asked for. The provider that it names is then kept.

local authority = require "autopilot.token.authority"
local merged = require "autopilot.base.merged"
local options = require "autopilot.base.options"
local provider = require "autopilot.token.provider"

---@class autopilot.token.EnvironmentOptions: autopilot.token.CommonOptions
---@field tenant string? default: that of the client, else AZURE_TENANT_ID
---@field client_id string? default: AZURE_CLIENT_ID
---@field allow_world_readable boolean? take a certificate's key from a file that every user can read; default false

local name = "autopilot.token.environment"

local rules = authority.rules { allow_world_readable = { type = "boolean", default = false } }

local nothing_set = "the environment names no way to sign in: set AZURE_CLIENT_SECRET, "
  .. "AZURE_CLIENT_CERTIFICATE_PATH or AZURE_FEDERATED_TOKEN_FILE"

--- The provider that is set first, and its own options; nil when none is set.
local function choose(checked)
  local function variable(variable_name)
    return authority.environment(checked, variable_name)
  end
  local secret = variable "AZURE_CLIENT_SECRET"
  local certificate = variable "AZURE_CLIENT_CERTIFICATE_PATH"
  local token_file = variable "AZURE_FEDERATED_TOKEN_FILE"
  if secret then
    return "client_secret", { client_secret = secret }
  elseif certificate then
    return "client_certificate",
      {
        certificate = certificate,
        passphrase = variable "AZURE_CLIENT_CERTIFICATE_PASSWORD",
        allow_world_readable = checked.allow_world_readable,
      }
  elseif token_file then
    return "workload_identity", { token_file = token_file }
  end
end

--- The provider that the environment names; or nil and a sentence.
local function open(checked)
  local chosen, own = choose(checked)
  if not chosen then
    return nil, nothing_set
  end
  local client_id = checked.client_id or authority.environment(checked, "AZURE_CLIENT_ID")
  if not client_id then
    return nil, "the environment is not complete: set AZURE_CLIENT_ID"
  end
  local given = merged(own, {
    client_id = client_id,
    tenant = checked.tenant,
    authority = checked.authority,
    scope = checked.scope,
    getenv = checked.getenv,
  })
  return provider.open(chosen, given, "the environment is wrong: ")
end

--- Makes a provider. It reads nothing before it is asked.
---@param given autopilot.token.EnvironmentOptions?
---@param level integer? where a mistake raises, as for `error`; default 2, the caller
---@return autopilot.TokenProvider
local function new(given, level)
  local checked = options.check(name, rules, given, level)
  local chosen
  return function(ask)
    local message
    if not chosen then
      chosen, message = open(checked)
    end
    if not chosen then
      return provider.failure(message)
    end
    local tenant = ask.tenant or authority.environment(checked, "AZURE_TENANT_ID")
    return chosen(merged(ask, { tenant = tenant }))
  end
end

return new
