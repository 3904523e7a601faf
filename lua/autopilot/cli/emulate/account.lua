--- The account of the emulated service: a made-up tenant and application, the ways in which it may sign in,
-- and the environment variables in which others find it.

local base64url = require "autopilot.base.base64url"
local core = require "autopilot.core"
local emulator = require "autopilot.emulator"
local merged = require "autopilot.base.merged"
local shell = require "autopilot.cli.emulate.shell"

local account = {}

local token_lifetime = 365 * 86400

---@class autopilot.cli.Account
---@field tenant string
---@field client_id string
---@field client_secret string
---@field token string a token of that client, good for a year
---@field identity string? the platform whose managed identity it is, too: `imds` or `app_service`
---@field identity_header string? what App Service wants in a header
---@field is_public boolean people may sign in with a code

--- A long text that cannot be guessed.
local function unguessable()
  return (core.uuid() .. core.uuid()):gsub("-", ""):sub(1, 40)
end

--- Makes an account up.
---@param checked autopilot.cli.EmulateOptions
---@return autopilot.cli.Account
function account.new(checked)
  local own = { tenant = core.uuid(), client_id = core.uuid() }
  local token = merged(own, { lifetime = token_lifetime })
  return merged(own, {
    client_secret = unguessable(),
    token = emulator.new({ start = os.time() }):issue_token(token),
    identity = checked.identity,
    identity_header = checked.identity == "app_service" and unguessable() or nil,
    is_public = checked.public,
  })
end

--- The thumbprints of a certificate in a PEM file, SHA-256 and SHA-1, in base64url: a client may name it by
-- either. Empty when openssl cannot read a certificate.
function account.thumbprints(path)
  local command = [[
    for digest in sha256 sha1; do
      openssl x509 -in "$1" -noout -fingerprint -$digest 2>/dev/null
    done
  ]]
  local thumbprints = {}
  for digits in shell.read(command, path):gmatch "=([%x:]+)" do
    local bytes = digits:gsub("(%x%x):?", function(byte)
      return string.char(tonumber(byte, 16))
    end)
    table.insert(thumbprints, base64url.encode(bytes))
  end
  return thumbprints
end

--- The options of the emulator that knows the account; or nil and what is wrong with a certificate.
---@param service autopilot.cli.Account
---@param checked autopilot.cli.EmulateOptions
function account.settings(service, checked)
  local thumbprints = {}
  for _, path in ipairs(checked.certificates) do
    local found = account.thumbprints(path)
    if not found[1] then
      return nil, ("openssl finds no certificate in the file %s: it must be PEM"):format(path)
    end
    table.insert(thumbprints, found[1])
    table.insert(thumbprints, found[2])
  end
  local application = {
    secret = service.client_secret,
    certificates = thumbprints[1] and thumbprints,
    federated = checked.federated[1] and checked.federated,
    public = service.is_public,
  }
  local given, own = checked.emulator, { tenant = service.tenant, client_id = service.client_id }
  return merged(given, {
    cooldown = checked.cooldown,
    duration = checked.duration,
    faults = checked.faults,
    clients = merged(given.clients, { [service.client_id] = application }),
    tokens = merged(given.tokens, { [service.token] = own }),
    identity = service.identity and merged(own, { header = service.identity_header }),
    tenants = given.tenants and merged(given.tenants, { [service.tenant] = { licensed = true } }),
  })
end

--- The environment in which others find the service and its account, in order: variable, value, and the value's
-- name in JSON, if it has one.
---@param service autopilot.cli.EmulatedService
---@return string[][]
function account.environment(service)
  local variables = {
    { "AUTOPILOT_BASE_URL", service.url, "base_url" },
    { "AUTOPILOT_CA_FILE", service.ca_file, "ca_file" },
    { "AUTOPILOT_TOKEN", service.token, "token" },
    { "AZURE_AUTHORITY_HOST", service.url .. "/", "authority" },
    { "AZURE_TENANT_ID", service.tenant, "tenant" },
    { "AZURE_CLIENT_ID", service.client_id, "client_id" },
  }
  if service.identity == "imds" then
    table.insert(variables, { "AZURE_POD_IDENTITY_AUTHORITY_HOST", service.url })
  elseif service.identity then
    table.insert(variables, { "IDENTITY_ENDPOINT", service.url .. "/msi/token" })
    table.insert(variables, { "IDENTITY_HEADER", service.identity_header })
  end
  table.insert(variables, { "AZURE_CLIENT_SECRET", service.client_secret, "client_secret" })
  return variables
end

return account
