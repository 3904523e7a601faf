--- What clients read before they sign in: a tenant's endpoints (OpenID Connect Discovery 1.0), the hosts
-- that belong to Entra, and the keys that its tokens are signed with.
--
-- The only key is made up, as every signature here: a client that checks signatures refuses the tokens.

local AccessTokens = require "autopilot.emulator.access_tokens"
local answers = require "autopilot.emulator.answers"
local contains = require("autopilot.base.options").contains
local entra = require "autopilot.emulator.entra"

local demand = answers.demand

local discovery = {}

--- Entra's hosts in each cloud; the first is the one that clients are to use.
local entra_hosts = {
  { "login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net" },
  { "login.partner.microsoftonline.cn", "login.chinacloudapi.cn" },
  { "login.microsoftonline.us", "login.usgovcloudapi.net" },
}

--- A tenant's endpoints.
function discovery.tenant(service, call)
  local name, origin = call.tenant_in_path, call.origin
  local tenant = entra.any_tenant[name] and "{tenantid}" or service:find_tenant(name)
  demand(call, tenant, "unknown_authority", name)
  local base = origin .. "/" .. name
  return answers.json(call, {
    issuer = ("%s/%s/v2.0"):format(origin, tenant),
    authorization_endpoint = base .. "/oauth2/v2.0/authorize",
    token_endpoint = base .. "/oauth2/v2.0/token",
    device_authorization_endpoint = base .. "/oauth2/v2.0/devicecode",
    jwks_uri = base .. "/discovery/v2.0/keys",
    token_endpoint_auth_methods_supported = {
      "client_secret_post",
      "private_key_jwt",
      "client_secret_basic",
    },
    response_types_supported = { "code", "id_token", "code id_token", "id_token token" },
    subject_types_supported = { "pairwise" },
    id_token_signing_alg_values_supported = { "RS256" },
  })
end

--- The keys of Entra.
function discovery.keys(_, call)
  local key = {
    kty = "RSA",
    use = "sig",
    kid = AccessTokens.key_id,
    x5t = AccessTokens.key_id,
    n = "w" .. ("emulated"):rep(43):sub(1, 340) .. "A", -- 256 bytes, the first bit set
    e = "AQAB",
    issuer = call.origin .. "/{tenantid}/v2.0",
  }
  return answers.json(call, { keys = { key } })
end

--- Instance discovery: the hosts of Entra and of this service, and the URL of the asked host's own configuration.
function discovery.instances(_, call)
  local given = call.query.authorization_endpoint
  demand(call, given, "missing_parameter", "authorization_endpoint")
  local own, asked = call.origin:match "://(.*)$", given:match "^https?://([^/?#]+)"
  if asked == own:gsub(":%d+$", "") then
    asked = own -- MSAL for Python leaves out the port
  end
  local metadata, is_known = {}, false
  for index, hosts in ipairs { { own }, entra_hosts[1], entra_hosts[2], entra_hosts[3] } do
    metadata[index] = { preferred_network = hosts[1], preferred_cache = hosts[1], aliases = hosts }
    is_known = is_known or contains(hosts, asked)
  end
  demand(call, is_known, "unknown_host")
  local tenant = given:match "^https?://[^/]+/([^/?#]+)" or "common"
  local base = ("https://%s/%s"):format(asked, tenant)
  return answers.json(call, {
    tenant_discovery_endpoint = base .. "/v2.0/.well-known/openid-configuration",
    ["api-version"] = "1.1",
    metadata = metadata,
  })
end

return discovery
