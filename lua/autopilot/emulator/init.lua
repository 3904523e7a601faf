--- The service as a pure state machine: Entra's endpoints, the sync action, the status record.
--
-- No sockets and no clock but its own: a test moves time on, injects faults, and can ask afterwards
-- what truly happened. Endpoints, the forms of answers, faults and options are files of their own.

local AccessTokens = require "autopilot.emulator.access_tokens"
local TenantSyncs = require "autopilot.emulator.tenant_syncs"
local discovery = require "autopilot.emulator.discovery"
local entra = require "autopilot.emulator.entra"
local faults = require "autopilot.emulator.faults"
local graph = require "autopilot.emulator.graph"
local identifiers = require "autopilot.emulator.identifiers"
local identity = require "autopilot.emulator.identity"
local options = require "autopilot.base.options"
local settings = require "autopilot.emulator.settings"
local users = require "autopilot.emulator.users"

---@class autopilot.Emulator
---@field log autopilot.emulator.Event[] what happened, in order
---@field requests table<string, integer> requests that arrived, by operation: `sync`, `status`, `token`, `device_code`, `identity`, `discovery`, `other`
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
---@field by string? sync: the client id, or what `trigger` was told
---@field automatic boolean? sync: the service's own, which leaves no manual trigger stamp
---@field completes number? sync: Unix seconds at which it ends
---@field failed boolean? sync: it ends as failed

--- What is given for each key, with the permission that the sync needs where no roles are told.
local function with_roles(map)
  local complete = {}
  for key, entry in pairs(map) do
    complete[key] = { roles = graph.default_roles }
    for name, value in pairs(entry) do
      complete[key][name] = value
    end
  end
  return complete
end

--- Finds a tenant's id by id or domain; without a list every tenant exists under the name asked for.
local function tenant_finder(tenants)
  if not tenants then
    return function(name)
      return name
    end
  end
  local ids = {}
  for id, tenant in pairs(tenants) do
    ids[id:lower()] = id
    ids[(tenant.domain or id):lower()] = id
  end
  return function(name)
    return ids[name:lower()]
  end
end

--- The identity of the machine, with the permission that the sync needs where none are told.
local function identity_of(given)
  return given and with_roles({ given })[1]
end

local function set_of(list)
  local set = {}
  for _, value in ipairs(list) do
    set[value] = true
  end
  return set
end

--- What the endpoints need to know of the service.
local function new_service(self, checked)
  local tenants = checked.tenants
  return {
    syncs = TenantSyncs.new(checked),
    tokens = AccessTokens.new(with_roles(checked.tokens), self.made_up),
    clients = with_roles(checked.clients),
    users = users.new(checked.device_code, self.made_up),
    identity = identity_of(checked.identity),
    challenges = {}, -- by tenant: see `autopilot.emulator.challenges`
    token_lifetime = checked.token_lifetime,
    audiences = set_of(checked.audience and { checked.audience } or graph.audiences),
    retry_after = checked.retry_after,
    zone = checked.zone,
    wrapped = checked.wrapped,
    find_tenant = tenant_finder(tenants),
    is_licensed = function(tenant)
      return not (tenants and tenants[tenant] and tenants[tenant].licensed == false)
    end,
    start_sync = function(...)
      return self:start_sync(...)
    end,
  }
end

local function lower_case_names(headers)
  local lower = {}
  for name, value in pairs(headers or {}) do
    lower[name:lower()] = value
  end
  return lower
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

--- Adds an event to the log, and forgets the oldest ones when it holds twice what it must.
function Emulator:note(event)
  local limit = self.log_limit
  if limit == 0 then
    return
  end
  local log = self.log
  log[#log + 1] = event
  if #log >= 2 * limit then
    for index = 1, #log do
      log[index] = log[index + limit]
    end
  end
end

function Emulator:start_sync(tenant, now, change, origin)
  local sync = self.service.syncs:start(tenant, now, change)
  self:note {
    event = "sync",
    time = now,
    tenant = tenant,
    by = origin.by,
    client_request_id = origin.client_request_id,
    automatic = not sync.manual,
    completes = sync.completes,
    failed = sync.failed,
  }
  return sync
end

--- Triggers a sync, as another client would, or as the service does by itself (`automatic`).
-- A sync that is asked for obeys the service's rules; an automatic one waits only for one in progress.
---@param tenant string
---@param given { by: string?, automatic: boolean?, duration: number?, failed: boolean? }?
---@return boolean? started
---@return string? reason `in_progress` or `cooldown`
function Emulator:trigger(tenant, given)
  local checked = options.check("autopilot.emulator:trigger", settings.trigger_rules, given)
  local now = self:now()
  local reason = self.service.syncs:refusal(tenant, now)
  if reason == "in_progress" or (reason and not checked.automatic) then
    return nil, reason
  end
  self:start_sync(tenant, now, checked, { by = checked.by })
  return true
end

--- What the tenant's record truly shows now, read without a request.
---@param tenant string
---@return { status: string, last_sync: number?, last_manual_trigger: number? } record Unix seconds, nil for never
function Emulator:record(tenant)
  return self.service.syncs:record(tenant, self:now())
end

--- Makes a token that the service accepts.
---@param given { tenant: string, client_id: string?, roles: string[]?, audience: string?, lifetime: number? }
---@return string token
function Emulator:issue_token(given)
  local checked = options.check("autopilot.emulator:issue_token", settings.token_rules, given)
  local now = self:now()
  local token = self.service.tokens:issue({
    tenant = checked.tenant,
    client_id = checked.client_id,
    roles = checked.roles or graph.default_roles,
    audience = checked.audience,
    expires = now + (checked.lifetime or self.service.token_lifetime),
  }, now)
  return token
end

--- A person signs in with the code that a device shows.
---@param user_code string
---@param user string? who; default `somebody@example`. What stands after `@` is the tenant, where the URL names none
---@return boolean known false when no device shows such a code
function Emulator:approve(user_code, user)
  return self.service.users:decide(user_code, user or "somebody@example")
end

--- A person declines to sign in with that code.
---@param user_code string
---@return boolean known false when no device shows such a code
function Emulator:decline(user_code)
  return self.service.users:decide(user_code, nil)
end

--- Makes every refresh token void, so that people must sign in again.
function Emulator:forget_sign_ins()
  self.service.users:forget_sign_ins()
end

--- Puts a fault at the end of the list; these come before what the option `faults` gives.
---@param fault autopilot.emulator.Fault
function Emulator:inject(fault)
  local complaint = faults.complaint(fault)
  if complaint then
    error("autopilot.emulator: a fault " .. complaint, 2)
  end
  self.injected[#self.injected + 1] = fault
end

function Emulator:next_fault(operation, request)
  local fault = faults.take(self.injected, operation)
  if fault or not self.choose_fault then
    return fault
  end
  fault = self.choose_fault(operation, request)
  local complaint = fault and faults.complaint(fault)
  if complaint then
    error("autopilot.emulator: the function faults gave a fault that " .. complaint, 0)
  end
  return fault
end

local entra_operations = { token = "token", devicecode = "device_code" }
local endpoints = { token = entra, device_code = entra, identity = identity, discovery = discovery }

--- What a request asks for, by its URL alone.
---@param url string
---@return string operation
---@return string path
---@return string? tenant of a request to Entra
local function route(url)
  local path = url:gsub("^%a[%w+.-]*://[^/?#]*", ""):gsub("[?#].*$", "")
  local tenant, name = path:match "^/([^/]+)/oauth2/v2%.0/(%l+)$"
  local operation = entra_operations[name]
  if operation then
    return operation, path, tenant
  end
  operation = identity.is_path(path) and "identity"
    or graph.operation(path)
    or discovery.is_path(path) and "discovery"
    or "other"
  return operation, path
end

--- The request reaches the service, which says `answer(call)` to it.
function Emulator:arrive(request, fault, answer)
  local headers = lower_case_names(request.headers)
  local operation, path, tenant_in_path = route(request.url)
  local request_id = self.made_up.guid()
  local call = {
    now = self:now(),
    operation = operation,
    path = path,
    tenant_in_path = tenant_in_path,
    headers = headers,
    authorization = headers.authorization,
    request_id = request_id,
    client_request_id = headers["client-request-id"] or request_id,
  }
  local event = {
    event = "request",
    time = call.now,
    operation = operation,
    method = request.method,
    path = path,
    client_request_id = call.client_request_id,
    fault = fault and fault.kind,
  }
  self.requests[operation] = self.requests[operation] + 1
  self:note(event)
  local response = answer(call)
  event.tenant, event.status = call.tenant, response.status
  event.grant_type, event.claims = call.grant_type, call.claims
  return response, call
end

--- Answers a request, as the service and everything before it do.
---@param request table as in the HTTP layer; the host of `url` does not matter, a path alone will do
---@return table? response `{status, headers, body}`
---@return table? network when no answer comes: `{stage, name, message, timeout, delivered}`
function Emulator:handle(request)
  if type(request) ~= "table" or type(request.method) ~= "string" then
    error("autopilot.emulator: a request must be a table with a method", 2)
  elseif type(request.url) ~= "string" then
    error("autopilot.emulator: a request must have a url", 2)
  end
  local operation = route(request.url)
  local endpoint = endpoints[operation] or graph
  local fault = self:next_fault(operation, request)
  local exchange = { pause = self.pause, timeout = request.timeout and request.timeout.total }
  function exchange.now()
    return self:now()
  end
  function exchange.arrival(answer)
    local response
    response, exchange.call = self:arrive(request, fault, answer)
    return response
  end
  function exchange.effect(change)
    return exchange.arrival(function(call)
      return endpoint.answer(self.service, call, request, change or {})
    end)
  end
  if not fault then
    return exchange.effect()
  end
  return faults.kinds[fault.kind](fault, exchange)
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

--- Makes a service with a state of its own.
---@param given autopilot.EmulatorOptions?
---@return autopilot.Emulator
function emulator.new(given)
  local checked = options.check("autopilot.emulator.new", settings.rules, given)
  local self = setmetatable({
    log = {},
    requests = {
      sync = 0,
      status = 0,
      token = 0,
      device_code = 0,
      identity = 0,
      discovery = 0,
      other = 0,
    },
    injected = {},
    log_limit = checked.log_limit,
    made_up = identifiers.new(),
    passed = 0,
  }, Emulator)
  self.read_clock = checked.now or function()
    return checked.start
  end
  self.pause = checked.sleep or function(seconds)
    self:advance(seconds)
  end
  if type(checked.faults) == "function" then
    self.choose_fault = checked.faults
  else
    for _, fault in ipairs(checked.faults) do
      self:inject(fault)
    end
  end
  self.service = new_service(self, checked)
  return self
end

return emulator
