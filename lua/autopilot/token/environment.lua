--- Signs an application in as the environment says: with a secret, a certificate or the token of the
-- platform, whichever is set first in this order (that of Azure's EnvironmentCredential).
--
-- The environment is read when a token is first asked for. The provider that it names is then kept.

local authority = require "autopilot.token.authority"
local merged = require "autopilot.base.merged"
local provider = require "autopilot.token.provider"

---@class autopilot.token.EnvironmentOptions: autopilot.token.CommonOptions
---@field tenant string? default: that of the client, else AZURE_TENANT_ID
---@field client_id string? default: AZURE_CLIENT_ID
---@field allow_world_readable boolean? take a certificate's key from a file that every user can read; default false

local rules = authority.rules { allow_world_readable = { type = "boolean", default = false } }

local nothing_set = "the environment names no way to sign in: set AZURE_CLIENT_SECRET, "
  .. "AZURE_CLIENT_CERTIFICATE_PATH or AZURE_FEDERATED_TOKEN_FILE"

--- The provider that is set first, and its own options; nil when none is set.
local function choose(checked, variable)
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
local function open(checked, variable)
  local chosen, own = choose(checked, variable)
  local client_id = checked.client_id or variable "AZURE_CLIENT_ID"
  if not chosen then
    return nil, nothing_set
  elseif not client_id then
    return nil, "the environment is not complete: set AZURE_CLIENT_ID"
  end
  local given = merged(checked, own, { client_id = client_id })
  given.allow_world_readable = own.allow_world_readable
  return provider.open(chosen, given, "the environment is wrong: ")
end

return provider.kind("environment", rules, function(checked)
  local function variable(name)
    return authority.environment(checked, name)
  end
  local chosen
  return function(ask)
    local message
    if not chosen then
      chosen, message = open(checked, variable)
    end
    if not chosen then
      return provider.failure(message)
    end
    return chosen(merged(ask, { tenant = ask.tenant or variable "AZURE_TENANT_ID" }))
  end
end)
