--- The account of the emulated service: a made-up tenant and application, the ways in which it may sign in,
-- and the environment variables with which other programs use it.

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
---@field identity string? the platform whose identity it is, too: a machine's `imds` or `app_service`, or that of a job of `github` or `pipelines`
---@field identity_key string? what the platform wants to be sent; nil for `imds`
---@field is_public boolean? people may sign in with a code

-- The build server, whose tokens the application trusts.
local job = { issuer = "https://build.emulated", subject = "job", service_connection = "emulated" }

-- The variables that each platform sets: to the URL with a `path`, to a `value`, else to the account's `identity_key`.
local platforms = {
  imds = { { "AZURE_POD_IDENTITY_AUTHORITY_HOST", path = "" } },
  app_service = { { "IDENTITY_ENDPOINT", path = "/msi/token" }, { "IDENTITY_HEADER" } },
  github = {
    { "ACTIONS_ID_TOKEN_REQUEST_URL", path = "/_apis/job/idtoken?api-version=2.0" },
    { "ACTIONS_ID_TOKEN_REQUEST_TOKEN" },
    is_job = true,
  },
  pipelines = {
    { "SYSTEM_OIDCREQUESTURI", path = "/_apis/job/oidctoken" },
    { "SYSTEM_ACCESSTOKEN" },
    { "AZURESUBSCRIPTION_SERVICE_CONNECTION_ID", value = job.service_connection },
    is_job = true,
  },
}

--- A long text that cannot be guessed.
local function unguessable()
  return (core.uuid() .. core.uuid()):gsub("-", ""):sub(1, 40)
end

--- The thumbprints of certificates in PEM files, SHA-256 and SHA-1 of each, in base64url: a client may name one by
-- either. Nil and what is wrong where openssl cannot read one.
function account.thumbprints(paths)
  local command = [[
    for digest in sha256 sha1; do
      openssl x509 -in "$1" -noout -fingerprint -$digest 2>/dev/null
    done
  ]]
  local thumbprints = {}
  for _, path in ipairs(paths) do
    local printed = shell.read(command, path)
    for digits in printed:gmatch "=([%x:]+)" do
      local bytes = digits:gsub("(%x%x):?", function(byte)
        return string.char(tonumber(byte, 16))
      end)
      table.insert(thumbprints, base64url.encode(bytes))
    end
    if printed == "" then
      return nil, ("openssl finds no certificate in the file %s: it must be PEM"):format(path)
    end
  end
  return thumbprints
end

--- Makes an account up.
---@param given autopilot.cli.EmulateOptions
---@return autopilot.cli.Account? account nil when a certificate is wrong
---@return table|string settings the options of the emulator that knows the account; what is wrong
function account.new(given)
  local thumbprints, message = account.thumbprints(given.certificate or {})
  if not thumbprints then
    return nil, message
  end
  local platform, more = platforms[given.identity] or {}, given.emulator or {}
  local key = given.identity ~= "imds" and unguessable() or nil
  local federated = { platform.is_job and job or nil }
  for _, pair in ipairs(given.federated or {}) do
    table.insert(federated, { issuer = pair[1], subject = pair[2] })
  end
  local own = { tenant = core.uuid(), client_id = core.uuid() }
  local secret, is_machine = unguessable(), given.identity and not platform.is_job
  local issuer = emulator.new { start = os.time() }
  local token = issuer:issue_token(merged(own, { lifetime = token_lifetime }))
  local application = {
    secret = secret,
    certificates = thumbprints,
    federated = federated,
    public = given.public,
  }
  local settings = merged(more, {
    cooldown = given.cooldown,
    duration = given.duration,
    faults = given.fault,
    clients = merged(more.clients, { [own.client_id] = application }),
    tokens = merged(more.tokens, { [token] = own }),
    identity = is_machine and merged(own, { header = key }) or nil,
    build_server = platform.is_job and merged(job, { key = key }),
    tenants = more.tenants and merged(more.tenants, { [own.tenant] = { licensed = true } }),
  })
  local described = merged(own, {
    client_secret = secret,
    token = token,
    identity = given.identity,
    identity_key = key,
    is_public = given.public,
  })
  return described, settings
end

--- The environment with which other programs use the service, in order: variable, value, and the value's
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
  for _, variable in ipairs(platforms[service.identity] or {}) do
    local value = variable.path and service.url .. variable.path
      or variable.value
      or service.identity_key
    table.insert(variables, { variable[1], value })
  end
  table.insert(variables, { "AZURE_CLIENT_SECRET", service.client_secret, "client_secret" })
  return variables
end

return account
