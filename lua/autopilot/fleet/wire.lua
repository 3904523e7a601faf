--- The HTTP layer of a fleet: one transfer set, with its connections, for all tenants.
--
-- To a client it is a transport like any other. A request waits for a place (`fleet.gate`) and is added to
-- the set; its coroutine yields until the transfer has finished. A request that is the same for all tenants
-- is prepared once. The tenant of a request is the one whose coroutine runs.

local core = require "autopilot.core"
local curl = require "autopilot.transport.curl"
local dates = require "autopilot.base.dates"
local merged = require "autopilot.base.merged"
local options = require "autopilot.base.options"
local protected_call = require "autopilot.base.protected_call"

---@class autopilot.fleet.Wire
---@field is_cancelled boolean nothing more is sent
local Wire = {}
Wire.__index = Wire

local default_timeout = { connect = 10, total = 60 }

---@param loop autopilot.fleet.Loop whose transfer set it makes
---@param gates autopilot.fleet.Gates
---@param given autopilot.FleetOptions
function Wire.new(loop, gates, given)
  return setmetatable({
    loop = loop,
    gates = gates,
    clock = given.clock,
    now = given.now,
    concurrency = given.concurrency,
    is_cancelled = false,
    transports = {},
  }, Wire)
end

local messages = {
  DEADLINE = "the deadline passed before the request could be sent",
  CANCELLED = "the run was cancelled before the request could be sent",
  CIRCUIT_OPEN = "not sent, because the host has answered nothing for a while",
  TENANT_CIRCUIT_OPEN = "this tenant's last requests have all failed, and it is given a rest",
  LEASE_ENDED = "not sent, because another machine may have taken this tenant over",
  CLOSED = "the fleet that this client belongs to is not running",
}

--- The transfer set, made when it is first needed: sockets must not be shared with a parent process.
local function current_set(self)
  local loop, failure = self.loop, nil
  if not loop.set then
    self.process = core.process_id()
    loop.set, failure = curl.transfer_set { concurrency = self.concurrency }
  end
  return loop.set, failure
end

--- Waits until a request may be sent. Afterwards `Gates:leave` gives its place back.
---@return string? refusal why it is not to be sent
---@return number? seconds that are left
---@return number? sent_at
local function enter(self, gate, task, total)
  if not task then
    return "CLOSED"
  elseif self.is_cancelled then
    return "CANCELLED"
  end
  local asked_at, limit = self.clock(), task.deadline or math.huge
  if not task.knows_deadline then
    limit = math.min(limit, asked_at + total) -- `total` may be what is left to an operation's deadline
  end
  local refusal = gate:enter(task, asked_at, limit)
  local sent_at = self.clock()
  local left = math.min(total, limit - sent_at)
  if not refusal and left > 0 and not self.is_cancelled then
    return nil, left, sent_at
  end
  self.gates:leave(task)
  return self.is_cancelled and "CANCELLED" or refusal or "DEADLINE"
end

-- Seconds before a deadline in which no request can succeed.
local no_time = 0.01

--- Whether a request that has timed out had far less time than usual, because of its tenant's own deadline.
-- Then the timeout does not tell that the host is slow.
---@param is_sent boolean at least in part
---@param has_token boolean it is of the tenant's client, whose timeouts are known
---@param connect number seconds that the request had
---@param total number
local function was_cut_short(self, task, is_sent, has_token, connect, total)
  local usual = has_token and task.client and task.client.options.timeout
  if not usual then
    return task.deadline ~= nil and self.clock() >= task.deadline - no_time
  elseif is_sent then
    return total < usual.total / 2
  end
  return connect < math.min(usual.connect, usual.total) / 2
end

--- Sends a request once it has a place, and tells its gate what came of it.
---@param asked { url: string, is_post: boolean, has_token: boolean, connect: number, total: number, is_certain: boolean? }
--- `is_certain`: a failure that says that the request was not sent is to be believed
---@param send function is called with the seconds that it has, to connect and in all; may yield and raise
local function exchange(self, asked, send)
  if type(asked.connect) ~= "number" or type(asked.total) ~= "number" then
    error("the transport: 'timeout' must have 'connect' and 'total' in seconds", 3)
  end
  local task, gate = self.loop.current, self.gates:of(asked.url:match "^%a+://[^/]*" or asked.url)
  local refusal, left, sent_at = enter(self, gate, task, asked.total)
  if refusal then
    return nil, curl.unsent(refusal, messages[refusal])
  end
  local is_sync = asked.is_post and asked.has_token
  if is_sync and task.before_post and task.before_post() == false then
    self.gates:leave(task)
    return nil, curl.unsent("LEASE_ENDED", messages.LEASE_ENDED)
  end
  local connect, had_posted = math.min(asked.connect, left), task.has_posted
  task.has_posted = had_posted or is_sync -- until it has ended, it may have been sent
  local is_fine, response, network = protected_call(send, connect, left)
  if not is_fine then
    self.gates:leave(task) -- a provider may catch the error and go on
    error(response, 0)
  end
  -- A transport of the user may return anything.
  local status = type(response) == "table" and tonumber(response.status) or nil
  local headers = status and type(response.headers) == "table" and response.headers or {}
  local failure = not status and type(network) == "table" and network or {}
  local is_sent = failure.delivered ~= "no"
  local was_reached = is_sent and not failure.timeout
  if asked.is_certain and not is_sent then
    task.has_posted = had_posted
  end
  if failure.timeout and was_cut_short(self, task, is_sent, asked.has_token, connect, left) then
    was_reached = nil
  end
  local wanted = headers["retry-after"]
  local retry_after = wanted and dates.read_retry_after(tostring(wanted), self.now()) or nil
  gate:learn(task, sent_at, status, retry_after, was_reached)
  self.gates:leave(task)
  return response, network
end

---@class autopilot.fleet.Drive: autopilot.Drive
---@field wire autopilot.fleet.Wire
local Drive = {}
Drive.__index = Drive

--- Sends one attempt, and waits for its end. One without a token is to a sign-in.
function Drive:run(prepared, attempt, request)
  local wire = self.wire
  return exchange(wire, {
    url = request.url,
    is_post = request.method == "POST",
    has_token = attempt.token ~= nil,
    connect = attempt.connect,
    total = attempt.total,
    is_certain = true,
  }, function(connect, total)
    local set, failure = current_set(wire)
    if not set then
      return nil, failure
    end
    local transfer = set:add(prepared, {
      connect = connect,
      total = total,
      token = attempt.token,
      client_request_id = attempt.client_request_id,
      retry_attempt = attempt.retry_attempt,
    })
    wire.loop.current.transfer = transfer
    coroutine.yield(transfer)
    return transfer:result()
  end)
end

--- Closes nothing: the connections are the fleet's.
function Drive.close() end

local function key_of(http)
  local parts = {}
  for name, value in pairs(http) do
    parts[#parts + 1] = tostring(name) .. "=" .. tostring(value)
  end
  table.sort(parts)
  return table.concat(parts, "\n")
end

--- A transport with these `http` options of a client, for all tenants that have the same.
---@param http table?
---@return autopilot.CurlTransport
function Wire:transport(http)
  local key = key_of(http or {})
  if not self.transports[key] then
    local checked = options.check("autopilot.client: http", curl.rules, http)
    local drive = setmetatable({ wire = self }, Drive)
    self.transports[key] = curl.new { http = checked, drive = drive }
  end
  return self.transports[key]
end

--- Makes a transport of the user wait for places like ours. It may yield what a task may yield.
---@param inner function
---@return function transport
function Wire:wrap(inner)
  return function(request)
    local timeout = request.timeout or default_timeout
    local total = timeout.total or default_timeout.total
    local response, network = exchange(self, {
      url = request.url,
      is_post = request.method == "POST",
      has_token = request.headers ~= nil and request.headers["Authorization"] ~= nil,
      connect = timeout.connect or default_timeout.connect,
      total = total,
    }, function(connect, left)
      local shorter = { timeout = { connect = connect, total = left } }
      return inner(left < total and merged(request, shorter) or request)
    end)
    return response, network
  end
end

--- Called when a run begins. A set made before a fork is not used in the child.
function Wire:begin()
  self.is_cancelled = false
  if self.loop.set and self.process ~= core.process_id() then
    self.loop:forget_set()
  end
end

--- Closes all connections. Requests under way are given up.
function Wire:close()
  local set, is_ours = self.loop.set, self.process == core.process_id()
  self.is_cancelled = true -- until the next run
  self.loop:forget_set()
  if set and is_ours then
    set:close()
  end
end

return Wire
