--- The options of a client: what each means, and how they are checked.

local clouds = require "autopilot.base.clouds"
local core = require "autopilot.core"
local curl = require "autopilot.transport.curl"
local options = require "autopilot.base.options"
local url_parts = require "autopilot.base.url"

local client_options = {}

---@class autopilot.ClientOptions
---@field [string] autopilot.NoSuchOption
--- A token, or a provider: called before every request that needs one.
---@field token string|autopilot.TokenProvider
---@field tenant string? id or domain; handed to the provider, stamped on every report
---@field cloud ("global"|"us_gov"|"us_gov_dod"|"china")? default `global`
---@field base_url string? `https://host[:port]`; http only for a loopback host; default by `cloud`
---@field api_version string? default `beta`, where the action lives
---@field retry autopilot.RetryPolicy|false|nil default `autopilot.retry.policy {}`
---@field timeout { connect: number?, total: number? }? seconds for each attempt; default 10 and 60
---@field http autopilot.HttpOptions?
---@field cooldown number? seconds the service wants between two syncs; default 600; 0: unknown
---@field cooldown_margin number? seconds added to it; default 10
---@field stuck_after number? seconds after which a sync that does not end is told to be stuck; default 3600
---@field recover boolean? settle an unknown delivery by reading the status; default true
---@field store autopilot.Store? shares what is known of the tenant with other clients; needs `tenant`
---@field transport (function|autopilot.ScriptedTransport)? the HTTP layer; default libcurl
---@field sleep fun(seconds: number)?
---@field clock (fun(): number)? monotonic seconds
---@field now (fun(): number)? Unix seconds
---@field random (fun(): number)? in [0, 1)
---@field on_event fun(event: autopilot.Event)? an error in it never changes a result
---@field trace boolean? `on_event` gets each request and its answer in lines, too; default false

local name = "autopilot.client"
-- Seconds: a year. Lua cannot write much larger numbers as whole ones.
local longest = 31536000

local longest_tenant = 255 -- bytes; a domain has at most 253

local function check_token(token)
  if type(token) == "string" then
    return options.token_complaint(token)
  end
  return options.provider_complaint(token)
end

local function check_tenant(tenant)
  local is_wrong = #tenant > longest_tenant
  if not is_wrong and not tenant:find "^[!-.0-~]+$" then -- visible ASCII without a slash
    is_wrong = tenant:find "[%c%s/]" or require("autopilot.base.sentence").clean(tenant) ~= tenant
  end
  local is_cut = tenant:find "^%x+%-%x+%-%x+%-%x+%-%x+$" and #tenant ~= 36
  local hint = is_cut and (": an id has 36 characters, this one %d"):format(#tenant) or ""
  return (is_wrong or is_cut) and "must be a tenant id or a domain" .. hint or nil
end

local function check_base_url(url)
  local scheme, host = url_parts.split(url)
  if scheme ~= "https" and scheme ~= "http" then
    return "must be like 'https://host' or 'https://host:port', and nothing more"
  elseif scheme == "http" and not url_parts.is_loopback(host) then
    return "must be https: a token may go over http to a loopback host only"
  end
end

local function check_policy(policy)
  if policy and (type(policy) ~= "table" or type(policy.decide) ~= "function") then
    return "must be like autopilot.retry.policy { attempts = 3 }, or false"
  end
end

local function check_store(store)
  return require("autopilot.store.contract").complaint_about(store)
end

-- A URL may hide a password, so what was given for base_url is never quoted.
local rules = {
  token = {
    type = { "string", "function" },
    required = true,
    secret = true,
    check = check_token,
    such_as = "autopilot.token.client_secret { client_id = …, client_secret = … }",
    instead_of = "client_id client_secret client_secret_file certificate private_key",
  },
  tenant = { type = "string", check = check_tenant },
  cloud = {
    type = "string",
    default = "global",
    one_of = { "global", "us_gov", "us_gov_dod", "china" },
  },
  base_url = { type = "string", secret = true, check = check_base_url },
  api_version = {
    type = "string",
    default = "beta",
    check = function(value)
      return not value:match "^%w[%w%.%-]*$" and "must be like 'beta' or 'v1.0'" or nil
    end,
  },
  retry = { type = "any", check = check_policy },
  timeout = {
    type = "table",
    fields = {
      connect = { type = "number", default = 10, above = 0 },
      total = { type = "number", default = 60, above = 0 },
    },
  },
  http = { type = "table", fields = curl.rules },
  cooldown = { type = "number", default = 600, min = 0, max = longest },
  cooldown_margin = { type = "number", default = 10, min = 0, max = longest },
  stuck_after = { type = "number", default = 3600, above = 0, max = longest },
  recover = { type = "boolean", default = true },
  store = { type = "any", secret = true, check = check_store }, -- an address may contain a password
  transport = { type = "function" },
  sleep = { type = "function", default = core.sleep },
  clock = { type = "function", default = core.clock },
  now = { type = "function", default = core.now },
  random = { type = "function", default = core.random },
  on_event = { type = "function" },
  trace = { type = "boolean", default = false },
}

-- Why options that are valid alone cannot be used together.
local storing_without_tenant =
  "option 'store' needs option 'tenant': what is shared belongs to a tenant"
local proxy_for_http = "option 'http.proxy' cannot be used with an http base_url"

--- Checks the options of a client, and fills in `base_url`. Raises what is wrong.
---@param given autopilot.ClientOptions
---@param level integer as for `error`
---@return table checked
---@return boolean is_gateway whether base_url is neither the cloud's own nor on this machine
function client_options.check(given, level)
  local checked = options.check(name, rules, given, level + 1)
  local graph = clouds[checked.cloud].graph
  checked.base_url = (checked.base_url or graph):gsub("/$", "")
  local scheme, host = url_parts.split(checked.base_url)
  local has_proxy = (checked.http.proxy or "") ~= ""
  local complaint = checked.store and not checked.tenant and storing_without_tenant
    or scheme == "http" and has_proxy and not checked.transport and proxy_for_http
  if complaint then
    error(("%s: %s"):format(name, complaint), level + 1)
  end
  return checked, not url_parts.is_loopback(host) and checked.base_url:lower() ~= graph
end

local own_rules = { token = rules.token, tenant = rules.tenant }

--- Checks the two options that differ between clients of the same service. A fleet does so for each tenant: the
-- details of an error are found out only if there is one.
---@param level integer as for `error`
function client_options.check_own(token, tenant, level)
  local has_token = (type(token) == "string" or options.is_callable(token))
    and not check_token(token)
  local is_tenant = tenant == nil or type(tenant) == "string" and not rules.tenant.check(tenant)
  if not (has_token and is_tenant) then
    options.check(name, own_rules, { token = token, tenant = tenant }, level + 1)
  end
end

return client_options
