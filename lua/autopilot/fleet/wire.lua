--- The HTTP layer of a fleet: one transfer set, with its connections, for all tenants.
--
-- To a client it is a transport like any other. A request waits for a place (`fleet.gate`) and is added to
-- the set; its coroutine yields until the transfer has finished. A request that is the same for all tenants
-- is prepared once. The tenant of a request is the one whose coroutine runs.

local core = require "autopilot.core"
local dates = require "autopilot.base.dates"
local curl = require "autopilot.transport.curl"
local options = require "autopilot.base.options"
local protected_call = require "autopilot.base.protected_call"

---@class autopilot.fleet.Wire
---@field loop autopilot.fleet.Loop
---@field gates autopilot.fleet.Gates
---@field clock fun(): number
---@field concurrency integer
local Wire = {}
Wire.__index = Wire

local default_timeout = { connect = 10, total = 60 }

---@param given table
---@return autopilot.fleet.Wire
function Wire.new(given)
  return setmetatable({
    loop = given.loop,
    gates = given.gates,
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
  TENANT_CIRCUIT_OPEN = "this tenant's last requests have all failed, and it is given a rest",
  CLOSED = "the fleet that this client belongs to is not running",
}

--- The transfer set, made when it is first needed: sockets must not be shared with a parent process.
local function current_set(self)
  if not self.set then
    self.set, self.process = core.transfer_set { concurrency = self.concurrency }, core.process_id()
    self.loop.set = self.set
  end
  return self.set
end

--- Seconds that a request may still take after having waited for its place.
local function left_of(task, total, asked_at, clock)
  if task.deadline then
    total = math.min(total, task.deadline - clock)
  end
  if not task.knows_deadline then
    total = total - (clock - asked_at) -- `total` may be what is left to a deadline of the operation
  end
  return total
end

--- Waits until a request may be sent. Afterwards `done` gives its place back.
---@return string? refusal why it is not to be sent
---@return number? seconds that are left
---@return number? sent_at
local function enter(self, gate, task, total)
  if not task then
    return "CLOSED"
  elseif self.is_cancelled then
    return "CANCELLED"
  end
  local asked_at, limit = self.clock(), task.deadline
  if not task.knows_deadline then
    limit = math.min(limit or math.huge, asked_at + total)
  end
  local refusal = gate:enter(task, asked_at, limit)
  local sent_at = self.clock()
  local left = left_of(task, total, asked_at, sent_at)
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
---@param is_to_graph boolean by the tenant's client, whose timeouts are known
---@param connect number seconds that the request had
---@param total number
local function was_cut_short(self, task, is_sent, is_to_graph, connect, total)
  local usual = is_to_graph and task.client and task.client.options.timeout
  if not usual then
    return task.deadline ~= nil and self.clock() >= task.deadline - no_time
  elseif is_sent then
    return total < usual.total / 2
  end
  return connect < math.min(usual.connect, usual.total) / 2
end

--- Tells the gate how a request has ended, and gives its place back.
---@param status integer? nil: no answer came
---@param retry_after string? the header
---@param was_reached boolean? see `Gate:learn`
local function done(self, gate, task, sent_at, status, retry_after, was_reached)
  local seconds = retry_after and dates.read_retry_after(tostring(retry_after), self.now())
  gate:learn(task, sent_at, status, seconds or nil, was_reached)
  self.gates:leave(task)
end

local function host_of(url)
  return url:match "^%a+://[^/]*" or url
end

--- The seconds that a request asks for. Checked before a place is taken, so that an error cannot leak it.
---@return number connect
---@return number total
local function timeouts_of(timeout)
  timeout = timeout or default_timeout
  local connect = timeout.connect or default_timeout.connect
  local total = timeout.total or default_timeout.total
  if type(connect) ~= "number" or type(total) ~= "number" then
    error("the transport: 'timeout' must have 'connect' and 'total' in seconds", 3)
  end
  return connect, total
end

---@class autopilot.fleet.Drive: autopilot.Drive
---@field wire autopilot.fleet.Wire
local Drive = {}
Drive.__index = Drive

--- Sends one attempt once it has a place, and waits for its end. One without a token is to a sign-in.
function Drive:run(prepared, attempt, request)
  local wire, connect, total = self.wire, timeouts_of(attempt)
  local task, gate = wire.loop.current, wire.gates:of(host_of(request.url))
  local refusal, left, sent_at = enter(wire, gate, task, total)
  if refusal then
    return nil, curl.unsent(refusal, messages[refusal])
  end
  local is_sync = request.method == "POST" and attempt.token ~= nil
  if is_sync and task.before_post then
    task.before_post()
  end
  connect = math.min(connect, left)
  local transfer = current_set(wire):add(prepared, {
    connect = connect,
    total = left,
    token = attempt.token,
    client_request_id = attempt.client_request_id,
    retry_attempt = attempt.retry_attempt,
  })
  local had_posted = task.has_posted
  task.transfer = transfer
  task.has_posted = had_posted or is_sync -- until the transfer has ended, it may have been sent
  coroutine.yield(transfer)
  local response, network = transfer:result()
  local was_reached = true
  if not response then
    local is_sent, has_timed_out = network.delivered ~= "no", network.timeout
    task.has_posted = had_posted or is_sync and is_sent
    was_reached = is_sent and not has_timed_out
    if
      has_timed_out
      and was_cut_short(wire, task, is_sent, attempt.token ~= nil, connect, left)
    then
      was_reached = nil
    end
  end
  local retry_after = response and response.headers["retry-after"]
  done(wire, gate, task, sent_at, response and response.status, retry_after, was_reached)
  return response, network
end

--- Closes nothing: the connections are the fleet's.
function Drive.close() end

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
---@return autopilot.CurlTransport
function Wire:transport(http)
  http = http or {}
  local key = next(http) == nil and "" or key_of(http)
  local transport = self.transports[key]
  if not transport then
    local checked = options.check("autopilot.client: http", curl.rules, http)
    transport = curl.new { http = checked, drive = setmetatable({ wire = self }, Drive) }
    self.transports[key] = transport
  end
  return transport
end

--- What a transport of the user returned, which may be anything, as arguments of `done`.
local function facts_of(self, task, request, left, response, network)
  local status = type(response) == "table" and tonumber(response.status) or nil
  if status then
    local headers = type(response.headers) == "table" and response.headers or {}
    return status, headers["retry-after"], true
  end
  local is_failure = type(network) == "table"
  local is_sent = not (is_failure and network.delivered == "no")
  if is_failure and network.timeout then
    local connect = timeouts_of(request.timeout)
    local is_to_graph = request.headers ~= nil and request.headers["Authorization"] ~= nil
    if was_cut_short(self, task, is_sent, is_to_graph, math.min(connect, left), left) then
      return nil, nil, nil
    end
  end
  return nil, nil, is_sent and not (is_failure and network.timeout)
end

--- A copy of a request that may take `left` seconds, and of these `connect` to connect.
local function with_timeout(request, connect, left)
  local copy = {}
  for name, value in pairs(request) do
    copy[name] = value
  end
  copy.timeout = { connect = math.min(connect, left), total = left }
  return copy
end

--- Makes a transport of the user wait for places like ours. It may yield what a task may yield.
---@param inner function
---@return function transport
function Wire:wrap(inner)
  return function(request)
    local connect, total = timeouts_of(request.timeout)
    local task, gate = self.loop.current, self.gates:of(host_of(request.url))
    local refusal, left, sent_at = enter(self, gate, task, total)
    if refusal then
      return nil, curl.unsent(refusal, messages[refusal])
    end
    if request.method == "POST" and request.headers and request.headers["Authorization"] then
      task.has_posted = true
      if task.before_post then
        task.before_post()
      end
    end
    local is_fine, response, network =
      protected_call(inner, left < total and with_timeout(request, connect, left) or request)
    if not is_fine then
      self.gates:leave(task) -- a provider may catch the error and go on
      error(response, 0)
    end
    done(self, gate, task, sent_at, facts_of(self, task, request, left, response, network))
    return response, network
  end
end

--- Called when a run begins. A set made before a fork is not used in the child.
function Wire:begin()
  self.is_cancelled = false
  if self.set and self.process ~= core.process_id() then
    self.set, self.loop.set = nil, nil
  end
end

--- Closes all connections. Requests under way are given up.
function Wire:close()
  local set, is_ours = self.set, self.process == core.process_id()
  self.set, self.loop.set = nil, nil
  self.is_cancelled = true -- until the next run
  self.loop:forget_transfers()
  if set and is_ours then
    set:close()
  end
end

return Wire
