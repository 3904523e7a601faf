--- Signs in as the machine itself: with the managed identity that Azure has given to it.
--
-- The environment tells which platform the machine is on. The token is always one of the machine's own
-- tenant, whatever the client's `tenant` is, so a fleet of several tenants gets none. Few platforms can be
-- asked for another token than the one that they keep.

local authority = require "autopilot.token.authority"
local http = require "autopilot.token.http"
local merged = require "autopilot.base.merged"
local options = require "autopilot.base.options"
local platforms = require "autopilot.token.managed_identity.platforms"
local provider = require "autopilot.token.provider"
local url_parts = require "autopilot.base.url"

---@class autopilot.token.ManagedIdentityOptions
---@field client_id string? of a user-assigned identity; at most one of the three
---@field resource_id string?
---@field object_id string?
---@field scope string? default: that of the client
---@field probe number? seconds in which a metadata service must answer; default: 1 in a chain, else it is not tried before
---@field getenv (fun(name: string): string?)? default `os.getenv`

local name = "autopilot.token.managed_identity"

local kinds = { "client_id", "resource_id", "object_id" }

local rules = authority.rules(
  { probe = { type = "number", above = 0, max = 60 } },
  { "scope", "getenv" }
)
for _, kind in ipairs(kinds) do
  rules[kind] = authority.rules(nil, { "client_id" }).client_id
end

-- The endpoint is on this machine or beside it: if it exists, it accepts a connection at once.
local timeout = { connect = 5, total = 30 }

--- Whether a host is an IPv4 link-local address, 169.254.0.0/16, and not a name.
local function is_link_local(host)
  local third, fourth = host:match "^169%.254%.(%d%d?%d?)%.(%d%d?%d?)$"
  return third ~= nil and math.max(tonumber(third), tonumber(fourth)) <= 255
end

--- The address of an endpoint; or nil and what it must be. Plain http goes to this machine, and to
-- link-local addresses where the platform has its endpoint there. The address is not quoted: it may hide a
-- password.
local function read_address(text, is_local)
  local origin, rest = text:match "^(%a+://[^/?#]*)(.*)$"
  local scheme, host, port = url_parts.split(origin or "")
  local is_right = (scheme == "https" or scheme == "http")
    and not rest:find "[^\33-\126]"
    and not rest:find "[#\\]"
  if not is_right then
    return nil, "must be an https or http URL without credentials, blanks or fragment"
  end
  if
    scheme == "http"
    and not url_parts.is_loopback(host)
    and (is_local or not is_link_local(host))
  then
    local where = is_local and "loopback" or "loopback and link-local"
    return nil, ("must be https: http is for %s addresses only"):format(where)
  end
  return ("%s://%s%s"):format(scheme, host, port) .. rest
end

--- The URL of a platform's endpoint; or nil and a sentence.
local function endpoint_of(platform, variable)
  local address = variable(platform.endpoint) or platform.default_endpoint
  local url, complaint = read_address(address, platform.is_local)
  if url and platform.path then
    complaint = url:find("?", 1, true) and "must have no query" or nil
    url = url:gsub("/+$", "") .. platform.path
  end
  if complaint then
    return nil, platform.endpoint .. " " .. complaint
  end
  return url
end

--- The platform of the machine: the first whose variables are all set.
local function detect(variable)
  for _, platform in ipairs(platforms) do
    local has_all = true
    for _, wanted in ipairs(platform.variables) do
      has_all = has_all and variable(wanted) ~= nil
    end
    if has_all then
      return platform
    end
  end
end

--- Tells a platform after a claims challenge which token was refused, as MSAL does: the hash of the token,
-- and that this client understands claims challenges. The hash needs luaossl.
local function add_refused(ask, parameters)
  parameters.xms_cc = "cp1"
  local has_digest, digest = pcall(require, "openssl.digest")
  if has_digest then
    local hash = digest.new("sha256"):final(ask.refused)
    parameters.token_sha256_to_refresh = hash:gsub(".", function(byte)
      return ("%02x"):format(byte:byte())
    end)
  end
end

--- The parameters of a request; or nil and a sentence.
local function parameters_of(platform, ask, scope, identity, variable)
  local parameters = { resource = scope:gsub("/%.default$", "") }
  parameters["api-version"] = platform.version
  if identity then
    local parameter = platform.identities[identity.kind]
    if not parameter then
      local message = "%s has no identity that is chosen by %s"
      return nil, message:format(platform.name, identity.kind)
    end
    parameters[parameter] = identity.value
  elseif platform.default_identity then
    parameters[platform.identities.client_id] = variable(platform.default_identity)
  end
  if platform.takes_refused and ask.claims and ask.refused then
    add_refused(ask, parameters)
  end
  return parameters
end

--- The request for a token; or nil and a sentence.
local function request_of(platform, ask, scope, identity, variable)
  local url, complaint = endpoint_of(platform, variable)
  if not url then
    return nil, complaint
  end
  local parameters, message = parameters_of(platform, ask, scope, identity, variable)
  if not parameters then
    return nil, message
  end
  local request = {
    source = "managed identity of " .. platform.name,
    url = url,
    headers = merged(platform.headers),
    timeout = timeout,
  }
  if platform.secret then
    local value = variable(platform.secret.variable)
    if value:find "[^\32-\126]" then
      return nil, platform.secret.variable .. " must be one line of ASCII text"
    end
    request.headers[platform.secret.header], request.secrets = value, { value }
  end
  local encoded = http.encode_form(parameters)
  if platform.is_form then
    request.method, request.body = "POST", encoded
  else
    request.url = url .. (url:find("?", 1, true) and "&" or "?") .. encoded
  end
  return request
end

--- Asks a platform for a token.
local function ask_platform(platform, ask, request, context)
  local object, message, details, answer = (platform.send or http.request)(ask, request, context)
  if not object then
    if not answer and details.is_transient then
      details.hint = platform.unreachable_hint or details.hint
    end
    return nil, message, details
  end
  local token, expires_in, extra = http.read_token(object, http.now(ask))
  if not token then
    return nil, request.source .. ": " .. expires_in, extra
  end
  return token, expires_in, extra
end

--- The one identity of the options; nil for the machine's own.
local function identity_of(checked, level)
  local identity
  for _, kind in ipairs(kinds) do
    if checked[kind] then
      if identity then
        error(name .. ": takes one of 'client_id', 'resource_id' and 'object_id'", level + 1)
      end
      identity = { kind = kind, value = checked[kind] }
    end
  end
  return identity
end

--- Makes a provider. It reads and sends nothing before it is asked.
---@param given autopilot.token.ManagedIdentityOptions?
---@param level integer? where a mistake raises, as for `error`; default 2, the caller
---@return autopilot.TokenProvider
local function new(given, level)
  level = level or 2
  local checked = options.check(name, rules, given, level)
  local identity = identity_of(checked, level)
  local function variable(wanted)
    return authority.environment(checked, wanted)
  end
  local context = { variable = variable, probe = checked.probe }
  return function(ask)
    if ask.has_several then
      local message = "a managed identity signs in to the machine's own tenant only, and there "
        .. "are several"
      return provider.failure(message, { code = "TenantMismatch" })
    end
    local scope, message = authority.scope(checked, ask)
    if not scope then
      return provider.failure(message)
    end
    local platform = detect(variable)
    local request
    request, message = request_of(platform, ask, scope, identity, variable)
    if not request then
      return provider.failure(message)
    end
    return ask_platform(platform, ask, request, context)
  end
end

return new
