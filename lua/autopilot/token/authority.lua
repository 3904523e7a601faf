--- Where a token is asked for: the authority of the client's cloud, the tenant, the scope.
--
-- The options that all ways to sign in at Entra share are here. Credentials go to an authority over
-- https only, http to this machine alone, and never to the authority of another cloud. What is sent
-- there is left to the providers.

local clouds = require "autopilot.base.clouds"
local is_loopback = require "autopilot.base.url"

local authority = {}

---@class autopilot.token.Place where a token is asked for
---@field authority string `https://host[:port]`
---@field tenant string
---@field scope string

-- Authorities that are known, and the clouds that each one serves (Microsoft Entra, "National clouds").
local global, us_gov = { global = true }, { us_gov = true, us_gov_dod = true }
local clouds_of = {
  ["login.microsoftonline.com"] = global,
  ["login.microsoft.com"] = global,
  ["login.windows.net"] = global,
  ["sts.windows.net"] = global,
  ["login.microsoftonline.us"] = us_gov,
  ["login-us.microsoftonline.com"] = us_gov,
  ["login.partner.microsoftonline.cn"] = { china = true },
  ["login.chinacloudapi.cn"] = { china = true },
}

--- Scheme, host and port of an authority; nil when it is anything more or less.
local function split(text)
  local scheme, rest = text:lower():match "^(%a+)://(.*)$"
  scheme, rest = scheme or "https", (rest or text:lower()):gsub("/$", "")
  local host, port = rest:match "^(%w[%w%.%-]*)(.*)$"
  if not host then
    host, port = rest:match "^(%[[%x:.]+%])(.*)$"
  end
  local number = port and port:match "^:(%d%d?%d?%d?%d?)$"
  local well_formed = host and (port == "" or (number and tonumber(number) <= 65535))
  if not well_formed or host:find("..", 1, true) then
    return nil
  end
  return scheme, host, port
end

--- The authority in its one form, `https://host[:port]`; or nil and what it must be.
-- `https://` may be left out, as AZURE_AUTHORITY_HOST allows.
---@param text string
---@return string? url
---@return string? complaint
function authority.parse(text)
  local scheme, host, port = split(text)
  if not scheme or (scheme ~= "https" and scheme ~= "http") then
    return nil, "must be like 'https://login.microsoftonline.com', a host and nothing more"
  elseif scheme == "http" and not is_loopback(host) then
    return nil, "must be https: credentials may go over http to a loopback host only"
  end
  return ("%s://%s%s"):format(scheme, host, port)
end

--- Why a token for this cloud must not be asked for there, or nil.
local function complaint_about_cloud(url, cloud)
  local _, host = split(url)
  local served = clouds_of[host]
  if served and not served[cloud] then
    return ("%s is not the authority of the cloud '%s': credentials are not sent there"):format(
      host,
      cloud
    )
  end
end

--- What is wrong with a scope, or nil: a token for the Graph of one cloud must not be sent to another,
-- which is where the client of this cloud would send it. Scopes of other services are the user's affair.
---@param scope string
---@param cloud string
---@return string? complaint
function authority.scope_complaint(scope, cloud)
  local root = scope:lower():match "^(https://[^/]*)"
  for other, place in pairs(clouds) do
    if root == place.graph and other ~= cloud then
      return ("is that of the cloud '%s', and the client's is '%s'"):format(other, cloud)
    end
  end
end

-- Names that stand for whoever signs in, and so cannot be where an application signs in.
local shared_tenants = { common = true, organizations = true, consumers = true }

--- The tenant without the braces in which PowerShell and Windows write ids.
---@param tenant string
---@return string
function authority.bare_tenant(tenant)
  return tenant:match "^{([%x-]+)}$" or tenant
end

--- What is wrong with a tenant, or nil. It becomes a part of the URL, so it is a name and no path.
---@param tenant string
---@param is_interactive boolean? a person signs in, of whatever organization
---@return string? complaint
function authority.tenant_complaint(tenant, is_interactive)
  tenant = authority.bare_tenant(tenant)
  local is_name = tenant:find "^%w[%w%.%-]*$" and #tenant <= 253
  if not is_name or tenant:find("..", 1, true) or tenant:find "[.-]$" then
    return "must be a tenant id or a domain"
  elseif not shared_tenants[tenant:lower()] then
    return nil
  elseif not is_interactive then
    return "must be the id or a domain of one tenant: an application cannot sign in to '"
      .. tenant:lower()
      .. "'"
  elseif tenant:lower() == "consumers" then
    return "must be of an organization: personal accounts have no Intune"
  end
end

local function check_authority(value)
  return select(2, authority.parse(value))
end

local function check_line(value)
  return (value == "" or value:find "%c") and "must be one line of text" or nil
end

--- The rules of the options that all these providers have, with those of one provider.
-- A URL may hide a password, so what was given for `authority` is never quoted.
---@param more table<string, autopilot.OptionRule>
---@param is_interactive boolean?
---@return table<string, autopilot.OptionRule>
function authority.rules(more, is_interactive)
  local rules = {
    tenant = {
      type = "string",
      check = function(value)
        return authority.tenant_complaint(value, is_interactive)
      end,
    },
    client_id = { type = "string", check = check_line },
    authority = { type = "string", secret = true, check = check_authority },
    scope = { type = "string", check = check_line },
    getenv = { type = "function", default = os.getenv },
  }
  for name, rule in pairs(more) do
    rules[name] = rule
  end
  return rules
end

--- An environment variable that is set to something, or nil.
---@param checked table
---@param name string
---@return string?
function authority.environment(checked, name)
  local value = checked.getenv(name)
  return value ~= "" and value or nil
end

--- The authority: the option, else AZURE_AUTHORITY_HOST, else that of the cloud.
local function find_authority(checked, cloud)
  local url, complaint
  if checked.authority then
    url = authority.parse(checked.authority)
    complaint = complaint_about_cloud(url, cloud)
    return not complaint and url or nil, complaint
  end
  local from_environment = authority.environment(checked, "AZURE_AUTHORITY_HOST")
  if not from_environment then
    return clouds[cloud].authority
  end
  url, complaint = authority.parse(from_environment)
  if not url then
    return nil, "AZURE_AUTHORITY_HOST " .. complaint
  end
  complaint = complaint_about_cloud(url, cloud)
  return not complaint and url or nil, complaint and "AZURE_AUTHORITY_HOST: " .. complaint
end

--- Where a token is to be asked for; or nil and a sentence.
---@param checked table options, checked by `authority.rules`
---@param ask autopilot.TokenAsk
---@param fallback { tenant: string?, is_interactive: boolean? }? the tenant when neither options nor `ask` have one
---@return autopilot.token.Place? place
---@return string? message
function authority.find(checked, ask, fallback)
  fallback = fallback or {}
  local cloud = ask.cloud or "global"
  if not clouds[cloud] then
    return nil, "the cloud is not one that is known"
  end
  local tenant = checked.tenant or ask.tenant or fallback.tenant
  if not tenant then
    return nil, "the tenant is not known: set the option tenant of the provider or of the client"
  end
  tenant = authority.bare_tenant(tenant)
  local complaint = authority.tenant_complaint(tenant, fallback.is_interactive)
  if complaint then
    return nil, "the tenant " .. complaint
  end
  local url, message = find_authority(checked, cloud)
  if not url then
    return nil, message
  end
  local scope = checked.scope or ask.scope or clouds[cloud].graph .. "/.default"
  complaint = authority.scope_complaint(scope, cloud)
  if complaint then
    return nil, "the scope " .. complaint
  end
  return { authority = url, tenant = tenant, scope = scope }
end

return authority
