--- One tenant of a fleet, from its start to its report.
--
-- A tenant has a task, whose coroutine makes its client and runs the operation. The user's code that runs
-- there may raise and yield without an effect on other tenants. Each task has exactly one report: the first
-- that is delivered.

local Client = require "autopilot.client.client"
local Tenants = require "autopilot.fleet.tenants"
local client_options = require "autopilot.client.options"
local is_interrupt = require "autopilot.base.interrupt"
local merged = require "autopilot.base.merged"
local protected_call = require "autopilot.base.protected_call"
local reports = require "autopilot.fleet.reports"
local resume = require "autopilot.fleet.resume"
local service = require "autopilot.client.service"
local wait = require "autopilot.sync.wait"

-- Loaded now, because a tenant's options may need these modules during a run, when no descriptor is left to load them.
require "autopilot.transport.http_options"
require "autopilot.transport.foreign"

--- Its functions get the fleet (`autopilot.Fleet`) and a task of it (`autopilot.fleet.Task`).
local tenant = {}

-- The argument that limits the time of an operation.
local limits = { sync = "deadline", status = "deadline", wait = "timeout", ensure = "timeout" }

-- Seconds after its deadline after which a task that continues is abandoned.
local longest_overrun = 1

-- ---- The end ---------------------------------------------------------------------------------------

--- Adds a task's report to the results, and to the state. Does nothing if the task has a report already.
---@param is_known boolean? the report comes from the state
local function deliver(fleet, task, report, is_known)
  fleet.gates:leave(task)
  if not fleet.tasks[task] then
    return
  end
  fleet.tasks[task] = nil
  local state = fleet.state
  if state and task.key and not is_known then
    local noted, message = protected_call(state.note, state, task.key, report)
    if not noted then
      fleet:emit("state_error", { tenant = task.id, message = tostring(message) })
    end
  end
  fleet.results:add(task.tenant, report, is_known)
end

--- Ends a task whose coroutine has raised an error.
function tenant.fail(fleet, task, message)
  local report = fleet.wire.is_cancelled and reports.given_up(fleet, task, true)
    or reports.of_mistake(fleet, task, message)
  deliver(fleet, task, report)
  if is_interrupt(message) then
    error(message, 0) -- Ctrl-C, which happened to reach this task, is meant for the whole program
  end
end

--- Ends a task that does not end by itself.
function tenant.give_up(fleet, task)
  fleet.loop:abandon(task)
  deliver(fleet, task, reports.given_up(fleet, task, true))
end

-- ---- Its client ------------------------------------------------------------------------------------

--- Makes the function with which the clients of a fleet sleep: only the tenant's own coroutine waits.
local function sleep_of(fleet)
  return function(seconds)
    local task, clock = fleet.loop.current, fleet.clock()
    if not task then
      return fleet.options.sleep(seconds)
    end
    local wanted = seconds == seconds and clock + seconds or clock -- NaN: do not sleep
    local ends = math.min(wanted, task.deadline or math.huge, fleet.deadline or math.huge)
    -- After its end a task sleeps as short as possible. If it goes on for too long, it is given up.
    local is_late = ends <= clock or fleet.wire.is_cancelled
    if task.deadline and clock > task.deadline + longest_overrun then
      tenant.give_up(fleet, task)
    end
    coroutine.yield(not is_late and ends or nil)
  end
end

--- The options that the user gives for this tenant's client, completed by the fleet's own.
local function complete_options(fleet, given, id)
  local made, of_fleet = merged(given), fleet.options
  made.tenant = made.tenant or id
  made.sleep, made.clock, made.now = sleep_of(fleet), fleet.clock, fleet.now
  made.random = made.random or of_fleet.random
  made.on_event = made.on_event or of_fleet.on_event
  if made.retry == nil then
    made.retry = fleet.policy
  end
  local transport = made.transport or of_fleet.transport
  made.transport = transport and fleet.wire:wrap(transport)
    or fleet.wire:transport(type(made.http) == "table" and made.http or nil)
  return made
end

-- Options whose tables may be new for each tenant.
local are_tables = { http = true, timeout = true }

-- Options that may differ between tenants that share one service.
local are_own = { token = true, tenant = true }

--- Whether two tables of options are the same, except for token and tenant.
local function are_same(given, known)
  for name, value in pairs(given) do
    local other = known[name]
    if value ~= other and not are_own[name] then
      local are_nested = are_tables[name] and type(value) == "table" and type(other) == "table"
      if not are_nested or not are_same(value, other) then
        return false
      end
    end
  end
  for name in pairs(known) do
    if given[name] == nil then
      return false
    end
  end
  return true
end

--- Copies the options, without the token, so that later changes to the user's tables do not affect the copy.
local function snapshot_of(given)
  local copy = merged(given, { token = false })
  for name in pairs(are_tables) do
    copy[name] = type(copy[name]) == "table" and merged(copy[name]) or copy[name]
  end
  return copy
end

--- Makes the tenant's client. It shares the previous tenant's service if all options except token and tenant are the
-- same.
local function make_client(fleet, task)
  local given, known = fleet.options.client(task.tenant), fleet.service_options
  if type(given) ~= "table" then
    error("the function 'client' must return a table of options", 0)
  end
  task.token = given.token
  if not (known and are_same(given, known)) then
    fleet.service = service.new(complete_options(fleet, given, task.id))
    fleet.service_options = snapshot_of(given)
  end
  fleet.service.options.has_several = fleet.tenants.total ~= 1
  local id = given.tenant or task.id
  client_options.check_own(given.token, id, 1)
  return Client.new(fleet.service, given.token, id)
end

--- Passes the client a cooldown that an earlier run has stored in the state.
local function recall_cooldown(fleet, task)
  local client, now = task.client, fleet.now()
  local checked = client.options
  local retry_at = checked.cooldown > 0 and fleet.state:cooldown(task.key)
  if retry_at and retry_at > now then
    -- The state does not know which cooldown this client expects, which may be a shorter one.
    local interval = checked.cooldown + checked.cooldown_margin
    local refused_at = client.service_clock:of_unix(math.min(retry_at, now + interval) - interval)
    client.memory:note_refused("cooldown", nil, refused_at)
  end
end

-- ---- Its operation ---------------------------------------------------------------------------------

--- Returns the arguments for the operation, with its time limited to what is left until the fleet's deadline. Sets the
-- task's deadline.
local function arguments_of(fleet, task)
  local given, clock = fleet.options.arguments(task.tenant), fleet.clock()
  local limit, left = limits[fleet.operation_name], fleet.deadline and fleet.deadline - clock
  local default = limit == "timeout" and wait.rules.timeout.default or nil
  local seconds = limit and given and given[limit] or default
  task.knows_deadline = seconds ~= nil or (limit and not (given and given.wait)) or false
  if limit and left and (not seconds or left < seconds) then
    seconds, given = left, merged(given, { [limit] = left })
  end
  task.deadline = type(seconds) == "number" and clock + seconds or fleet.deadline
  return given
end

--- Returns the report of a tenant for which no client is needed: the state has it, or the run is over.
---@return autopilot.Report? report
---@return boolean? is_known it comes from the state
local function report_before(fleet, task)
  if not task.id then
    error("a tenant must be an id or a domain, or a table with it in 'tenant'", 0)
  end
  if fleet.state then
    local report, unread = fleet.state:known(task.key)
    if report then
      return report, true
    elseif type(unread) == "string" then
      return reports.state_unread(fleet, task, unread)
    end
  end
  return fleet:is_over() and reports.given_up(fleet, task, false) or nil
end

--- Returns the report of the operation: the client's, or that of a tenant for which it need not run, because the time
-- is over or the state shows what became of an earlier request.
local function operate(fleet, task)
  local given = arguments_of(fleet, task)
  if fleet.wire.is_cancelled or (task.deadline and task.deadline <= fleet.clock()) then
    return reports.given_up(fleet, task, false)
  end
  local report, failure
  if fleet.state and fleet.state.posted and not fleet.only_reads then
    report = resume(fleet, task, given)
  end
  if not report then
    report, failure = fleet.operate(task.client, task.tenant, given)
  end
  report = report or failure
  if type(report) ~= "table" or type(report.ok) ~= "boolean" then
    error("the operation returned no report", 0) -- it may be the user's function
  elseif task.is_unsettled and report.delivered == "no" then
    report.delivered = "unknown" -- an earlier process may have asked
  end
  return report
end

--- Runs the task. Called in its coroutine.
function tenant.perform(fleet, task)
  local report, is_known = report_before(fleet, task)
  if not report then
    task.client = make_client(fleet, task)
    if fleet.state then
      recall_cooldown(fleet, task)
    end
    report = operate(fleet, task)
    if fleet:is_over() then
      reports.after_run_end(task, report)
    end
    task.client:close()
    task.client = false
  end
  deliver(fleet, task, report, is_known)
end

-- ---- The start -------------------------------------------------------------------------------------

--- Begins a tenant: it has a report when this returns, or its task waits for something.
function tenant.begin(fleet, given)
  local id, key = Tenants.identify(given)
  local task = {
    tenant = given,
    id = id,
    key = key,
    began = fleet.clock(),
    client = false, -- while there is none
    gate = false, -- of the host to which its request is under way
    turn = false, -- its entry in a gate's queue
    has_posted = false, -- a request for a sync may have been sent
    knows_deadline = false, -- its operation ends by its deadline
  }
  fleet.tasks[task] = true
  fleet.loop:begin(task)
end

return tenant
