--- Microsoft Graph and Entra as a state machine: the token endpoints, the sync action, the status record.
--
-- It has no sockets, and its own clock. A test advances the clock, injects faults, and reads afterwards what
-- happened.

local AccessTokens = require "autopilot.emulator.access_tokens"
local TenantSyncs = require "autopilot.emulator.tenant_syncs"
local answers = require "autopilot.emulator.answers"
local base64url = require "autopilot.base.base64url"
local discovery = require "autopilot.emulator.discovery"
local entra = require "autopilot.emulator.entra"
local faults = require "autopilot.emulator.faults"
local graph = require "autopilot.emulator.graph"
local identity = require "autopilot.emulator.identity"
local merged = require "autopilot.base.merged"
local options = require "autopilot.base.options"
local percent_decoded = require("autopilot.base.url").percent_decoded
local settings = require "autopilot.emulator.settings"

---@class autopilot.Emulator
---@field log autopilot.emulator.Event[] what happened, in order
---@field requests table<string, integer> requests that arrived, by operation: `sync`, `status`, `token`, `device_code`, `identity`, `discovery`, `other`
---@field options table its checked options
---@field tokens autopilot.emulator.AccessTokens
---@field syncs autopilot.emulator.TenantSyncs
---@field sign_ins table<string, table> of people who have not used their code yet, by device code
---@field refresh_tokens table<string, { client_id: string, user: string }>
---@field object_ids table<string, string> of people, in the directory
---@field challenges table<string, table> what Graph requires of a tenant's tokens, by tenant
---@field made_up fun(form: string): string replaces each `x` of a form by a hexadecimal digit
local Emulator = {}
Emulator.__index = Emulator

---@class autopilot.emulator.Event
---@field event string `request`: one has arrived; `sync`: one has started
---@field time number Unix seconds
---@field tenant string? of a request: nil when its token was refused
---@field client_request_id string? the caller's id, or the service's when it gave none; nil for a sync that no request started
---@field operation string? request: as in `requests`
---@field grant_type string? token request
---@field claims string? token request: the claims that it asks for, JSON
---@field method string? request
---@field path string? request
---@field status integer? request: what the service answered, whether or not the client got it
---@field fault string? request: the kind of fault it met
---@field by string? sync: the client id, or the argument `by` of `trigger`
---@field automatic boolean? sync: the service's own, which leaves no manual trigger stamp
---@field completes number? sync: Unix seconds at which it ends
---@field failed boolean? sync: it ends as failed

-- Each route: a pattern of the path in small letters, the operation, the endpoint, and at Entra the only method that it
-- accepts. The first pattern that matches counts.
local routes = {
  { "^/beta/devicemanagement/windowsautopilotsettings/sync$", "sync", graph.sync },
  { "^/beta/devicemanagement/windowsautopilotsettings$", "status", graph.status },
  { "^/[^/]+/oauth2/v2%.0/token$", "token", entra.token, "POST" },
  { "^/[^/]+/oauth2/v2%.0/devicecode$", "device_code", entra.device_code, "POST" },
  { "^/msi/token/?$", "identity", identity.app_service },
  { "^/metadata/identity/oauth2/token/?$", "identity", identity.virtual_machine },
  { "/_apis/.*/idtoken$", "identity", identity.github },
  { "/_apis/.*/oidctoken$", "identity", identity.azure_pipelines },
  { "^/[^/]+/v2%.0/%.well%-known/openid%-configuration$", "discovery", discovery.tenant, "GET" },
  { "/discovery/v2%.0/keys$", "discovery", discovery.keys, "GET" },
  { "^/common/discovery/instance$", "discovery", discovery.instances, "GET" },
  { "", "other", graph.other },
}

local function find_route(path)
  local lower = path:lower()
  for _, route in ipairs(routes) do
    if lower:find(route[1]) then
      return route
    end
  end
end

--- A version 4 UUID.
function Emulator:made_up_guid()
  return self.made_up "xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx"
end

--- The time, Unix seconds.
---@return number
function Emulator:now()
  local given = self.options
  return (given.now and given.now() or given.start) + self.passed
end

--- Lets time pass.
---@param seconds number at least 0
function Emulator:advance(seconds)
  if type(seconds) ~= "number" or not (seconds >= 0 and seconds < math.huge) then
    error("autopilot.emulator: advance takes a number of seconds, at least 0", 2)
  end
  self.passed = self.passed + seconds
end

--- Adds an event to the log. When there are twice as many as must be kept, the older half is forgotten.
function Emulator:note(event)
  local log, limit = self.log, self.options.log_limit
  log[#log + 1] = limit > 0 and event or nil
  for index = 1, #log >= 2 * limit and #log or 0 do
    log[index] = log[index + limit]
  end
end

--- The id of a tenant, by id or domain, in any case. Without the option `tenants` every tenant exists, and has the
-- name asked for in small letters as its id.
function Emulator:find_tenant(name)
  local key = name:lower()
  if self.tenant_ids then
    return self.tenant_ids[key]
  end
  return key
end

--- The id of a tenant that a test names by id or domain; the name itself for one that `tenants` does not have.
function Emulator:id_of(name)
  if type(name) ~= "string" then
    error("autopilot.emulator: a tenant must be an id or a domain", 3)
  end
  return self:find_tenant(name) or name
end

--- Triggers a sync, as another client would, or as the service does by itself (`automatic`).
-- A sync that is asked for obeys the service's rules; an automatic one waits only for one in progress.
---@param tenant string id or domain
---@param given { by: string?, automatic: boolean?, duration: number?, failed: boolean? }?
---@return boolean? started
---@return string? reason `in_progress` or `cooldown`
function Emulator:trigger(tenant, given)
  local checked = options.check("autopilot.emulator:trigger", settings.trigger_rules, given)
  local now = self:now()
  tenant = self:id_of(tenant)
  local reason = self.syncs:refusal(tenant, now)
  if reason == "in_progress" or (reason and not checked.automatic) then
    return nil, reason
  end
  self:note(self.syncs:start(tenant, now, checked, checked.by))
  return true
end

--- The tenant's true record now, without a request.
---@param tenant string id or domain
---@return { status: string, last_sync: number?, last_manual_trigger: number? } record Unix seconds, nil for never
function Emulator:record(tenant)
  return self.syncs:record(self:id_of(tenant), self:now())
end

--- Makes a token that the service accepts.
---@param given { tenant: string, client_id: string?, roles: string[]?, audience: string?, lifetime: number? }
---@return string token
function Emulator:issue_token(given)
  local checked = options.check("autopilot.emulator:issue_token", settings.token_rules, given)
  checked.tenant = self:id_of(checked.tenant)
  return self.tokens:issue(checked, self:now())
end

--- Makes a refresh token, as a person gets one who has signed in to an application in a browser.
---@param given { client_id: string, user: string? }
---@return string refresh_token
function Emulator:issue_refresh_token(given)
  local name = "autopilot.emulator:issue_refresh_token"
  local checked = options.check(name, settings.refresh_token_rules, given)
  return entra.new_refresh_token(self, checked.client_id, checked.user)
end

--- A person signs in with the code that a device shows.
---@param user_code string
---@param user string? who; default `somebody@example`. What stands after `@` is the tenant, where the URL names none
---@return boolean known false when no device shows such a code
function Emulator:approve(user_code, user)
  return entra.decide(self, user_code, user or "somebody@example")
end

--- A person declines to sign in with that code.
---@param user_code string
---@return boolean known false when no device shows such a code
function Emulator:decline(user_code)
  return entra.decide(self, user_code, nil)
end

--- Makes every refresh token void, so that people must sign in again.
function Emulator:forget_sign_ins()
  self.refresh_tokens = {}
end

--- Adds a fault to the end of the list. Requests meet these faults before those of a function `faults`.
---@param fault autopilot.emulator.Fault
function Emulator:inject(fault)
  table.insert(self.injected, faults.check("autopilot.emulator:inject", fault, 2))
end

--- Returns the fault for a request, or an empty table for a request without a fault. An injected fault is removed from
-- the list; without one, the function `faults` is called.
function Emulator:next_fault(operation, request)
  for index, fault in ipairs(self.injected) do
    if fault.on == nil or fault.on == operation then
      return table.remove(self.injected, index)
    end
  end
  local choose = self.options.faults
  local fault = type(choose) ~= "table" and choose(operation, request)
  return fault and faults.check("autopilot.emulator: the function faults", fault, 3) or {}
end

local function decode(text)
  return percent_decoded((text:gsub("+", " ")))
end

--- The fields of a form or query, `name=value&…`; the last of a repeated one counts.
local function read_fields(text)
  local fields = {}
  for name, value in text:gmatch "([^&=]*)=([^&]*)" do
    fields[decode(name)] = decode(value)
  end
  return fields
end

--- The fields of the form in a body, with the application and secret of a Basic header (RFC 6749 section 2.3.1).
local function read_form(body, headers)
  local fields = read_fields(body)
  local credentials = (headers.authorization or ""):match "^[Bb]asic +(%S+)$"
  local client_id, secret = (base64url.decode(credentials or "") or ""):match "^([^:]*):(.*)$"
  if client_id then
    fields.client_id, fields.client_secret = decode(client_id), decode(secret)
  end
  return fields
end

---@class autopilot.emulator.Call a request as the endpoints read it
---@field method string
---@field origin string scheme and host of the URL; where it has none, those of the header `Host`
---@field path string
---@field tenant_in_path string? the first segment, which names the tenant in a path of Entra
---@field headers table<string, string> by their names in lower case
---@field fields table<string, string> of the form in the body, and of a Basic header
---@field query table<string, string> of the URL
--- These are set when the request arrives:
---@field now number Unix seconds
---@field request_id string the service's
---@field client_request_id string the caller's; default `request_id`
---@field fault autopilot.emulator.Fault|{} empty: none
---@field tenant string? set when Graph accepts the token

--- Reads a request of the HTTP layer.
---@return autopilot.emulator.Call
local function read_request(request)
  local origin = request.url:match "^%a[%w+.-]*://[^/?#]+"
  local path, query = request.url:sub(#(origin or "") + 1):match "^([^?#]*)%??([^#]*)"
  local headers = {}
  for name, value in pairs(request.headers or {}) do
    headers[name:lower()] = value
  end
  return {
    method = request.method,
    origin = origin or "https://" .. (headers.host or "login.microsoftonline.com"),
    path = path,
    tenant_in_path = path:match "^/([^/]*)",
    headers = headers,
    fields = read_form(request.body or "", headers),
    query = read_fields(query),
  }
end

--- What the service itself answers; it may raise the answer, to refuse a request.
local function ask(self, call, endpoint, method)
  answers.demand(call, not method or call.method == method, "wrong_method", method)
  return endpoint(self, call)
end

--- Processes a request that has arrived at the service. Returns the answer.
---@param kind table of the fault that the request meets: an entry of `faults.kinds`, or empty
local function arrive(self, call, route, kind)
  call.now, call.request_id = self:now(), self:made_up_guid()
  call.client_request_id = call.headers["client-request-id"] or call.request_id
  local operation = route[2]
  local event = {
    event = "request",
    time = call.now,
    operation = operation,
    method = call.method,
    path = call.path,
    client_request_id = call.client_request_id,
    grant_type = call.fields.grant_type,
    claims = call.fields.claims,
    fault = call.fault.kind,
  }
  self.requests[operation] = self.requests[operation] + 1
  self:note(event)
  local replacement = kind.answer and kind.answer(call, operation)
  local response = replacement
  if not replacement or call.fault.after then
    local is_done
    is_done, response = pcall(ask, self, call, route[3], route[4])
    if not is_done and type(response) ~= "table" then
      error(response, 0)
    end
  end
  event.tenant, event.status = call.tenant, response.status
  return replacement or response
end

--- Answers a request as the service and the network before it do.
---@param request table as in the HTTP layer; the host of `url` does not matter, a path is enough
---@return table? response `{status, headers, body}`
---@return table? network when no answer comes: `{stage, name, message, timeout, delivered}`
function Emulator:handle(request)
  local given = type(request) == "table" and request or {}
  if type(given.method) ~= "string" or type(given.url) ~= "string" then
    error("autopilot.emulator: a request must be a table with a method and a url", 2)
  end
  local call = read_request(request)
  local route = find_route(call.path)
  local fault = self:next_fault(route[2], request)
  local kind, response = faults.kinds[fault.kind] or {}, nil
  call.fault = fault
  for _ = 1, kind.arrivals or 1 do
    response = arrive(self, call, route, kind)
  end
  local limit = request.timeout and request.timeout.total or math.huge
  if kind.is_late then
    self.pause(math.min(fault.seconds, limit))
  end
  if kind.network and not (kind.is_late and fault.seconds < limit) then
    return nil, merged(kind.network, fault.network)
  end
  return response
end

--- The emulator as an HTTP layer of the client.
---@return fun(request: table): table?, table? transport
function Emulator:transport()
  return function(request)
    return self:handle(request)
  end
end

--- Makes a generator of identifiers that look random; every run makes the same ones.
local function new_generator()
  local state = 20260101
  -- Park and Miller, modulo 2^31 - 1: every product is exact in a double.
  local function digit()
    state = (state * 48271) % 2147483647
    return ("%x"):format(state % 16)
  end
  return function(form)
    return (form:gsub("x", digit))
  end
end

local emulator = {}

--- Makes a service with its own state.
---@param given autopilot.EmulatorOptions?
---@return autopilot.Emulator
function emulator.new(given)
  local checked = settings.check(given)
  local made_up = new_generator()
  local self = setmetatable({
    log = {},
    requests = {},
    options = checked,
    made_up = made_up,
    passed = 0,
    injected = type(checked.faults) == "table" and merged(checked.faults) or {},
    syncs = TenantSyncs.new(checked),
    tokens = AccessTokens.new(checked.tokens, checked.token_lifetime, made_up),
    sign_ins = {},
    refresh_tokens = {},
    object_ids = {},
    challenges = {},
    tenant_ids = checked.tenants and {},
  }, Emulator)
  self.pause = checked.sleep or function(seconds)
    self:advance(seconds)
  end
  for _, operation in ipairs(faults.operations) do
    self.requests[operation] = 0
  end
  for id, tenant in pairs(checked.tenants or {}) do
    self.tenant_ids[id:lower()] = id
    self.tenant_ids[(tenant.domain or id):lower()] = id
  end
  return self
end

return emulator
