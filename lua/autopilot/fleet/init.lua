--- Runs an operation for many tenants in one process, with one report for each.
--
-- A fleet reads its tenants one by one, gives each a client and a coroutine, and runs as many operations at
-- a time as `concurrency` allows. A tenant that waits for an answer, a cooldown or a Retry-After costs
-- memory and nothing else. Coroutines are run by `fleet.loop`, one tenant's life is in `fleet.tenant`, and
-- when a request may be sent is decided by `fleet.gate`.

local Gates = require "autopilot.fleet.gate"
local Loop = require "autopilot.fleet.loop"
local Results = require "autopilot.fleet.results"
local Tenants = require "autopilot.fleet.tenants"
local Wire = require "autopilot.fleet.wire"
local fleet_options = require "autopilot.fleet.options"
local fleet_state = require("autopilot.base.lazy") "autopilot.fleet.state"
local merged = require "autopilot.base.merged"
local options = require "autopilot.base.options"
local protected_call = require "autopilot.base.protected_call"
local retry = require "autopilot.retry"
local tenant = require "autopilot.fleet.tenant"

-- Seconds that requests under way may take after `cancel`, by default.
local default_grace = 10

-- Seconds after which a source or a shared state that had no tenant is asked again.
local between_questions = 0.05

-- Number of tenants begun before their requests are sent: the server can work on them meanwhile.
local at_once = 100

---@class autopilot.Fleet
---@field summary autopilot.fleet.Summary? of the last run that has ended
local Fleet = {}
Fleet.__index = Fleet

--- The retry policy of clients without their own; and the fleet's own retry budget, if that is
-- in it. When a few requests of many fail, all of these are retried. When nearly all fail, there are hardly
-- any retries, which would only make that worse: as many as come back with time.
local function shared_policy(checked)
  local budget = checked.retry_budget
  if budget == false then
    return nil
  elseif type(budget) == "table" then
    return retry.policy { budget = budget }
  end
  -- Enough for every request under way to be throttled twice.
  local own = retry.budget { capacity = math.max(20, 2 * checked.concurrency), refill = 0.2 }
  return retry.policy { budget = own }, own
end

--- Opens the state file or database, if the option names one. Returns a message when that fails.
local function open_state(self)
  local given, message = self.options, nil
  if self.named_state and not self.state then
    local own = { subject = self.operation_name, now = self.now, clock = self.clock }
    own.cooldown, own.cooldown_margin = given.cooldown, given.cooldown_margin
    self.state, message = fleet_state.open(merged(own, self.named_state))
  end
  return message
end

--- Closes the state file or database. A run that is not complete can be resumed. Returns why something was not
-- written, or nil.
local function close_state(self, is_complete)
  local state = self.named_state and self.state
  if state then
    self.state = nil
    if is_complete then
      state:finish()
    end
    state:close()
    return state.lost
  end
end

--- Makes a fleet. No request is sent, and no tenant is read.
---@param given autopilot.FleetOptions
---@param level integer? for presets: whose line a mistake is told at, as for `error`; default 2
---@return autopilot.Fleet? fleet nil when the state file cannot be used
---@return string? message
local function new(given, level)
  local checked = fleet_options.check(given, tonumber(level) or 2)
  local policy, budget = shared_policy(checked)
  local operation = checked.operation
  local self = setmetatable({
    options = checked,
    clock = checked.clock,
    now = checked.now,
    operation_name = type(operation) == "string" and operation or "operation",
    only_reads = operation == "status" or operation == "wait", -- asks for no sync
    operate = type(operation) == "string" and function(client, _, arguments)
      return client[operation](client, arguments)
    end or operation,
    policy = policy,
    tasks = {}, -- a set of those without a report
    results = Results.new(),
    is_running = false,
  }, Fleet)
  self.loop = Loop.new(self)
  self.gates = Gates.new(self, budget)
  self.wire = Wire.new(self)
  local state = checked.state
  if not state or state.note then
    self.state = state
    return self
  end
  self.named_state = state
  -- A run that machines share is joined when it begins.
  local message = not fleet_state.is_shared(state.path) and open_state(self) or nil
  return not message and self or nil, message
end

--- Calls `on_event`. An error in it changes nothing.
---@package
function Fleet:emit(event_type, event)
  if self.options.on_event then
    event.type = event_type
    protected_call(self.options.on_event, event)
  end
end

--- Sets the time at which all tenants without a report are abandoned.
local function end_at(self, time)
  if not self.due_index or time < self.due_at then
    self.loop.timers:set(self, time)
  end
end

--- Ends all tasks: called by the loop at the time of `end_at`. Transfers end first, so that a tenant's operation can
-- report the loss of its request.
---@package
function Fleet:due()
  self.loop:discard_transfers()
  for task in pairs(self.tasks) do -- tasks are removed meanwhile, and none is added
    tenant.give_up(self, task)
  end
end

--- Whether no further request may be sent: the run was cancelled, or its deadline has passed.
---@package
---@return boolean
function Fleet:is_over()
  return self.wire.is_cancelled or (self.deadline and self.clock() >= self.deadline) or false
end

--- Whether there is room for another tenant.
local function has_room(self)
  local busy = math.max(self.gates.under_way, self.gates.waiting)
  return self.is_running and self.results:is_empty() and busy < self.options.concurrency
end

--- Begins as many tenants as there is room for.
local function begin_tenants(self)
  local tenants, state, is_late, begun = self.tenants, self.state, self:is_over(), 0
  while has_room(self) do
    local given
    if state and state.next then -- machines share the tenants
      given = state:next(tenants, is_late)
    else
      given = tenants:take(is_late)
    end
    if given == nil then
      if is_late and tenants.is_pending then
        tenants:close() -- tenants that the source does not have yet are not waited for
      end
      return
    end
    tenant.begin(self, given)
    begun = begun + 1
    if begun % at_once == 0 then
      self.loop:send()
    end
  end
end

local function finish(self)
  local failure, state = self.tenants.failure, self.state
  self.is_running = false
  self.loop.timers:remove(self)
  self.summary = self.results.counts
  self.summary.elapsed = self.clock() - self.began
  if state and state.flush then
    protected_call(state.flush, state)
  end
  local lost = close_state(self, not (self:is_over() or failure))
  if lost then
    self:emit("state_error", { message = lost })
  end
  if failure then
    error(failure.message, 0)
  end
end

--- Ends the run if all tenants are done; else waits until a task can go on, or another tenant may be begun.
local function wait(self)
  local tenants, state = self.tenants, self.state
  if tenants.is_pending or (state and state.has_more and state:has_more()) then
    self.loop:wait(self.clock() + between_questions)
  elseif tenants:has_ended() and next(self.tasks) == nil then
    finish(self)
  else
    self.loop:wait(tenants:next_start())
  end
end

--- The next report; nil at the end of the run.
local function next_report(self)
  local results = self.results
  while self.is_running and results:is_empty() do
    self.loop:step()
    begin_tenants(self)
    if self.is_running and results:is_empty() then
      wait(self)
    end
  end
  return results:take()
end

--- Lets the state renew its lease while the run is under way.
local function renew_lease(self, state)
  local timer = {}
  function timer.due()
    if self.is_running and self.state == state then
      local due_at, problem = state:renew()
      self.loop.timers:set(timer, due_at)
      if problem then
        self:emit("state_error", { message = problem })
      end
    end
  end
  self.loop.timers:set(timer, self.clock())
  function state.before_call()
    self.loop:send()
  end
end

--- Sets up the state of a run. No tenant is read yet.
local function begin_run(self)
  self.is_running = true
  self.loop.idle = {} -- in nginx, coroutines belong to the request or timer that made them
  self.wire:begin(self.state and self.state.longest_delivery)
  self.began = self.clock()
  self.deadline = self.options.deadline and self.began + self.options.deadline
  self.tenants = Tenants.new(self.options.tenants, self.options.spread, self.clock)
  self.results = Results.new()
  if self.state and self.state.renew then
    renew_lease(self, self.state)
  end
  if self.deadline then
    end_at(self, self.deadline + 1) -- requests end by the deadline themselves
  end
end

local run_rules = { on_report = { type = "function" } }

--- Runs the operation for all tenants. Without `on_report` it returns an iterator over tenants, as they
-- were given, and their reports; `fleet.summary` is there afterwards. With it, it returns the summary.
-- An error that the source of the tenants raises is raised when every tenant begun has a report.
---@param given { on_report: fun(tenant: autopilot.fleet.Tenant, report: autopilot.Report) }?
---@return autopilot.fleet.Summary|fun(): autopilot.fleet.Tenant?, autopilot.Report?|nil
---@return string? message when the state file cannot be used any more
function Fleet:run(given)
  options.check_self("fleet:run", self, "is_running")
  local checked = options.check("fleet:run", run_rules, given)
  if self.is_running then
    error("fleet:run: it is running already", 2)
  end
  local message = open_state(self)
  if message then
    return nil, message
  end
  begin_run(self)
  if not checked.on_report then
    return function()
      return next_report(self)
    end
  end
  local of_tenant, report = next_report(self)
  while report do -- not `for`: Lua 5.1 cannot yield in its iterator
    if not protected_call(checked.on_report, of_tenant, report) then
      self.results.counts.callback_errors = self.results.counts.callback_errors + 1
    end
    of_tenant, report = next_report(self)
  end
  return self.summary
end

--- Ends a run early: waits for the requests under way and reports them, and sends no other. Tenants that were
-- not read yet get no report, unless `is_rest_read` is set. Go on iterating to get the reports.
---@param grace number? seconds that requests under way may still take; default 10
---@param is_rest_read boolean? read the rest of the tenants, which must have an end, and report them too
function Fleet:cancel(grace, is_rest_read)
  options.check_self("fleet:cancel", self, "is_running")
  if grace ~= nil and type(grace) ~= "number" then
    error(("fleet:cancel: 'grace' must be a number (got %s)"):format(type(grace)), 2)
  end
  if not self.is_running or self.wire.is_cancelled then
    return
  end
  self.wire.is_cancelled = true
  if not is_rest_read then
    self.tenants:close()
  end
  for task in pairs(self.tasks) do
    if task.client then
      task.client:close() -- which ends its retries
    end
    self.loop:wake(task)
  end
  end_at(self, self.clock() + (grace or default_grace))
end

---@class autopilot.fleet.Progress
---@field total integer? nil when only the iterator knows
---@field done integer reports so far
---@field failed integer
---@field known integer done by an earlier run, or by another machine
---@field elsewhere integer reports of other machines that are not taken over yet
---@field in_flight integer requests under way
---@field asleep integer tenants that wait for a time to come

--- How far the run is.
---@return autopilot.fleet.Progress
function Fleet:progress()
  options.check_self("fleet:progress", self, "is_running")
  local tenants, counts, state = self.tenants, self.results.counts, self.state
  local by_others = state and state.elsewhere or 0
  local asleep = tenants and tenants.starts.count or 0
  for task in pairs(self.tasks) do
    asleep = asleep + (task.due_index and not task.turn and 1 or 0)
  end
  return {
    total = tenants and tenants.total,
    done = counts.total,
    failed = counts.failed,
    known = counts.known,
    elsewhere = math.max(0, by_others - counts.known),
    in_flight = self.gates.under_way,
    asleep = asleep,
  }
end

--- Closes all connections, and ends a run: tenants in progress are abandoned without a report.
function Fleet:close()
  options.check_self("fleet:close", self, "is_running")
  self.wire:close()
  self.is_running = false
  self.loop.timers:remove(self)
  for task in pairs(self.tasks) do
    self.loop:abandon(task)
    self.gates:leave(task)
  end
  self.tasks = {}
  close_state(self, false)
end

Fleet.__close = Fleet.close

return new
