--- The client: options, the world it runs in, and the operations as its methods.
--
-- Each operation is a module of its own (sync, status, wait, ensure). Here is what they share: the
-- checked options, the transport, the token, what was learnt of the service's clock and cooldown.

local Exchange = require "autopilot.graph.request"
local ServiceClock = require "autopilot.sync.service_clock"
local TenantMemory = require "autopilot.sync.knowledge"
local clouds = require "autopilot.base.clouds"
local core = require "autopilot.core"
local curl = require "autopilot.transport.curl"
local is_loopback = require "autopilot.base.url"
local options = require "autopilot.base.options"
local protected_call = require "autopilot.base.protected_call"
local read_ahead = require "autopilot.base.read_ahead"
local redact = require "autopilot.base.redact"

---@class autopilot.ClientOptions
--- A token, or a provider: called before every request that needs one.
---@field token string|autopilot.TokenProvider
---@field tenant string? id or domain; handed to the provider, stamped on every report
---@field cloud ("global"|"us_gov"|"us_gov_dod"|"china")? default `global`
---@field base_url string? `https://host[:port]`; http only for a loopback host; default by `cloud`
---@field api_version string? default `beta`, where the action lives
---@field retry autopilot.RetryPolicy|false|nil default `autopilot.retry.policy {}`
---@field timeout { connect: number?, total: number? }? seconds for each attempt; default 10 and 60
---@field http table? `ca_file`, `ca_path`, `proxy`, `version`, `max_body`, `user_agent`
---@field cooldown number? seconds the service wants between two syncs; default 600; 0: unknown
---@field cooldown_margin number? seconds added to it; default 10
---@field recover boolean? settle an unknown delivery by reading the status; default true
---@field store autopilot.Store? shares what is known of the tenant with other clients; needs `tenant`
---@field transport function? the HTTP layer; default libcurl
---@field sleep fun(seconds: number)?
---@field clock (fun(): number)? monotonic seconds
---@field now (fun(): number)? Unix seconds
---@field random (fun(): number)? in [0, 1)
---@field on_event fun(event: table)? an error in it never changes a result

---@alias autopilot.TokenProvider fun(ask: autopilot.TokenAsk): string?, any

---@class autopilot.TokenAsk
---@field tenant string?
---@field has_several boolean? the client is of a fleet: tokens of several tenants are wanted
---@field cloud string
---@field scope string
---@field claims string? decoded claims challenge (OpenID Connect Core section 5.5)
---@field refresh boolean the previous token was refused
---@field refused string? which one that was
---@field deadline number? Unix time at which waiting for a token ends
---@field waited_until number? Unix time until which the client has slept before it asks
---@field probe number? seconds in which to find out whether there is anybody to ask; set by a chain
---@field transport function the client's own HTTP layer
---@field sleep fun(seconds: number)
---@field now fun(): number

local may_echo = core.may_echo

local longest_text = 1000 -- characters of a text of somebody else's in a report
local longest_tenant = 255 -- bytes; a domain has at most 253

local name = "autopilot.client"
local resource = "/deviceManagement/windowsAutopilotSettings"

local function check_token(token)
  if token == "" then
    return "must not be empty"
  elseif type(token) == "string" and not core.is_header_text(token) then
    return "must not contain CR, LF or NUL"
  end
end

--- Scheme and host of a base URL, or nil when it is anything more or less.
local function split_base_url(url)
  local scheme, host, port = url:lower():match "^(https?)://([%w%.%-]+):?(%d*)/?$"
  if not scheme then
    scheme, host, port = url:lower():match "^(https?)://(%[[%x:%.]+%]):?(%d*)/?$"
  end
  local number = tonumber(port)
  local well_formed = scheme and (not number or (#port <= 5 and number >= 1 and number <= 65535))
  if not well_formed or url:find ":/?$" then
    return nil
  end
  return scheme, host
end

local function check_base_url(url)
  local scheme, host = split_base_url(url)
  if not scheme then
    return "must be like 'https://host' or 'https://host:port', and nothing more"
  elseif scheme == "http" and not is_loopback(host) then
    return "must be https: a token may go over http to a loopback host only"
  end
end

local function check_policy(policy)
  if policy == true or (policy and type(policy.decide) ~= "function") then
    return "must be made by autopilot.retry, or false"
  end
end

local function check_store(store)
  return require("autopilot.store.guarded").complaint_about(store)
end

-- A URL may hide a password, so what was given for base_url is never quoted.
local rules = {
  token = { type = { "string", "function" }, required = true, secret = true, check = check_token },
  tenant = {
    type = "string",
    check = function(value)
      local is_wrong = value == "" or #value > longest_tenant or value:find "[%c%s/]"
      if not is_wrong and value:find "[^!-~]" then
        is_wrong = require("autopilot.base.sentence").clean(value) ~= value
      end
      return is_wrong and "must be a tenant id or a domain" or nil
    end,
  },
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
  retry = { type = { "table", "boolean" }, check = check_policy },
  timeout = {
    type = "table",
    fields = {
      connect = { type = "number", default = 10, above = 0 },
      total = { type = "number", default = 60, above = 0 },
    },
  },
  http = { type = "table", fields = curl.rules },
  cooldown = { type = "number", default = 600, min = 0 },
  cooldown_margin = { type = "number", default = 10, min = 0 },
  recover = { type = "boolean", default = true },
  store = { type = "table", check = check_store },
  transport = { type = "function" },
  sleep = { type = "function", default = core.sleep },
  clock = { type = "function", default = core.clock },
  now = { type = "function", default = core.now },
  random = { type = "function", default = core.random },
  on_event = { type = "function" },
}

---@class autopilot.Client
---@field package options table checked
---@field package transport function
---@field package service_clock autopilot.ServiceClock
local Client = {}
Client.__index = Client

local no_secrets = {} -- no client has sent a token yet

local operations = { sync = true, status = true, wait = true, ensure = true }

-- What an operation or a failure needs is loaded when it is first used, so that a script pays for what it
-- does, but read before anything is sent.
local needed_later = {
  "autopilot.sync.sync",
  "autopilot.sync.status",
  "autopilot.sync.wait",
  "autopilot.sync.ensure",
  "autopilot.graph.error",
  "autopilot.base.sentence",
  "autopilot.base.normal_text",
  "autopilot.retry",
  "autopilot.base.claims",
}

setmetatable(Client, {
  __index = function(class, method)
    if operations[method] then
      local module = require("autopilot.sync." .. method)
      class[method] = module.call
      return module.call
    end
  end,
})

--- Lets go of connections and token. May be called again.
function Client:close()
  self.is_closed = true
  self.static_token, self.token_provider, self.last_token = false, false, false
  self.facts, self.facts_of = false, false
  self.secrets, self.cleaner = no_secrets, false
  if self.owns_transport then
    self.transport:close()
  end
end

Client.__gc = Client.close
Client.__close = Client.close

function Client:__tostring()
  return ("autopilot.client (%s%s)"):format(
    self.tenant and self.tenant .. ", " or "",
    self.is_closed and "closed" or self.base_url
  )
end

--- Tells the observer, whose errors are its own.
---@package
function Client:emit(event_type, event)
  if self.on_event then
    event.type, event.tenant = event_type, self.tenant or nil
    protected_call(self.on_event, event)
  end
end

--- The policy. The default one is made at the first failure: most scripts never need it.
---@package
---@return autopilot.RetryPolicy
function Client:retry_policy()
  if not self.policy then
    local retry = require "autopilot.retry"
    self.policy = self.options.retry == nil and retry.policy {} or retry.never()
  end
  return self.policy
end

--- Sees to it that the token, which is about to be sent, gets into no report. An answer may still tell of
-- the one before.
---@package
function Client:hide(token)
  self.tenant_id = self.facts_of == token and self.facts.tenant_id or false
  local before = self.secrets[1]
  self.secrets, self.cleaner = before and { token, before } or { token }, false
end

--- Makes a text of somebody else's fit for a report or an event: one line of visible characters, with a
-- ceiling, without what it repeats of a token.
---@package
---@param text string? anything but a string is handed back as it is
---@param longest integer? characters; default 1000
---@return string? text nil when nothing is left of it
function Client:clean(text, longest)
  longest = longest or longest_text
  if type(text) ~= "string" or #text <= longest and not may_echo(self.secrets, text) then
    return text -- as most are: then nothing is prepared
  end
  text = require("autopilot.base.sentence").clean(text, longest)
  self.cleaner = self.cleaner or redact.prepare(self.secrets)
  return self.cleaner(text)
end

--- Raises at the caller of the method for a call on a closed client.
---@package
function Client:check_open(method)
  if self.is_closed then
    error(("client:%s: the client is closed"):format(method), 3)
  end
end

--- The transport and whether it is ours to close; or nil, nil and the caller's mistake.
local function make_transport(checked, base_url, make)
  if checked.transport then
    return checked.transport, false
  end
  local scheme, host = split_base_url(base_url)
  local http = checked.http
  if scheme == "http" and http.proxy and http.proxy ~= "" then
    return nil, nil, "option 'http.proxy' cannot be used with an http base_url"
  elseif http.proxy == nil and is_loopback(host) then
    http.proxy = "" -- a proxy of the environment cannot reach our loopback
  end
  return make { http = http }, true
end

--- A client's own part: token, memory, requests.
---@param shared { scope: string, options: table }
---@param token string|autopilot.TokenProvider
---@param tenant string?
---@param metatable table
local function make(shared, token, tenant, metatable)
  local checked = shared.options
  local is_static, service_clock = type(token) == "string", ServiceClock.new(checked)
  -- false stands for "none": a nil field would be looked up in the class each time. All fields are
  -- named here, so that the table is made in its final size.
  return setmetatable({
    options = checked,
    tenant = tenant or false,
    static_token = is_static and token,
    last_token = is_static and token,
    tenant_id = false, -- that of the token last sent, where it can be read
    facts_of = false, -- the token that was looked at last
    facts = false, -- what it says of itself, and what is wrong with it
    secrets = no_secrets, -- what must not get into a report: the tokens last sent
    cleaner = false, -- takes them out of a text, once there is one to look at closely
    token_provider = not is_static and token,
    service_clock = service_clock,
    memory = TenantMemory.new(checked.cooldown, checked.cooldown_margin, service_clock),
    is_closed = false,
    owns_transport = false,
    shared = false, -- what is known to others; see share.claim
  }, metatable)
end

--- Lets a client with a store tell others what it knows.
local function share(self)
  local store = self.options.store
  if store then
    self.shared = require("autopilot.share.claim").share(self, store)
  end
end

--- Makes a client. Nothing is sent yet.
---@param given autopilot.ClientOptions
---@param make_default_transport function? for presets: takes `{ http = }`; default libcurl that blocks
---@param level integer? for presets: whose line a mistake is told at, as for `error`; default 2
---@return autopilot.Client
local function new(given, make_default_transport, level)
  local checked = options.check(name, rules, given, level)
  if checked.store and not checked.tenant then
    error(
      name .. ": option 'store' needs option 'tenant': what is shared is a tenant's",
      level or 2
    )
  end
  local cloud = clouds[checked.cloud]
  local base_url = (checked.base_url or cloud.graph):gsub("/$", "")
  local transport, owned, mistake =
    make_transport(checked, base_url, make_default_transport or curl.new)
  if mistake then
    error(("%s: %s"):format(name, mistake), level or 2)
  end
  local token, shared = checked.token, { scope = cloud.graph .. "/.default", options = checked }
  checked.token = nil
  local self = make(shared, token, checked.tenant, Client)
  self.base_url, self.scope = base_url, shared.scope
  -- Where requests go to somebody's own gateway, tokens may be made for that.
  local _, host = split_base_url(base_url)
  self.audience = (base_url:lower() == cloud.graph or is_loopback(host)) and cloud.graph
  self.policy, self.on_event = checked.retry or false, checked.on_event or false
  self.transport, self.owns_transport = transport, owned
  local url = ("%s/%s%s"):format(base_url, checked.api_version, resource)
  share(self)
  read_ahead(needed_later)
  self.sync_request = Exchange.new(self, "POST", url .. "/sync", 204)
  self.status_request = Exchange.new(self, "GET", url, 200)
  return self
end

local own_rules = { token = rules.token, tenant = rules.tenant }

--- Raises at the line that called the caller of this function.
local function check_own(token, tenant)
  local are_strings = type(token) == "string" and type(tenant) == "string"
  if not are_strings or check_token(token) or rules.tenant.check(tenant) then
    options.check(name, own_rules, { token = token, tenant = tenant }, 3)
  end
end

--- A client that differs from this one in token and tenant only. It shares the rest, so that thousands
-- cost little; the transport stays this one's. Raises what is wrong with the two.
---@package
---@param token string|autopilot.TokenProvider
---@param tenant string
---@return autopilot.Client
function Client:sibling(token, tenant)
  check_own(token, tenant)
  self.kin = self.kin or { __index = self, __close = Client.close, __tostring = Client.__tostring }
  local sibling = make(self, token, tenant, self.kin)
  share(sibling)
  return sibling
end

--- Makes a sibling that nobody uses any more the client of another tenant. What it has learnt of the
-- service's clock stays: the service is the same.
---@package
---@param token string|autopilot.TokenProvider
---@param tenant string
function Client:become(token, tenant)
  check_own(token, tenant)
  local is_static, checked = type(token) == "string", self.options
  self.tenant = tenant
  self.static_token, self.last_token = is_static and token, is_static and token
  self.tenant_id, self.facts, self.facts_of = false, false, false
  self.token_provider = not is_static and token
  self.secrets, self.cleaner = no_secrets, false
  self.memory = TenantMemory.new(checked.cooldown, checked.cooldown_margin, self.service_clock)
  share(self) -- what the other tenant's knew is not this one's
  self.is_closed = false
end

return new
