--- Microsoft Graph and Entra as a state machine: the token endpoints, the sync action, the status record.
--
-- It has no sockets, and its own clock. A test advances the clock, injects faults, and reads afterwards what
-- happened.

local AccessTokens = require "autopilot.emulator.access_tokens"
local TenantSyncs = require "autopilot.emulator.tenant_syncs"
local answers = require "autopilot.emulator.answers"
local discovery = require "autopilot.emulator.discovery"
local entra = require "autopilot.emulator.entra"
local faults = require "autopilot.emulator.faults"
local graph = require "autopilot.emulator.graph"
local identity = require "autopilot.emulator.identity"
local merged = require "autopilot.base.merged"
local new_identifiers = require "autopilot.emulator.identifiers"
local options = require "autopilot.base.options"
local read_request = require "autopilot.emulator.request"
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
---@field audiences table<string, boolean> of tokens, that Graph accepts
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

--- The time, Unix seconds.
---@return number
function Emulator:now()
  return self.read_clock() + self.passed
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

--- The id of a tenant, by id or domain. Without the option `tenants` every tenant exists under the name asked for.
function Emulator:find_tenant(name)
  if self.tenant_ids then
    return self.tenant_ids[name:lower()]
  end
  return name
end

--- The id of a tenant that a test names by id or domain; the name itself for one that `tenants` does not have.
function Emulator:id_of(name)
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
  local token = self.tokens:issue(checked, self:now())
  return token
end

--- Makes a refresh token, as a person gets one who has signed in to an application in a browser.
---@param given { client_id: string, user: string? }
---@return string refresh_token
function Emulator:issue_refresh_token(given)
  local name = "autopilot.emulator:issue_refresh_token"
  local checked = options.check(name, settings.refresh_token_rules, given)
  local token = entra.new_refresh_token(self, checked.client_id, checked.user)
  return token
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
  local complaint = faults.complaint(fault)
  if complaint then
    error("autopilot.emulator: a fault " .. complaint, 2)
  end
  table.insert(self.injected, fault)
end

--- Removes the fault for a request from the list and returns it; else asks the function `faults` for one.
function Emulator:next_fault(operation, request)
  for index, fault in ipairs(self.injected) do
    if fault.on == nil or fault.on == operation then
      return table.remove(self.injected, index)
    end
  end
  local fault = self.choose_fault and self.choose_fault(operation, request)
  local complaint = fault and faults.complaint(fault)
  if complaint then
    error("autopilot.emulator: the function faults gave a fault that " .. complaint, 0)
  end
  return fault
end

--- What the service itself answers; it may raise the answer, to refuse a request.
local function ask(self, call, endpoint, method)
  answers.demand(call, not method or call.method == method, "wrong_method", method)
  return endpoint(self, call)
end

--- Lets a request arrive at the service. Returns the answer.
local function arrive(self, call, route, kind)
  call.now, call.request_id = self:now(), self.identifiers.guid()
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
  local replaced = kind.answer and kind.answer(call)
  local response = replaced
  if not replaced or call.fault.after then
    local is_done
    is_done, response = pcall(ask, self, call, route[3], route[4])
    if not is_done and type(response) ~= "table" then
      error(response, 0)
    end
  end
  event.tenant, event.status = call.tenant, response.status
  return replaced or response
end

--- Answers a request as the service and the network before it do.
---@param request table as in the HTTP layer; the host of `url` does not matter, a path is enough
---@return table? response `{status, headers, body}`
---@return table? network when no answer comes: `{stage, name, message, timeout, delivered}`
function Emulator:handle(request)
  if type(request) ~= "table" or type(request.method) ~= "string" then
    error("autopilot.emulator: a request must be a table with a method", 2)
  elseif type(request.url) ~= "string" then
    error("autopilot.emulator: a request must have a url", 2)
  end
  local call = read_request(request)
  local route = find_route(call.path)
  local fault = self:next_fault(route[2], request) or {}
  local kind, response = faults.kinds[fault.kind] or {}, nil
  call.fault = fault
  for _ = 1, kind.arrivals or 1 do
    response = arrive(self, call, route, kind)
  end
  if kind.network then
    return nil, faults.network(fault)
  elseif kind.is_late then
    local limit = request.timeout and request.timeout.total
    local is_too_late = limit and fault.seconds >= limit
    self.pause(is_too_late and limit or fault.seconds)
    if is_too_late then
      return nil, faults.network(fault, limit)
    end
  end
  return response
end

--- The emulator as an HTTP layer of the client.
---@return fun(request: table): table?, table? transport
function Emulator:transport()
  return function(request)
    local response, network = self:handle(request)
    if response then
      response.http_version = "2"
      response.timings = { name_lookup = 0, connect = 0, tls = 0, first_byte = 0, total = 0 }
    end
    return response, network
  end
end

local emulator = {}

--- Makes a service with its own state.
---@param given autopilot.EmulatorOptions?
---@return autopilot.Emulator
function emulator.new(given)
  local checked = settings.check(given)
  local identifiers = new_identifiers()
  local self = setmetatable({
    log = {},
    requests = {},
    options = checked,
    identifiers = identifiers,
    passed = 0,
    injected = {},
    syncs = TenantSyncs.new(checked),
    tokens = AccessTokens.new(checked.tokens, checked.token_lifetime, identifiers),
    sign_ins = {},
    refresh_tokens = {},
    object_ids = {},
    challenges = {},
    audiences = checked.audience and { [checked.audience] = true } or graph.audiences,
    tenant_ids = checked.tenants and {},
  }, Emulator)
  self.read_clock = checked.now or function()
    return checked.start
  end
  self.pause = checked.sleep or function(seconds)
    self:advance(seconds)
  end
  for _, operation in ipairs(faults.operations) do
    self.requests[operation] = 0
  end
  if type(checked.faults) == "table" then
    self.injected = merged(checked.faults)
  else
    self.choose_fault = checked.faults
  end
  for id, tenant in pairs(checked.tenants or {}) do
    self.tenant_ids[id:lower()] = id
    self.tenant_ids[(tenant.domain or id):lower()] = id
  end
  return self
end

return emulator
