--- What clients read before they sign in: a tenant's endpoints (OpenID Connect Discovery 1.0), the hosts
-- that belong to Entra, and the keys that its tokens are signed with.
--
-- The only key is made up, like every signature here: a client that checks signatures refuses the tokens.

local answers = require "autopilot.emulator.answers"
local form = require "autopilot.emulator.form"
local identifiers = require "autopilot.emulator.identifiers"
local users = require "autopilot.emulator.users"

local discovery = {}

local default_origin = "https://login.microsoftonline.com"

--- Entra's hosts in each cloud; the first is the one that clients are to use.
local entra_hosts = {
  { "login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net" },
  { "login.partner.microsoftonline.cn", "login.chinacloudapi.cn" },
  { "login.microsoftonline.us", "login.usgovcloudapi.net" },
}

--- Where the client sees the service: the URL's own origin, else that of the Host header.
local function origin_of(call, request)
  local host = call.headers.host
  return request.url:match "^%a[%w+.-]*://[^/?#]+"
    or (host and "https://" .. host)
    or default_origin
end

local function openid_configuration(service, call, origin)
  local name = call.tenant_in_path
  local tenant = users.any_tenant[name] and "{tenantid}" or service.find_tenant(name)
  if not tenant then
    local sentence = ("Tenant '%s' not found."):format(name)
    return answers.entra_error(call, 400, "invalid_tenant", 90002, sentence)
  end
  local base = origin .. "/" .. name
  return answers.json(call, {
    issuer = ("%s/%s/v2.0"):format(origin, tenant),
    authorization_endpoint = base .. "/oauth2/v2.0/authorize",
    token_endpoint = base .. "/oauth2/v2.0/token",
    device_authorization_endpoint = base .. "/oauth2/v2.0/devicecode",
    jwks_uri = base .. "/discovery/v2.0/keys",
    token_endpoint_auth_methods_supported = { "client_secret_post", "private_key_jwt" },
    response_types_supported = { "code", "id_token", "code id_token", "id_token token" },
    response_modes_supported = { "query", "fragment", "form_post" },
    subject_types_supported = { "pairwise" },
    id_token_signing_alg_values_supported = { "RS256" },
    scopes_supported = { "openid", "profile", "email", "offline_access" },
    cloud_instance_name = "microsoftonline.com",
    msgraph_host = "graph.microsoft.com",
  })
end

local function keys(_, call, origin)
  return answers.json(call, {
    keys = {
      {
        kty = "RSA",
        use = "sig",
        kid = identifiers.key_id,
        x5t = identifiers.key_id,
        n = "w" .. identifiers.new().text(340) .. "A", -- 256 bytes, the first bit set
        e = "AQAB",
        issuer = origin .. "/{tenantid}/v2.0",
      },
    },
  })
end

local function instances(_, call, origin, request)
  local query = form.read(request.url:match "%?([^#]*)")
  local endpoint = query.authorization_endpoint
  if not endpoint then
    local sentence = "The request must contain the parameter 'authorization_endpoint'."
    return answers.entra_error(call, 400, "invalid_request", 900144, sentence)
  end
  local own, asked = origin:match "://(.*)$", endpoint:match "^https?://([^/?#]+)"
  if asked == own:gsub(":%d+$", "") then
    asked = own -- MSAL for Python leaves out the port
  end
  local known = { { own } }
  for _, hosts in ipairs(entra_hosts) do
    known[#known + 1] = hosts
  end
  local metadata, is_known = {}, false
  for index, hosts in ipairs(known) do
    metadata[index] = { preferred_network = hosts[1], preferred_cache = hosts[1], aliases = hosts }
    for _, host in ipairs(hosts) do
      is_known = is_known or host == asked
    end
  end
  if not is_known then
    local sentence = "The host of 'authorization_endpoint' is unknown or not allowed."
    return answers.entra_error(call, 400, "invalid_instance", 50049, sentence)
  end
  local tenant = endpoint:match "^https?://[^/]+/([^/?#]+)" or "common"
  return answers.json(call, {
    tenant_discovery_endpoint = ("https://%s/%s/v2.0/.well-known/openid-configuration"):format(
      asked,
      tenant
    ),
    ["api-version"] = "1.1",
    metadata = metadata,
  })
end

--- The function that answers a path, and the tenant in it.
local function endpoint_of(path)
  local tenant = path:match "^/([^/]+)/v2%.0/%.well%-known/openid%-configuration$"
  if tenant then
    return openid_configuration, tenant
  elseif path:match "^/[^/]+/discovery/v2%.0/keys$" or path == "/discovery/v2.0/keys" then
    return keys
  elseif path == "/common/discovery/instance" then
    return instances
  end
end

--- Whether a path is one of these.
---@param path string
---@return boolean
function discovery.is_path(path)
  return endpoint_of(path) ~= nil
end

--- Answers a request for one of these documents.
---@param service table find_tenant: what the emulator has
---@param call autopilot.emulator.Call
---@param request table
---@return table response
function discovery.answer(service, call, request)
  if request.method ~= "GET" then
    local sentence = "The endpoint only accepts GET requests."
    return answers.entra_error(call, 400, "invalid_request", 900561, sentence)
  end
  local answer
  answer, call.tenant_in_path = endpoint_of(call.path)
  return answer(service, call, origin_of(call, request), request)
end

return discovery
