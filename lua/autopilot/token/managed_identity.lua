--- Signs in as the machine itself: with the managed identity that Azure has given to it.
--
-- The environment tells which platform the machine is on. The token is always for the machine's own tenant,
-- even if the client's `tenant` is another, so a fleet of several tenants is refused. Few platforms can be
-- asked to replace the token that they keep.

local arc = require "autopilot.token.managed_identity.arc"
local authority = require "autopilot.token.authority"
local endpoint = require "autopilot.token.endpoint"
local merged = require "autopilot.base.merged"
local metadata_service = require "autopilot.token.managed_identity.metadata_service"
local provider = require "autopilot.token.provider"

local need = provider.need

---@class autopilot.token.ManagedIdentityOptions
---@field client_id string? of a user-assigned identity; at most one of the three
---@field resource_id string?
---@field object_id string?
---@field scope string? default: that of the client
---@field probe number? seconds in which a metadata service must answer; default: 1 in a chain, else it is not tried before
---@field getenv (fun(name: string): string?)? default `os.getenv`

local common = authority.common

local rules = {
  client_id = common.client_id,
  resource_id = common.client_id,
  object_id = common.client_id,
  scope = common.scope,
  getenv = common.getenv,
  probe = { type = "number", above = 0, max = 60 },
}

local identity_options = { "client_id", "resource_id", "object_id" }

-- The endpoint is on this machine or beside it: if it exists, it accepts a connection at once.
local timeout = { connect = 5, total = 30 }

-- The platforms, in the order in which Microsoft's libraries look for them. The fields of each:
--   variables         environment variables that are all set on this platform
--   endpoint          the variable that holds the address, or else
--   default_endpoint  the address, behind which `path` goes
--   is_local          http goes to loopback addresses only
--   version           of its interface
--   identities        parameters that choose an identity, by the provider's option
--   default_identity  the variable that holds a client id to choose without such an option
--   secret            the header that proves who asks, and the variable that holds its value
--   is_form           the parameters are sent as a form
--   takes_refused     it can be told which token was refused, and drops that from its cache
--   send              sends a request, as `endpoint.request`, where more than one request may be needed
local platforms = {
  -- "Leverage a Service Fabric application's managed identity". Its endpoint has a certificate that the
  -- cluster made itself; other libraries recognize it by its thumbprint. Here it is checked like any other
  -- certificate, before the request with the secret header is sent. Which identity an application has is
  -- set where it is deployed.
  {
    name = "Service Fabric",
    variables = { "IDENTITY_ENDPOINT", "IDENTITY_HEADER", "IDENTITY_SERVER_THUMBPRINT" },
    endpoint = "IDENTITY_ENDPOINT",
    is_local = true,
    version = "2019-07-01-preview",
    secret = { header = "Secret", variable = "IDENTITY_HEADER" },
    takes_refused = true,
    unreachable_hint = "The endpoint's certificate must be trusted: give that of the cluster to "
      .. "the client's http.ca_file; it must name the host of IDENTITY_ENDPOINT.",
  },
  -- App Service, Functions, Container Apps and Automation (App Service, "REST endpoint reference"). Azure
  -- Automation needs the header Metadata.
  {
    name = "App Service",
    variables = { "IDENTITY_ENDPOINT", "IDENTITY_HEADER" },
    endpoint = "IDENTITY_ENDPOINT",
    version = "2019-08-01",
    identities = { client_id = "client_id", resource_id = "mi_res_id", object_id = "object_id" },
    headers = { Metadata = "true" },
    secret = { header = "X-IDENTITY-HEADER", variable = "IDENTITY_HEADER" },
    takes_refused = true,
  },
  -- The endpoint of Machine Learning's compute, in the version of 2017, which knows no other ids.
  {
    name = "Azure Machine Learning",
    variables = { "MSI_ENDPOINT", "MSI_SECRET" },
    endpoint = "MSI_ENDPOINT",
    version = "2017-09-01",
    identities = { client_id = "clientid" },
    default_identity = "DEFAULT_IDENTITY_CLIENT_ID",
    secret = { header = "secret", variable = "MSI_SECRET" },
  },
  -- A machine outside Azure with Azure's agent (Arc-enabled servers, "managed identity").
  {
    name = "Azure Arc",
    variables = { "IDENTITY_ENDPOINT", "IMDS_ENDPOINT" },
    endpoint = "IDENTITY_ENDPOINT",
    is_local = true,
    version = "2020-06-01",
    headers = { Metadata = "true" },
    send = arc.send,
  },
  -- The token is that of the person whose shell it is.
  {
    name = "Cloud Shell",
    variables = { "MSI_ENDPOINT" },
    endpoint = "MSI_ENDPOINT",
    is_local = true,
    headers = { Metadata = "true" },
    is_form = true,
  },
  -- The Azure Instance Metadata Service ("use managed identities on a virtual machine to acquire access
  -- token"). It is asked where the environment names no other platform.
  {
    name = "the virtual machine",
    variables = {},
    endpoint = "AZURE_POD_IDENTITY_AUTHORITY_HOST",
    default_endpoint = "http://169.254.169.254",
    path = "/metadata/identity/oauth2/token",
    version = "2018-02-01",
    identities = { client_id = "client_id", resource_id = "msi_res_id", object_id = "object_id" },
    headers = { Metadata = "true" },
    send = metadata_service.send,
  },
}
for _, platform in ipairs(platforms) do
  platform.identities = platform.identities or {}
  platform.send = platform.send or endpoint.request
end

--- The platform of the machine: the first whose variables are all set.
local function detect(variable)
  for _, platform in ipairs(platforms) do
    local is_set = true
    for _, wanted in ipairs(platform.variables) do
      is_set = is_set and variable(wanted)
    end
    if is_set then
      return platform
    end
  end
end

--- The URL of a platform's endpoint.
local function endpoint_of(platform, variable)
  local text = variable(platform.endpoint) or platform.default_endpoint
  local url = endpoint.url(platform.endpoint, text, not platform.is_local)
  if platform.path then
    need(not url:find("?", 1, true), platform.endpoint .. " must have no query")
    url = url:gsub("/+$", "") .. platform.path
  end
  return url
end

--- Sets the parameters that tell a platform which token was refused after a claims challenge, as MSAL does: the
-- hash of the token, and that this client understands claims challenges. The hash needs luaossl.
local function add_refused(refused, parameters)
  parameters.xms_cc = "cp1"
  local openssl = provider.luaossl "digest"
  if openssl then
    local hash = openssl.digest.new("sha256"):final(refused)
    parameters.token_sha256_to_refresh = hash:gsub(".", function(byte)
      return ("%02x"):format(byte:byte())
    end)
  end
end

--- The parameters of a request.
local function parameters_of(platform, ask, checked)
  local resource = authority.scope(checked, ask):gsub("/%.default$", "")
  local parameters = { resource = resource, ["api-version"] = platform.version }
  if platform.default_identity then
    parameters[platform.identities.client_id] = checked.variable(platform.default_identity)
  end
  for _, option in ipairs(identity_options) do
    if checked[option] then
      local name = platform.identities[option]
      local message = "%s has no identity that is chosen by %s"
      parameters[need(name, message:format(platform.name, option))] = checked[option]
    end
  end
  if platform.takes_refused and ask.claims and ask.refused then
    add_refused(ask.refused, parameters)
  end
  return parameters
end

--- The request for a token.
local function request_of(platform, ask, checked)
  local url = endpoint_of(platform, checked.variable)
  local parameters = parameters_of(platform, ask, checked)
  local headers, secret = merged(platform.headers), nil
  if platform.secret then
    secret = checked.variable(platform.secret.variable)
    local is_line = not secret:find "[^\32-\126]"
    need(is_line, platform.secret.variable .. " must be one line of ASCII text")
    headers[platform.secret.header] = secret
  end
  return {
    source = "managed identity of " .. platform.name,
    url = url,
    headers = headers,
    [platform.is_form and "form" or "query"] = parameters,
    timeout = timeout,
    secrets = { secret },
  }
end

return provider.kind("managed_identity", rules, function(checked)
  local count = 0
  for _, option in ipairs(identity_options) do
    count = count + (checked[option] and 1 or 0)
  end
  if count > 1 then
    return nil, "takes one of 'client_id', 'resource_id' and 'object_id'"
  end
  checked.variable = authority.environment(checked)
  return function(ask)
    if ask.has_several then
      local message = "a managed identity signs in to the machine's own tenant only, and there "
        .. "are several"
      provider.fail(message, { code = "TenantMismatch" })
    end
    local platform = detect(checked.variable)
    local request = request_of(platform, ask, checked)
    local object, message, details, answer = platform.send(ask, request, checked)
    if not object and not answer then
      details.hint = platform.unreachable_hint or details.hint
    end
    local whose = request.source .. ": the token endpoint's answer"
    return endpoint.read_token(need(object, message, details), ask.now(), whose)
  end
end)
