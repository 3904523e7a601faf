--- The HTTP layer of a fleet: one transfer set, with its connections, for all tenants.
--
-- To a client it is a transport like any other. A request waits for a place (`fleet.gate`) and is added to
-- the set; its coroutine yields until the transfer has finished. The tenant of a request is the one whose
-- coroutine runs.

local Loop = require "autopilot.fleet.loop"
local core = require "autopilot.core"
local curl = require "autopilot.transport.curl"
local dates = require "autopilot.base.dates"
local merged = require "autopilot.base.merged"
local options = require "autopilot.base.options"
local protected_call = require "autopilot.base.protected_call"

---@class autopilot.fleet.Wire: autopilot.Drive
---@field is_cancelled boolean nothing more is sent
local Wire = {}
Wire.__index = Wire

local default_timeout = { connect = 10, total = 60 }

---@param fleet autopilot.Fleet with its gates and its loop, whose transfer set it makes
function Wire.new(fleet)
  local self = { loop = fleet.loop, gates = fleet.gates, options = fleet.options }
  self.is_cancelled = false
  return setmetatable(self, Wire)
end

local messages = {
  DEADLINE = "the deadline passed before the request could be sent",
  CANCELLED = "the run was cancelled before the request could be sent",
  CIRCUIT_OPEN = "not sent, because the host has answered nothing for a while",
  LEASE_ENDED = "another machine may have taken this tenant over",
  CLOSED = "the fleet that this client belongs to is not running",
}

--- Waits until a request may be sent: returns nil, the seconds that are left and when that was; or why it is not to
-- be sent. Afterwards `Gates:leave` gives its place back.
local function enter(self, gate, task, total)
  if not task then
    return "CLOSED"
  elseif self.is_cancelled then
    return "CANCELLED"
  elseif task.gate then
    self.gates:leave(task) -- a transport of the user sends this request for another one, which has the place
  end
  local asked_at, limit = self.options.clock(), task.deadline or math.huge
  if not task.knows_deadline then
    limit = math.min(limit, asked_at + total) -- `total` may be what is left to an operation's deadline
  end
  local rest_until = task.circuit and task.circuit.retry_at or asked_at
  if rest_until > asked_at then -- this tenant's last requests have all failed
    coroutine.yield(math.min(rest_until, limit))
  end
  local refusal = gate:enter(task, self.options.clock(), limit)
  local sent_at = self.options.clock()
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
-- Then the timeout does not show that the host is slow.
---@param attempt autopilot.TransferAttempt with a token it is of the tenant's client, whose timeouts are known
---@param is_sent boolean at least in part
local function was_cut_short(self, task, attempt, is_sent)
  local usual = attempt.token and task.client and task.client.options.timeout
  if not usual then
    return task.deadline ~= nil and self.options.clock() >= task.deadline - no_time
  elseif is_sent then
    return attempt.total < usual.total / 2
  end
  return attempt.connect < math.min(usual.connect, usual.total) / 2
end

--- What a gate learns from the result of a request: the last three arguments of `Gate:learn`. A transport of the user
-- may return anything.
local function lesson_of(self, task, attempt, response, network)
  local status = type(response) == "table" and tonumber(response.status) or nil
  if status then
    local wanted = type(response.headers) == "table" and response.headers["retry-after"]
    return status, wanted and dates.read_retry_after(tostring(wanted), self.options.now()) or nil
  end
  local failure = type(network) == "table" and network or {}
  local is_sent = failure.delivered ~= "no"
  local is_late = failure.timeout and was_cut_short(self, task, attempt, is_sent)
  if is_late or failure.name == "LEASE_ENDED" then
    return nil
  end
  return nil, nil, is_sent and not failure.timeout
end

--- Sends a request for a sync, unless the state says that it must not be sent any more.
local function post(self, attempt, prepared, send, task)
  if task.before_post then
    local asked_at = core.clock() -- read first, because the process may be stopped in between
    local may_post = task.before_post()
    if may_post == false then
      return nil, curl.unsent("LEASE_ENDED", messages.LEASE_ENDED)
    end
    attempt.send_by = type(may_post) == "number" and asked_at + may_post or nil
  end
  local had_posted = task.has_posted
  task.has_posted = true -- until it has ended, it may have been sent
  local response, network = send(self, attempt, prepared)
  if prepared and not response and network.delivered == "no" then
    task.has_posted = had_posted
    if attempt.send_by and network.name == "CURLE_ABORTED_BY_CALLBACK" then
      return nil, curl.unsent("LEASE_ENDED", messages.LEASE_ENDED) -- the time for sending was over
    end
  end
  return response, network
end

--- Sends a request once it has a place, and reports the result to its gate.
---@param request { url: string, method: string }
---@param attempt autopilot.TransferAttempt its times are shortened to what is left
---@param send fun(wire: autopilot.fleet.Wire, attempt: autopilot.TransferAttempt, prepared: any) may yield and raise
---@param prepared any? nil: a transport of the user sends; it may say "not sent" of a request that was
local function send_in_turn(self, request, attempt, send, prepared)
  if type(attempt.connect) ~= "number" or type(attempt.total) ~= "number" then
    error("the transport: 'timeout' must have 'connect' and 'total' in seconds", 3)
  end
  local task, gate = self.loop.current, self.gates:of(request.url)
  local refusal, left, sent_at = enter(self, gate, task, attempt.total)
  if refusal then
    return nil, curl.unsent(refusal, messages[refusal])
  end
  attempt.connect, attempt.total = math.min(attempt.connect, left), left
  local act = attempt.token and request.method == "POST" and post or send
  local is_fine, response, network = protected_call(act, self, attempt, prepared, send, task)
  if not is_fine then
    self.gates:leave(task) -- the caller may catch the error, and then wait for other tenants
    error(response, 0)
  end
  gate:learn(task, sent_at, lesson_of(self, task, attempt, response, network))
  self.gates:leave(task)
  return response, network
end

--- Adds a prepared request to the transfer set, and waits for its end.
local function transfer(self, attempt, prepared)
  local loop = self.loop
  local set, failure = curl.set_of(loop, self.set_options)
  if not set then
    return nil, failure
  end
  local added = set:add(prepared, attempt)
  loop.transfers[added], loop.current.transfer = loop.current, added
  coroutine.yield(Loop.parked)
  return added:result()
end

--- Sends one attempt, as a drive does. One without a token is to a sign-in.
function Wire:run(prepared, attempt, request)
  return send_in_turn(self, request, attempt, transfer, prepared)
end

--- A transport with these `http` options of a client.
---@return autopilot.CurlTransport
function Wire:transport(http)
  return curl.new { http = options.check("autopilot.client: http", curl.rules, http), drive = self }
end

--- Makes a user's transport wait for places like ours. It may yield what a task may yield.
---@param inner function
---@return function transport
function Wire:wrap(inner)
  return function(request)
    local given = request.timeout or {}
    local attempt = type(given) == "table" and merged(default_timeout, given) or {}
    attempt.token = (request.headers or {})["Authorization"]
    return send_in_turn(self, request, attempt, function()
      local shorter = { connect = attempt.connect, total = attempt.total }
      return inner(merged(request, { timeout = shorter }))
    end)
  end
end

--- Called when a run begins.
---@param longest_delivery number? seconds after its sending in which a request may still arrive; nil: no limit
function Wire:begin(longest_delivery)
  self.set_options = { concurrency = self.options.concurrency, unacknowledged = longest_delivery }
  self.is_cancelled = false
end

--- Closes all connections. Requests under way are abandoned.
function Wire:close()
  self.is_cancelled = true -- until the next run
  self.loop.transfers = {}
  curl.close_set(self.loop)
end

return Wire
