--- The HTTP layer of a fleet: one transfer set for all tenants, and with it the connections.
--
-- To a client it is a transport like any other. A request waits for its place, is handed to the set,
-- and its coroutine yields until the transfer has finished. A request that is the same for all tenants
-- is prepared once. Which tenant is asking is known by whose code is running.

local core = require "autopilot.core"
local curl = require "autopilot.transport.curl"
local is_loopback = require "autopilot.loopback"
local options = require "autopilot.options"

---@class autopilot.fleet.Wire
---@field scheduler autopilot.fleet.Scheduler
---@field admission autopilot.fleet.Admission
---@field clock fun(): number
---@field concurrency integer
local Wire = {}
Wire.__index = Wire

local default_timeout = { connect = 10, total = 60 }

---@param given table
---@return autopilot.fleet.Wire
function Wire.new(given)
  return setmetatable({
    scheduler = given.scheduler,
    admission = given.admission,
    circuits = given.circuits,
    clock = given.clock,
    now = given.now,
    concurrency = given.concurrency,
    is_cancelled = false,
    transports = {},
    set = nil,
    process = nil,
  }, Wire)
end

local messages = {
  DEADLINE = "the deadline passed before the request could be sent",
  CANCELLED = "the run was cancelled before the request could be sent",
  CIRCUIT_OPEN = "not sent, because the host has answered nothing for a while",
  TENANT_CIRCUIT_OPEN = "not sent, because this tenant's last requests have all failed",
  CLOSED = "the fleet that this client belongs to is not running",
}

--- A network failure of a request that was never sent.
local function unsent(name)
  return {
    stage = "connect",
    name = name,
    message = messages[name],
    timeout = name == "DEADLINE",
    delivered = "no",
    sends = 0,
  }
end

--- The transfer set of this process; sockets from before a fork are never used after it.
local function current_set(self)
  local process = core.process_id()
  if not self.set or self.process ~= process then
    self.set, self.process = core.transfer_set { concurrency = self.concurrency }, process
    self.scheduler.set = self.set
  end
  return self.set
end

--- Seconds that a request may still take after having waited for its place, or nil for none.
local function remaining_of(task, total, asked_at, clock)
  if task.deadline then
    total = math.min(total, task.deadline - clock)
  end
  if not task.knows_deadline and clock > asked_at then
    total = total - (clock - asked_at) -- it may have been cut to a deadline that is not known here
  end
  return total > 0 and total or nil
end

local function retry_after_of(self, response, status)
  if status ~= 429 and status ~= 503 then
    return nil
  end
  local text
  if response.header then
    text = response:header "retry-after"
  else
    text = response.headers and response.headers["retry-after"]
  end
  return text and core.retry_after(tostring(text), self.now())
end

--- Tells the host's gate and the tenant's circuit what came of it.
local function learn(self, gate, task, sent_at, response, network)
  local status = type(response) == "table" and tonumber(response.status) or nil
  local never_sent = not status and type(network) == "table" and network.delivered == "no"
  local has_timed_out = not status and type(network) == "table" and network.timeout
  local retry_after = status and retry_after_of(self, response, status)
  self.admission:learn(gate, task, sent_at, status, retry_after, never_sent or has_timed_out)
  if not status or status >= 500 then
    self.circuits:failed(task.key, self.clock())
  else
    self.circuits:succeeded(task.key)
  end
end

--- Sends when the time has come: `send(total)` is called with the seconds that are left.
local function send_in_turn(self, gate, total, send)
  local task, asked_at = self.scheduler.current, self.clock()
  if not task then
    return nil, unsent "CLOSED"
  elseif self.is_cancelled then
    return nil, unsent "CANCELLED"
  elseif not self.circuits:allow(task.key, asked_at) then
    return nil, unsent "TENANT_CIRCUIT_OPEN"
  end
  local limit = task.deadline
  if not task.knows_deadline then
    limit = math.min(limit or math.huge, asked_at + total)
  end
  local answer = self.admission:enter(gate, task, limit)
  local sent_at = self.clock()
  local left = answer == "admitted" and remaining_of(task, total, asked_at, sent_at)
  if not left or self.is_cancelled then
    self.admission:leave(task)
    local is_refused = answer == "refused"
    return nil,
      unsent(self.is_cancelled and "CANCELLED" or is_refused and "CIRCUIT_OPEN" or "DEADLINE")
  end
  local response, network = send(left)
  learn(self, gate, task, sent_at, response, network)
  self.admission:leave(task)
  return response, network
end

local function host_of(url)
  return url:match "^%a+://[^/]*" or url
end

---@class autopilot.fleet.Transport
local Transport = {}
Transport.__index = Transport

local function prepare(self, request)
  local http = self.http
  if
    http.proxy == nil and is_loopback(request.url:lower():match "^%a+://(%[?[^/]-%]?):?%d*/" or "")
  then
    http = setmetatable({ proxy = "" }, { __index = http }) -- a proxy cannot reach our loopback
  end
  return curl.prepare(http, request)
end

local function exchange(self, gate, prepared, connect, total, token, client_request_id, retry)
  local wire = self.wire
  return send_in_turn(wire, gate, total, function(left)
    local set = current_set(wire)
    local transfer =
      set:add(prepared, math.min(connect, left), left, token, client_request_id, retry)
    wire.scheduler.current.transfer = transfer
    coroutine.yield(transfer)
    return curl.read_result(transfer)
  end)
end

local function has_same_headers(a, b)
  for name, value in pairs(a) do
    if b[name] ~= value then
      return false
    end
  end
  for name in pairs(b) do
    if a[name] == nil then
      return false
    end
  end
  return true
end

--- Prepares a request once for all who send it.
---@param request autopilot.HttpRequest without timeout and authorization
---@return function send as of the libcurl transport
function Transport:prepare(request)
  local known = self.prepared[request.method .. request.url]
  if known and has_same_headers(known.headers, request.headers or {}) then
    return known.send
  end
  local prepared = prepare(self, request)
  local gate = self.wire.admission:gate(host_of(request.url))
  local is_sync_request = request.method == "POST"
  local function send(connect, total, token, client_request_id, retry)
    local task = self.wire.scheduler.current
    if task and is_sync_request then
      task.has_posted = true
    end
    return exchange(self, gate, prepared, connect, total, token, client_request_id, retry)
  end
  self.prepared[request.method .. request.url] = { headers = request.headers or {}, send = send }
  return send
end

function Transport:__call(request)
  local timeout = request.timeout or default_timeout
  local gate = self.wire.admission:gate(host_of(request.url))
  local connect = timeout.connect or default_timeout.connect
  return exchange(
    self,
    gate,
    prepare(self, request),
    connect,
    timeout.total or default_timeout.total
  )
end

local function key_of(http)
  local parts = {}
  for name in pairs(curl.rules) do
    parts[#parts + 1] = name .. "=" .. tostring(http[name])
  end
  table.sort(parts)
  return table.concat(parts, "\n")
end

--- A transport with these `http` options of a client, for all tenants that have the same.
---@param http table?
---@return autopilot.fleet.Transport
function Wire:transport(http)
  http = http or {}
  local key = next(http) == nil and "" or key_of(http)
  local transport = self.transports[key]
  if not transport then
    local checked = options.check("autopilot.client: http", curl.rules, http)
    transport = setmetatable({ wire = self, http = checked, prepared = {} }, Transport)
    self.transports[key] = transport
  end
  return transport
end

--- Makes somebody's own HTTP layer wait its turn like ours. It may yield what a task may yield.
---@param inner function
---@return function transport
function Wire:wrap(inner)
  return function(request)
    local timeout = request.timeout or default_timeout
    local gate = self.admission:gate(host_of(request.url))
    local total = timeout.total or default_timeout.total
    return send_in_turn(self, gate, total, function(left)
      if request.method == "POST" and request.headers and request.headers["Authorization"] then
        self.scheduler.current.has_posted = true
      end
      local copy = request
      if left < total then
        copy = {}
        for name, value in pairs(request) do
          copy[name] = value
        end
        copy.timeout = { connect = math.min(timeout.connect or left, left), total = left }
      end
      local response, network = inner(copy)
      return response, network
    end)
  end
end

--- Closes all connections. What is in flight is given up.
function Wire:close()
  local set, is_ours = self.set, self.process == core.process_id()
  self.set, self.scheduler.set = nil, nil
  if set and is_ours then
    set:close()
  end
end

return Wire
