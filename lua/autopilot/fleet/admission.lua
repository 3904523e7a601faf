--- Who may send a request now: at most so many at a time, and as many to each host as it bears.
--
-- A place is held while a request is under way and by nobody who sleeps. Whoever finds none waits in the
-- line of its host, so that one host's trouble is no other's. A host that answers nobody is tried with
-- one request at a time; when that has gone on for a while, those who wait for it are told so.

local Circuit = require "autopilot.fleet.circuit"
local Pace = require "autopilot.fleet.pace"
local Scheduler = require "autopilot.fleet.scheduler"

---@class autopilot.fleet.Gate one host
---@field host string
---@field under_way integer
---@field waiting integer
---@field pace autopilot.fleet.Pace
---@field circuit autopilot.fleet.Circuit
local Gate = {}
Gate.__index = Gate

---@class autopilot.fleet.Admission
---@field under_way integer requests
---@field waiting integer tasks in all lines
---@field package most integer
local Admission = {}
Admission.__index = Admission

-- A host's circuit: failures in a row, seconds of the first pause and of the longest.
local host_failures, host_pause, longest_host_pause = 8, 2, 30

-- Seconds for which others wait for a host that answers nobody, before they are told.
local patience = 60

---@class autopilot.fleet.AdmissionOptions
---@field scheduler autopilot.fleet.Scheduler
---@field clock fun(): number
---@field most integer requests at a time
---@field most_for_a_host integer
---@field tell fun(event_type: string, event: table)

---@param given autopilot.fleet.AdmissionOptions
---@return autopilot.fleet.Admission
function Admission.new(given)
  return setmetatable({
    scheduler = given.scheduler,
    clock = given.clock,
    most = given.most,
    most_for_a_host = math.min(given.most, given.most_for_a_host),
    tell = given.tell,
    gates = {},
    crowded = {}, -- the gates at which somebody waits, each served in turn
    under_way = 0,
    waiting = 0,
  }, Admission)
end

--- The gate of a host.
---@param host string scheme, name and port
---@return autopilot.fleet.Gate
function Admission:gate(host)
  local gate = self.gates[host]
  if not gate then
    gate = setmetatable({
      admission = self,
      host = host,
      under_way = 0,
      waiting = 0,
      is_crowded = false,
      first = 1,
      last = 0,
      line = {},
      alarm = nil,
      pace = Pace.new(self.most_for_a_host),
      circuit = Circuit.new(host_failures, host_pause, longest_host_pause),
    }, Gate)
    self.gates[host] = gate
  end
  return gate
end

--- Its moment has come: see `call_at`.
function Gate:due()
  self.alarm = nil
  self.admission:serve()
end

local function is_given_up(gate, clock)
  local opened_at = gate.circuit.opened_at
  return opened_at ~= nil and clock - opened_at >= patience
end

--- Whether a request to this host may be sent now.
local function is_open(gate, clock)
  local circuit = gate.circuit
  if circuit.opened_at and (gate.under_way > 0 or not circuit:allows(clock)) then
    return false
  end
  return gate.pace:allows(gate.under_way, clock)
end

local function take_place(self, gate, task)
  self.under_way, gate.under_way = self.under_way + 1, gate.under_way + 1
  task.gate = gate
end

--- Sees to it that the line is looked at again when time alone may open the gate.
local function set_alarm(self, gate, clock)
  local circuit, moment = gate.circuit, gate.pace.resume_at
  if circuit.opened_at and gate.under_way == 0 then
    moment = math.max(moment or 0, circuit.retry_at)
  end
  if circuit.opened_at and clock - circuit.opened_at < patience then
    moment = math.min(moment or math.huge, circuit.opened_at + patience)
  end
  if moment and moment > clock and (not gate.alarm or moment < gate.alarm) then
    gate.alarm = moment
    self.scheduler:call_at(moment, gate)
  end
end

local function join_line(self, gate, task)
  if not gate.is_crowded then
    gate.is_crowded = true
    self.crowded[#self.crowded + 1] = gate
  end
  task.waits_at = gate
  gate.waiting, self.waiting = gate.waiting + 1, self.waiting + 1
  gate.last = gate.last + 1
  gate.line[gate.last] = { task = task, ticket = task.ticket }
end

local function leave_line(self, task)
  local gate = task.waits_at
  task.waits_at = nil
  gate.waiting, self.waiting = gate.waiting - 1, self.waiting - 1
end

--- The next of the line that still waits there; takes it out.
local function next_in_line(self, gate)
  while gate.first <= gate.last do
    local entry = gate.line[gate.first]
    gate.line[gate.first] = nil
    gate.first = gate.first + 1
    if entry.task.ticket == entry.ticket then
      leave_line(self, entry.task)
      return entry.task
    end
  end
end

--- Lets in whoever may be let in at one gate; true when somebody moved.
local function serve_gate(self, gate, clock)
  if is_open(gate, clock) then
    local task = next_in_line(self, gate)
    if task then
      take_place(self, gate, task)
      self.scheduler:wake(task, "admitted")
    end
    return task ~= nil
  elseif is_given_up(gate, clock) then
    local task = next_in_line(self, gate)
    if task then
      self.scheduler:wake(task, "refused")
    end
    return task ~= nil
  end
  set_alarm(self, gate, clock)
  return false
end

--- Lets in whoever may be let in now, the hosts in turn.
function Admission:serve()
  local crowded, clock = self.crowded, self.clock()
  local has_moved = self.waiting > 0
  while has_moved and self.under_way < self.most do
    has_moved = false
    local index = 1
    while index <= #crowded and self.under_way < self.most do
      local gate = crowded[index]
      has_moved = serve_gate(self, gate, clock) or has_moved
      if gate.waiting == 0 then
        gate.is_crowded = false
        table.remove(crowded, index)
      else
        index = index + 1
      end
    end
  end
end

--- Takes a place if nobody has to be asked for it: the common case.
---@param gate autopilot.fleet.Gate
---@param task autopilot.fleet.Task
---@return boolean
function Admission:enter_at_once(gate, task)
  if
    self.under_way >= self.most
    or gate.waiting > 0
    or gate.under_way + 1 > gate.pace.limit
    or gate.pace.resume_at
    or gate.circuit.opened_at
  then
    return false
  end
  self.under_way, gate.under_way = self.under_way + 1, gate.under_way + 1
  task.gate = gate
  return true
end

--- Waits for a place. Called by the task's own code; afterwards `leave` gives the place back.
---@param gate autopilot.fleet.Gate
---@param task autopilot.fleet.Task
---@param clock number now
---@param deadline number? of the clock
---@return "admitted"|"refused"|nil answer nil: the deadline has passed, or the task was woken for another reason
function Admission:enter(gate, task, clock, deadline)
  if self.under_way < self.most and gate.waiting == 0 and is_open(gate, clock) then
    take_place(self, gate, task)
    return "admitted"
  elseif is_given_up(gate, clock) then
    return "refused"
  end
  join_line(self, gate, task)
  set_alarm(self, gate, clock)
  if deadline then
    self.scheduler:remind(deadline, task)
  end
  local answer = coroutine.yield(Scheduler.parked)
  if answer == "admitted" or answer == "refused" then
    return answer
  elseif task.waits_at then -- else it was called out of the line in this turn, and has its place
    leave_line(self, task) -- its entry there is void, because its ticket is an old one
  end
end

--- Gives the place back.
---@param task autopilot.fleet.Task
function Admission:leave(task)
  local gate = task.gate
  if gate then
    task.gate = nil
    self.under_way, gate.under_way = self.under_way - 1, gate.under_way - 1
    if self.waiting > 0 then
      self:serve()
    end
  end
end

--- Gives back whatever a task has that was given up.
---@param task autopilot.fleet.Task
function Admission:forget(task)
  if task.waits_at then
    leave_line(self, task)
  end
  self:leave(task)
end

--- Learns of an answer. Called before `leave`.
---@param gate autopilot.fleet.Gate
---@param sent_at number of the clock
function Admission.succeeded(gate, sent_at)
  if gate.circuit.failures > 0 then
    gate.circuit:succeeded()
  end
  gate.pace:succeeded(sent_at)
end

--- Learns of a failure, so that the host gets as many requests as it bears. Called before `leave`.
---@param gate autopilot.fleet.Gate
---@param task autopilot.fleet.Task
---@param sent_at number of the clock
---@param status integer? nil: no answer came
---@param retry_after number? seconds
---@param was_reached boolean? whether the host could be asked at all; nil: nobody knows
function Admission:failed(gate, task, sent_at, status, retry_after, was_reached)
  local clock, pace = self.clock(), gate.pace
  if not status then
    -- A host that is being tried has not passed while nobody knows.
    local counts = was_reached == false or (was_reached == nil and gate.circuit.opened_at)
    if counts and gate.circuit:failed(clock) then
      self.tell("circuit_opened", { host = gate.host })
    end
    return
  elseif not Pace.is_throttling(status, retry_after) then
    return Admission.succeeded(gate, sent_at)
  end
  gate.circuit:succeeded()
  if pace:throttle(task.key, sent_at, clock, retry_after) then
    local seconds = pace.resume_at - clock
    self.tell("slowed_down", { host = gate.host, limit = pace.limit, seconds = seconds })
  end
end

return Admission
