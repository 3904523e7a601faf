--- The account of the emulated service: a made-up tenant and application, the ways in which it may sign in,
-- and the environment variables that tell others of it.

local base64url = require "autopilot.base.base64url"
local core = require "autopilot.core"
local emulator = require "autopilot.emulator"
local shell = require "autopilot.cli.emulate.shell"

local account = {}

local token_lifetime = 365 * 86400

---@class autopilot.cli.Account
---@field tenant string
---@field client_id string
---@field client_secret string
---@field token string a token of that client, good for a year
---@field identity string? the platform of whose managed identity it is, too: `imds` or `app_service`
---@field identity_header string? what App Service wants in a header
---@field is_public boolean people may sign in with a code

--- A long text that cannot be guessed.
local function unguessable()
  return ((core.uuid() .. core.uuid()):gsub("-", "")):sub(1, 40)
end

--- Makes one up.
---@param asked { public: boolean?, identity: string? }
---@return autopilot.cli.Account
function account.new(asked)
  local made = {
    tenant = core.uuid(),
    client_id = core.uuid(),
    client_secret = unguessable(),
    identity = asked.identity,
    identity_header = asked.identity == "app_service" and unguessable() or nil,
    is_public = asked.public or false,
  }
  made.token = emulator.new({ start = os.time() }):issue_token {
    tenant = made.tenant,
    client_id = made.client_id,
    lifetime = token_lifetime,
  }
  return made
end

--- The thumbprints of a certificate in a PEM file, SHA-256 and SHA-1, in base64url: a client may name it by
-- either. None when there is no certificate.
---@param path string
---@return string[]
function account.thumbprints(path)
  local command = [[
    for digest in sha256 sha1; do
      openssl x509 -in "$1" -noout -fingerprint -$digest 2>/dev/null
    done
  ]]
  local thumbprints = {}
  for digits in shell.read(command, path):gmatch "=([%x:]+)" do
    thumbprints[#thumbprints + 1] = base64url.encode((digits:gsub("(%x%x):?", function(byte)
      return string.char(tonumber(byte, 16))
    end)))
  end
  return thumbprints
end

local function copy_of(given)
  local copy = {}
  for key, value in pairs(given or {}) do
    copy[key] = value
  end
  return copy
end

--- The emulator's options with the account in them.
---@param given table options of `autopilot.emulator.new`
---@param made autopilot.cli.Account
---@param asked { thumbprints: string[], federated: autopilot.emulator.FederatedCredential[] }
---@return table
function account.add_to(given, made, asked)
  local complete = copy_of(given)
  complete.clients = copy_of(given.clients)
  complete.clients[made.client_id] = {
    secret = made.client_secret,
    certificates = asked.thumbprints[1] and asked.thumbprints,
    federated = asked.federated[1] and asked.federated,
    public = made.is_public,
  }
  complete.tokens = copy_of(given.tokens)
  complete.tokens[made.token] = { tenant = made.tenant, client_id = made.client_id }
  if made.identity then
    complete.identity = {
      tenant = made.tenant,
      client_id = made.client_id,
      header = made.identity_header,
    }
  end
  if given.tenants then
    complete.tenants = copy_of(given.tenants)
    complete.tenants[made.tenant] = { licensed = true }
  end
  return complete
end

--- Names and values of the environment in which others find the service and its account, in order.
---@param made autopilot.cli.Account
---@param url string of the service
---@param ca_file string
---@return string[][]
function account.environment(made, url, ca_file)
  local pairs_of = {
    { "AUTOPILOT_BASE_URL", url },
    { "AUTOPILOT_CA_FILE", ca_file },
    { "AUTOPILOT_TOKEN", made.token },
    { "AZURE_AUTHORITY_HOST", url .. "/" },
    { "AZURE_TENANT_ID", made.tenant },
    { "AZURE_CLIENT_ID", made.client_id },
  }
  if made.identity == "imds" then
    table.insert(pairs_of, { "AZURE_POD_IDENTITY_AUTHORITY_HOST", url })
  elseif made.identity == "app_service" then
    table.insert(pairs_of, { "IDENTITY_ENDPOINT", url .. "/msi/token" })
    table.insert(pairs_of, { "IDENTITY_HEADER", made.identity_header })
  end
  table.insert(pairs_of, { "AZURE_CLIENT_SECRET", made.client_secret })
  return pairs_of
end

return account
