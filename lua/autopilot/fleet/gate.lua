--- Where requests wait until they may be sent: a limit for the whole fleet, and one for each host.
--
-- A request holds a place while it is under way; a tenant that sleeps holds none. A request that finds no
-- free place waits in the queue of its host, so that trouble with one host does not delay requests to
-- another. A host that does not answer is tried with one request at a time; when that has gone on for
-- `patience` seconds, all other requests to it fail. A tenant whose requests all fail is asked less often.

local Circuit = require "autopilot.fleet.circuit"
local Loop = require "autopilot.fleet.loop"
local Pace = require "autopilot.fleet.pace"
local Timers = require "autopilot.fleet.timers"

---@class autopilot.fleet.Gate the requests to one host
---@field gates autopilot.fleet.Gates
---@field host string
---@field under_way integer requests
---@field package queue autopilot.fleet.Timers entries `{ task =, gate =, refusal = }`, all for the same time, so
--- that they keep the order in which they were added
local Gate = {}
Gate.__index = Gate

---@class autopilot.fleet.Gates all hosts
---@field under_way integer requests
---@field waiting integer tasks in all queues
local Gates = {}
Gates.__index = Gates

-- Circuits: failures in a row until it opens; seconds of the first pause and of the longest.
local host_failures, host_pause, longest_host_pause = 8, 2, 30
local tenant_failures, tenant_pause, longest_tenant_pause = 5, 30, 300

-- Retries that the retry budget gets for each request that succeeds.
local retries_of_success = 0.2

-- Seconds for which requests wait while the circuit of their host is open, before they fail.
local patience = 60

---@param fleet autopilot.Fleet with its loop
---@param retry_budget autopilot.RetryBudget? gets a share of a retry for each request that succeeds
function Gates.new(fleet, retry_budget)
  local most = fleet.options.concurrency
  return setmetatable({
    fleet = fleet,
    timers = fleet.loop.timers,
    most = most,
    most_for_a_host = math.min(most, fleet.options.host_concurrency or math.huge),
    retry_budget = retry_budget,
    hosts = {}, -- gates, by number and by host
    turn = 0, -- number of the one that was served last
    under_way = 0,
    waiting = 0,
  }, Gates)
end

--- The gate of the host in a URL.
function Gates:of(url)
  local host = url:match "^%a+://[^/]*" or url
  local gate = self.hosts[host]
  if not gate then
    gate = setmetatable({
      gates = self,
      host = host,
      under_way = 0,
      queue = Timers.new(),
      pace = Pace.new(self.most_for_a_host),
      circuit = Circuit.new(host_failures, host_pause, longest_host_pause),
    }, Gate)
    self.hosts[host] = gate
    table.insert(self.hosts, gate)
  end
  return gate
end

--- Decides about the request of a task: gives it a place, or refuses it because its host has not answered for too
-- long. Else it has to wait; a timer is set if a time is known at which this can be decided although no request ends.
---@return boolean is_decided false: it has to wait
---@return "CIRCUIT_OPEN"? refusal
local function decide(gate, task, now)
  local gates, circuit, pace = gate.gates, gate.circuit, gate.pace
  local opened_at, free_at = circuit.opened_at, math.max(pace.resume_at, circuit.retry_at)
  local is_full = gates.under_way >= gates.most or gate.under_way + 1 > pace.limit
  if is_full or (opened_at and gate.under_way > 0) then
    free_at = math.huge -- when a request has ended
  end
  if free_at <= now then
    gates.under_way, gate.under_way = gates.under_way + 1, gate.under_way + 1
    task.gate = gate
    return true
  elseif opened_at and now - opened_at >= patience then
    return true, "CIRCUIT_OPEN"
  end
  local moment = math.min(free_at, opened_at and opened_at + patience or math.huge)
  if moment < math.huge then
    gates.timers:set(gate, moment)
  end
  return false
end

--- Removes a task from its queue, if it is in one.
local function leave_queue(task)
  local turn = task.turn
  if turn then
    task.turn = nil
    turn.gate.queue:remove(turn)
    turn.gate.gates.waiting = turn.gate.gates.waiting - 1
  end
end

--- Wakes the first task of a queue if its request is decided about.
local function serve_one(gate, now)
  local first = gate.queue[1]
  if not first then
    return false
  end
  local is_decided, refusal = decide(gate, first.task, now)
  if is_decided then
    first.refusal = refusal
    leave_queue(first.task)
    gate.gates.fleet.loop:wake(first.task)
  end
  return is_decided
end

--- Gives free places to waiting tasks, one to each host in turn. Where a host has not answered for too long, its tasks
-- need no place to be refused.
function Gates:serve()
  local now, passed = self.fleet.clock(), 0
  while passed < #self.hosts do
    self.turn = self.turn % #self.hosts + 1
    passed = serve_one(self.hosts[self.turn], now) and 0 or passed + 1
  end
end

--- Called by the loop when the timer expires.
function Gate:due()
  self.gates:serve()
end

--- Waits for a place. Called in the task's coroutine. `Gates:leave` is to be called in every case
-- afterwards.
---@return "CIRCUIT_OPEN"|"DEADLINE"|nil refusal nil: the task has a place. DEADLINE: the
--- deadline has passed, or something else has woken the task
function Gate:enter(task, now, deadline)
  local gates, queue = self.gates, self.queue
  if queue.count == 0 then
    local is_decided, refusal = decide(self, task, now)
    if is_decided then
      return refusal
    end
  end
  local turn = { task = task, gate = self }
  task.turn, gates.waiting = turn, gates.waiting + 1
  queue:set(turn, 0)
  if deadline < math.huge then
    gates.timers:set(task, deadline)
  end
  coroutine.yield(Loop.parked)
  leave_queue(task)
  return not task.gate and (turn.refusal or "DEADLINE") or nil
end

--- Releases the task's place, if it has one, for the next task in the queue.
function Gates:leave(task)
  local gate = task.gate
  leave_queue(task)
  if gate then
    task.gate = nil
    self.under_way, gate.under_way = self.under_way - 1, gate.under_way - 1
    if self.waiting > 0 then
      self:serve()
    end
  end
end

--- Counts a failure of a tenant.
local function tenant_failed(fleet, task, now)
  task.circuit = task.circuit or Circuit.new(tenant_failures, tenant_pause, longest_tenant_pause)
  if task.circuit:failed(now) then
    fleet:emit("circuit_opened", { tenant = task.key, seconds = tenant_pause })
  end
end

--- Adjusts the request rates of host and tenant to the result of a request. To be called before `leave`.
---@param sent_at number of the clock
---@param status integer? nil: no answer came
---@param retry_after number? seconds
---@param was_reached boolean? without a status: false when the host could not be reached, nil when the
--- request had no time to find out
function Gate:learn(task, sent_at, status, retry_after, was_reached)
  local gates, circuit = self.gates, self.circuit
  local fleet, now = gates.fleet, gates.fleet.clock()
  if not status then
    -- While a host is being tried, a request that had no time to find out counts as a failure.
    local counts = was_reached == false or (was_reached == nil and circuit.opened_at)
    if counts and circuit:failed(now) then
      fleet:emit("circuit_opened", { host = self.host })
    end
    return was_reached ~= nil and tenant_failed(fleet, task, now)
  end
  circuit:succeeded()
  if not Pace.is_throttling(status, retry_after) then
    self.pace:succeeded(sent_at)
  elseif self.pace:throttle(task.key, sent_at, now, retry_after) then
    local seconds = self.pace.resume_at - now
    fleet:emit("slowed_down", { host = self.host, limit = self.pace.limit, seconds = seconds })
  end
  if status >= 500 then
    return tenant_failed(fleet, task, now)
  end
  task.circuit = nil
  if status ~= 429 and gates.retry_budget then
    gates.retry_budget:deposit(retries_of_success)
  end
end

return Gates
