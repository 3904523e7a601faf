--- Entra's authorities, which sign applications and people in: the options that the ways to sign in there have in
-- common, and the requests to the endpoints of a tenant (RFC 6749, Microsoft identity platform v2.0).
--
-- Credentials go to an authority over https only, over http to this machine alone, and never to the
-- authority of another cloud. Which form is sent there is left to the providers.

local clouds = require "autopilot.base.clouds"
local core = require "autopilot.core"
local endpoint = require "autopilot.token.endpoint"
local merged = require "autopilot.base.merged"
local provider = require "autopilot.token.provider"
local url_parts = require "autopilot.base.url"

local fail, need = provider.fail, provider.need

local authority = {}

-- ---- Options -----------------------------------------------------------------------------------------

---@class autopilot.token.CommonOptions
---@field tenant string? default: that of the client
---@field authority string? default: AZURE_AUTHORITY_HOST, else that of the client's cloud
---@field scope string? default: that of the client
---@field getenv (fun(name: string): string?)? default `os.getenv`

-- Known authorities, and the beginning of the names of the clouds that each one serves (Microsoft Entra, "National
-- clouds").
local clouds_of = {
  ["login.microsoftonline.com"] = "global",
  ["login.microsoft.com"] = "global",
  ["login.windows.net"] = "global",
  ["sts.windows.net"] = "global",
  ["login.microsoftonline.us"] = "us_gov",
  ["login-us.microsoftonline.com"] = "us_gov",
  ["login.partner.microsoftonline.cn"] = "china",
  ["login.chinacloudapi.cn"] = "china",
}

--- The authority in the form `https://host[:port]`; or nil and what it must be. `https://` may be left
-- out, as AZURE_AUTHORITY_HOST allows.
---@return string? url, string? complaint, string? host
function authority.parse(text)
  local scheme, host, port =
    url_parts.split(text:find("://", 1, true) and text or "https://" .. text)
  if scheme ~= "https" and scheme ~= "http" then
    return nil, "must be like 'https://login.microsoftonline.com', a host and nothing more"
  elseif scheme == "http" and not url_parts.is_loopback(host) then
    return nil, "must be https: credentials may go over http to a loopback host only"
  end
  return ("%s://%s%s"):format(scheme, host, port), nil, host
end

-- Names that stand for all tenants of a kind. An application cannot sign in to them.
local shared_tenants = { common = true, organizations = true, consumers = true }

--- The tenant without the braces in which PowerShell and Windows write ids.
function authority.bare_tenant(tenant)
  return tenant:match "^{([%x-]+)}$" or tenant
end

--- What is wrong with a tenant, or nil. A tenant becomes a part of the URL, so it must not be a path.
---@param is_interactive boolean? a person signs in, of any organization
function authority.tenant_complaint(tenant, is_interactive)
  tenant = authority.bare_tenant(tenant):lower()
  local is_name = tenant:find "^%w[%w%.%-]*$" and #tenant <= 253
  if not is_name or tenant:find("..", 1, true) or tenant:find "[.-]$" then
    return "must be a tenant id or a domain"
  elseif is_interactive and tenant == "consumers" then
    return "must be of an organization: personal accounts have no Intune"
  elseif not is_interactive and shared_tenants[tenant] then
    local must = "must be the id or a domain of one tenant: an application cannot sign in to '%s'"
    return must:format(tenant)
  end
end

local function check_line(value)
  return (value == "" or value:find "%c") and "must be one line of text" or nil
end

--- The rules of the common options, with the environment variables that may stand for them.
---@type table<string, autopilot.OptionRule>
authority.common = {
  tenant = {
    type = "string",
    check = authority.tenant_complaint,
    variable = "AZURE_TENANT_ID",
  },
  client_id = { type = "string", check = check_line, variable = "AZURE_CLIENT_ID" },
  authority = {
    type = "string",
    secret = true, -- a URL may hide a password, so it is never quoted
    check = function(value)
      return (select(2, authority.parse(value)))
    end,
  },
  scope = { type = "string", check = check_line },
  getenv = { type = "function", default = os.getenv },
}

--- The rule of an option `client_id` that must be given.
authority.required_client_id = merged(authority.common.client_id, { required = true })

--- The rules of a provider's options: the common ones and its own, of which each replaces a common one.
function authority.rules(...)
  return merged(authority.common, ...)
end

--- Makes a function that reads environment variables; nil for one that is not set, or empty. Line ends at the end
--- of a value are removed, because a secret that was made from a file may have them.
function authority.environment(checked)
  return function(name)
    return (checked.getenv(name) or ""):match "^.*[^\r\n]"
  end
end

-- ---- Where to ask ------------------------------------------------------------------------------------

--- The scope of the token: the option, else the client's, else that of the cloud's Graph. The scope of another
-- cloud's Graph is refused: its token would be sent to the Graph of the client's cloud. Scopes of other
-- services are not checked.
function authority.scope(checked, ask)
  local cloud = ask.cloud or "global"
  local known = need(clouds[cloud], "the cloud is not one that is known")
  local scope = checked.scope or ask.scope or known.graph .. "/.default"
  local root = scope:lower():match "^(https://[^/]*)"
  for other, hosts in pairs(clouds) do
    if root == hosts.graph and other ~= cloud then
      local message = "the scope is that of the cloud '%s', and the client's is '%s'"
      fail(message:format(other, cloud))
    end
  end
  return scope
end

--- The authority: the option, else AZURE_AUTHORITY_HOST, else that of the cloud.
local function find_authority(checked, cloud)
  local given, source = checked.authority, "the authority"
  if not given then
    given, source = authority.environment(checked) "AZURE_AUTHORITY_HOST", "AZURE_AUTHORITY_HOST"
  end
  local url, complaint, host = authority.parse(given or clouds[cloud].authority)
  local served = clouds_of[host or ""]
  if not url then
    fail(source .. " " .. complaint)
  elseif served and cloud:sub(1, #served) ~= served then
    local message = "%s: %s is not the authority of the cloud '%s': credentials are not sent there"
    fail(message:format(source, host, cloud))
  end
  return url
end

--- The tenant, without braces: the option, else that of `ask`, else that of the fallback; nil if none is set.
---@param fallback { tenant: string?, is_interactive: boolean? }? `is_interactive`: a person signs in, of any organization
function authority.tenant(checked, ask, fallback)
  fallback = fallback or {}
  local tenant = checked.tenant or ask.tenant or fallback.tenant
  local complaint = tenant and authority.tenant_complaint(tenant, fallback.is_interactive)
  if complaint then
    fail("the tenant " .. complaint)
  end
  return tenant and authority.bare_tenant(tenant)
end

---@class autopilot.token.Place where to ask for a token
---@field authority string `https://host[:port]`
---@field tenant string
---@field scope string
---@field client_id string?

--- Returns where to request a token.
---@param checked table options, checked by `authority.rules`
---@param ask autopilot.TokenAsk
---@param fallback { tenant: string?, client_id: string?, is_interactive: boolean? }? for what both do not have
---@return autopilot.token.Place place
function authority.find(checked, ask, fallback)
  local unknown = "the tenant is not known: set the option tenant of the provider or of the client"
  return {
    scope = authority.scope(checked, ask),
    tenant = need(authority.tenant(checked, ask, fallback), unknown),
    authority = find_authority(checked, ask.cloud or "global"),
    client_id = checked.client_id or fallback and fallback.client_id,
  }
end

--- The URL of one of the tenant's endpoints: `token`, the default, or `devicecode`.
function authority.url(place, name)
  return ("%s/%s/oauth2/v2.0/%s"):format(place.authority, place.tenant, name or "token")
end

-- ---- Requests ----------------------------------------------------------------------------------------

-- Seconds before each further attempt with a certificate that Entra does not know yet.
local waits_for_certificate = { 2, 4, 8 }

-- The fields of a form that are secrets.
local secret_fields = { "client_secret", "client_assertion", "device_code", "refresh_token" }

--- Sends a form to one of these endpoints, once, with the client id and the claims that are asked for.
---@return table? object the JSON object of the answer
---@return string? message one line, without a secret
---@return autopilot.token.Details? details
function authority.post(ask, place, form, name)
  local secrets = {}
  for _, field in ipairs(secret_fields) do
    secrets[#secrets + 1] = form[field]
  end
  return endpoint.request(ask, {
    url = authority.url(place, name),
    form = merged(form, { client_id = place.client_id, claims = ask.claims }),
    headers = { Accept = "application/json", ["client-request-id"] = core.uuid() },
    secrets = secrets,
  })
end

--- Exchanges a grant for a token. With a certificate that Entra does not know yet this is tried again, for 14 seconds
-- in all.
---@param grant table<string, string>? the fields of its form; default: client credentials (RFC 6749 section 4.4)
---@param prove autopilot.token.Prove? nil: a public client, which has nothing to prove
---@return string? token
---@return number|string|nil expires_in seconds, when told; without a token the message: one line, without a secret
---@return table extra `refresh_in`, `refresh_token`; without a token `autopilot.token.Details`
function authority.request(ask, place, grant, prove)
  grant = grant or { grant_type = "client_credentials", scope = place.scope }
  for attempt = 1, #waits_for_certificate + 1 do
    local proof = prove and prove(ask, place)
    local object, message, details = authority.post(ask, place, merged(proof, grant))
    if object then
      return endpoint.read_token(object, ask.now())
    end
    local is_too_new = prove and details.reason == endpoint.not_yet_known
    local wait = is_too_new and waits_for_certificate[attempt]
    if not wait or not provider.pause(ask, wait) then
      return nil, message, details
    end
  end
end

return authority
