--- The HTTP layer of a fleet: one transfer set for all tenants, and with it the connections.
--
-- A client gets a usual transport, with the fleet's drive. A request waits for its place, is added to the
-- set, and its coroutine yields until the transfer has finished. The tenant that sends a request is that
-- of the running coroutine.

local core = require "autopilot.core"
local dates = require "autopilot.base.dates"
local curl = require "autopilot.transport.curl"
local options = require "autopilot.base.options"
local protected_call = require "autopilot.base.protected_call"

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
    retry_share = given.retry_share or false,
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
  if not self.set then
    self.set, self.process = core.transfer_set { concurrency = self.concurrency }, core.process_id()
    self.scheduler.set = self.set
  end
  return self.set
end

--- Seconds that a request may still take after having waited for its place.
local function left_of(task, total, asked_at, clock)
  if task.deadline then
    total = math.min(total, task.deadline - clock)
  end
  if not task.knows_deadline then
    total = total - (clock - asked_at) -- it may have been cut to a deadline that is not known here
  end
  return total
end

--- Waits for a place in the line.
---@return string? refusal
---@return number? seconds that are left
local function wait_for_place(self, gate, task, total, asked_at)
  local limit = task.deadline
  if not task.knows_deadline then
    limit = math.min(limit or math.huge, asked_at + total)
  end
  local answer = self.admission:enter(gate, task, asked_at, limit)
  local left = left_of(task, total, asked_at, self.clock())
  if answer == "admitted" and left > 0 and not self.is_cancelled then
    return nil, left
  end
  self.admission:leave(task)
  if self.is_cancelled then
    return "CANCELLED"
  end
  return answer == "refused" and "CIRCUIT_OPEN" or "DEADLINE"
end

--- Waits until a request may be sent. Afterwards `done` gives the place back.
---@return string? refusal why it is not to be sent
---@return number? seconds that are left
---@return number? sent_at
local function turn_of(self, gate, task, total)
  if not task then
    return "CLOSED"
  elseif self.is_cancelled then
    return "CANCELLED"
  end
  local clock = self.clock()
  if not self.circuits:allow(task.key, clock) then
    return "TENANT_CIRCUIT_OPEN"
  elseif self.admission:enter_at_once(gate, task) then
    local left = left_of(task, total, clock, clock)
    if left > 0 then
      return nil, left, clock
    end
    self.admission:leave(task)
    return "DEADLINE"
  end
  local refusal, left = wait_for_place(self, gate, task, total, clock)
  return refusal, left, self.clock()
end

-- A deadline is over, or so near that nothing comes of it, in seconds.
local no_time = 0.01

--- Whether a request that has timed out had far less time than is usual, because of its tenant's own
-- deadline: that says nothing of the host.
---@param is_sent boolean at least in part
---@param is_to_graph boolean by the tenant's client, whose usual time is known
---@param connect number seconds that it had
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

--- Tells the host's gate and the tenant's circuit what came of a request, and gives its place back.
---@param status integer? nil: no answer came
---@param retry_after string? the header
---@param was_reached boolean? whether the host could be asked at all; nil: it had no time to tell
local function done(self, gate, task, sent_at, status, retry_after, was_reached)
  if status and status < 500 and status ~= 429 then
    self.admission.succeeded(gate, sent_at)
    if self.retry_share then
      self.retry_share:deposit()
    end
    self.circuits:succeeded(task.key)
  else
    local seconds = retry_after and dates.read_retry_after(tostring(retry_after), self.now())
    self.admission:failed(gate, task, sent_at, status, seconds, was_reached)
    if status == 429 then
      self.circuits:succeeded(task.key) -- it answers
    elseif was_reached ~= nil then
      self.circuits:failed(task.key, self.clock())
    end
  end
  self.admission:leave(task)
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
  local task, gate = wire.scheduler.current, wire.admission:gate(host_of(request.url))
  local refusal, left, sent_at = turn_of(wire, gate, task, total)
  if refusal then
    return nil, unsent(refusal)
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

--- What `done` needs to know, from what a user's own transport returned, which is not checked yet.
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

local function with_timeout(request, connect, left)
  local copy = {}
  for name, value in pairs(request) do
    copy[name] = value
  end
  copy.timeout = { connect = math.min(connect, left), total = left }
  return copy
end

--- Makes a user's own HTTP layer wait for its place as the fleet's does. It may yield what a task may yield.
---@param inner function
---@return function transport
function Wire:wrap(inner)
  return function(request)
    local connect, total = timeouts_of(request.timeout)
    local task, gate = self.scheduler.current, self.admission:gate(host_of(request.url))
    local refusal, left, sent_at = turn_of(self, gate, task, total)
    if refusal then
      return nil, unsent(refusal)
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
      self.admission:leave(task) -- the caller may catch the error and go on
      error(response, 0)
    end
    done(self, gate, task, sent_at, facts_of(self, task, request, left, response, network))
    return response, network
  end
end

--- Is called when a run begins: a set from before a fork is not used.
function Wire:begin()
  self.is_cancelled = false
  if self.set and self.process ~= core.process_id() then
    self.set, self.scheduler.set = nil, nil
  end
end

--- Closes all connections and gives up the transfers in flight.
function Wire:close()
  local set, is_ours = self.set, self.process == core.process_id()
  self.set, self.scheduler.set = nil, nil
  self.is_cancelled = true -- until the next run
  self.scheduler:drop_transfers()
  if set and is_ours then
    set:close()
  end
end

return Wire
