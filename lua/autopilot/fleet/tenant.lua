--- One tenant of a fleet, from its start to its report.
--
-- A tenant has a task with a coroutine of its own, in which its client is made and the operation runs. The
-- user's code that runs there may raise and yield without an effect on other tenants. Each task has
-- exactly one report: the first that is delivered.

local Loop = require "autopilot.fleet.loop"
local Tenants = require "autopilot.fleet.tenants"
local is_interrupt = require "autopilot.base.interrupt"
local protected_call = require "autopilot.base.protected_call"
local reports = require "autopilot.fleet.reports"
local resume = require "autopilot.fleet.resume"
local service = require "autopilot.client.service"

-- A tenant's options may ask for these in the middle of a run, when no descriptor is left to load them.
require "autopilot.transport.ca_file"
require "autopilot.transport.foreign"

local tenant = {}

-- The argument that limits the time of an operation, and its default in seconds.
local limits = {
  sync = { name = "deadline" },
  status = { name = "deadline" },
  wait = { name = "timeout", default = 3600 },
  ensure = { name = "timeout", default = 3600 },
}

-- Sleeps of no length after which a task is given up that goes on although its time is over.
local most_empty_sleeps = 100

local function is_callable(value)
  local metatable = getmetatable(value)
  return type(value) == "function" or (type(metatable) == "table" and metatable.__call ~= nil)
end

local function copy_of(given)
  local copy = {}
  for name, value in pairs(given) do
    copy[name] = value
  end
  return copy
end

--- Why no request is to be sent any more; nil: the run goes on.
---@return autopilot.fleet.RunEnd?
local function run_end(fleet, clock)
  if fleet.deadline and clock >= fleet.deadline then
    return "DEADLINE"
  end
  return fleet.wire.is_cancelled and "CANCELLED" or nil
end

-- ---- The end ---------------------------------------------------------------------------------------

--- Takes a task's report, unless it has one.
local function deliver(fleet, task, report)
  if not fleet.tasks[task] then
    return
  end
  fleet.tasks[task] = nil
  local state = fleet.options.state
  if state and task.key then
    local noted, message = protected_call(state.note, state, task.key, report)
    if not noted then
      fleet:emit("state_error", { tenant = task.id, message = tostring(message) })
    end
  end
  fleet.results:add(task.tenant, report)
end

local function deliver_given_up(fleet, task, why)
  local elapsed = fleet.clock() - task.began
  deliver(fleet, task, reports.given_up(task, fleet.operation_name, why, elapsed))
end

local function deliver_mistake(fleet, task, message)
  local elapsed = fleet.clock() - task.began
  deliver(fleet, task, reports.of_mistake(task, fleet.operation_name, message, elapsed))
end

--- Ends a task whose coroutine has raised.
---@param fleet autopilot.Fleet
---@param task autopilot.fleet.Task
---@param message any
function tenant.fail(fleet, task, message)
  fleet.gates:leave(task)
  if fleet.wire.is_cancelled then
    deliver_given_up(fleet, task, "CANCELLED")
  else
    deliver_mistake(fleet, task, message)
  end
  if is_interrupt(message) then
    error(message, 0) -- Ctrl-C, which happened to reach this task, is meant for the whole program
  end
end

--- Ends a task that does not end by itself.
---@param fleet autopilot.Fleet
---@param task autopilot.fleet.Task
function tenant.give_up(fleet, task)
  fleet.loop:abandon(task)
  fleet.gates:leave(task)
  deliver_given_up(fleet, task, fleet.wire.is_cancelled and "CANCELLED" or "DEADLINE")
end

-- ---- Its client ------------------------------------------------------------------------------------

--- The options that the user gives for this tenant's client.
local function given_options(fleet, task)
  local given = fleet.options.client
  if is_callable(given) then
    given = given(task.tenant)
  end
  if type(given) ~= "table" then
    error("the function 'client' must return a table of options", 0)
  end
  return given
end

--- The same, completed by the fleet's own.
local function complete_options(fleet, given, id)
  local made, of_fleet = copy_of(given), fleet.options
  made.tenant = made.tenant or id
  made.sleep, made.clock, made.now = fleet.sleep, fleet.clock, fleet.now
  made.random = made.random or of_fleet.random
  made.on_event = made.on_event or of_fleet.on_event
  if made.retry == nil then
    made.retry = fleet.policy
  end
  local transport = made.transport or of_fleet.transport
  if transport then
    made.transport = fleet.wire:wrap(transport)
  else
    made.transport = fleet.wire:transport(type(made.http) == "table" and made.http or nil)
  end
  return made
end

-- Options in which clients of the same service may differ; and options whose tables may be new for each.
local is_own, is_table = { token = true, tenant = true }, { http = true, timeout = true }

--- Whether two tables of options ask for the same service.
local function is_same(a, b)
  for name, value in pairs(a) do
    local other = b[name]
    local are_tables = is_table[name] and type(value) == "table" and type(other) == "table"
    if value ~= other and not is_own[name] and not (are_tables and is_same(value, other)) then
      return false
    end
  end
  for name in pairs(b) do
    if a[name] == nil and not is_own[name] then
      return false
    end
  end
  return true
end

--- A copy that stays as it is when the user changes the tables.
local function snapshot_of(given)
  local copy = copy_of(given)
  copy.token, copy.tenant = nil, nil
  for name in pairs(is_table) do
    copy[name] = type(copy[name]) == "table" and copy_of(copy[name]) or copy[name]
  end
  return copy
end

--- Makes the tenant's client. The service of the tenant before is used again where all options are the same
-- but token and tenant.
local function make_client(fleet, task)
  local given = given_options(fleet, task)
  task.token = given.token
  if not (fleet.service and is_same(given, fleet.service_options)) then
    fleet.service = service.new(complete_options(fleet, given, task.id))
    fleet.service_options = snapshot_of(given)
  end
  fleet.service.options.has_several = fleet.tenants.total ~= 1
  return service.client(fleet.service, given.token, given.tenant or task.id)
end

--- Tells the client of a cooldown that an earlier run has noted.
local function recall_cooldown(fleet, task, client)
  local state, checked = fleet.options.state, client.options
  if not state or checked.cooldown <= 0 then
    return
  end
  local retry_at, now = state:cooldown(task.key), fleet.now()
  if retry_at and retry_at > now then
    -- The state does not know which cooldown this client expects, which may be a shorter one.
    local interval = checked.cooldown + checked.cooldown_margin
    client.memory:note_refused("cooldown", nil, math.min(retry_at, now + interval) - interval)
  end
end

-- ---- Its operation ---------------------------------------------------------------------------------

--- Arguments for the operation, with its time limited to what is left of the fleet's. Sets the task's
-- deadline.
local function arguments_of(fleet, task)
  local given = fleet.options.arguments
  if is_callable(given) then
    given = given(task.tenant)
  end
  local limit = limits[fleet.options.operation]
  if not limit then
    task.deadline = fleet.deadline
    return given
  end
  local clock = fleet.clock()
  local seconds = given and given[limit.name] or limit.default
  local left = fleet.deadline and fleet.deadline - clock
  task.knows_deadline = seconds ~= nil or not (given and given.wait)
  if left and (not seconds or left < seconds) then
    seconds, given = left, copy_of(given or {})
    given[limit.name] = left
  end
  task.deadline = type(seconds) == "number" and clock + seconds or nil
  return given
end

local function operate(fleet, task, client)
  local operation, state = fleet.options.operation, fleet.options.state
  local given = arguments_of(fleet, task)
  if fleet.wire.is_cancelled then
    return reports.not_begun(task.id, fleet.operation_name, "CANCELLED")
  elseif task.deadline and task.deadline <= fleet.clock() then
    return reports.not_begun(task.id, fleet.operation_name, "DEADLINE")
  end
  local report, failure
  if state and resume[operation] then
    report, failure = resume[operation](state, task, client, given)
    if failure then
      return reports.state_unread(task.id, operation, failure)
    end
  end
  if not report and type(operation) == "string" then
    report, failure = client[operation](client, given)
  elseif not report then
    report, failure = operation(client, task.tenant, given)
  end
  report = report or failure
  if type(report) ~= "table" or type(report.ok) ~= "boolean" then
    error("the operation returned no report", 0)
  end
  return report
end

--- Runs the task. Called in its coroutine.
---@param fleet autopilot.Fleet
---@param task autopilot.fleet.Task
function tenant.perform(fleet, task)
  local client = make_client(fleet, task)
  task.client = client
  recall_cooldown(fleet, task, client)
  local report = operate(fleet, task, client)
  if run_end(fleet, fleet.clock()) then
    report = reports.after_run_end(task, report)
  end
  client:close()
  task.client = nil
  deliver(fleet, task, report)
end

--- Makes the function with which the clients of a fleet sleep: only the tenant's own coroutine waits.
---@param fleet autopilot.Fleet
---@return fun(seconds: number)
function tenant.sleep(fleet)
  return function(seconds)
    local task, clock = fleet.loop.current, fleet.clock()
    if not task then
      return fleet.options.sleep(seconds)
    end
    local wanted = seconds == seconds and clock + seconds or clock -- NaN: do not sleep
    local ends = math.min(wanted, task.deadline or math.huge, fleet.deadline or math.huge)
    if ends <= clock or fleet.wire.is_cancelled then
      ends = clock
      task.empty_sleeps = (task.empty_sleeps or 0) + 1
      if task.empty_sleeps > most_empty_sleeps then
        tenant.give_up(fleet, task)
      end
    end
    coroutine.yield(task.thread and ends or Loop.parked)
  end
end

-- ---- The start -------------------------------------------------------------------------------------

--- Begins a tenant: it has a report when this returns, or its task waits for something.
---@param fleet autopilot.Fleet
---@param given autopilot.fleet.Tenant
function tenant.begin(fleet, given)
  local id, key = Tenants.identify(given)
  local task = { tenant = given, id = id, key = key, began = fleet.clock() }
  fleet.tasks[task] = true
  if not id then
    local message = "a tenant must be an id or a domain, or a table with it in 'tenant'"
    return deliver_mistake(fleet, task, message)
  end
  local state = fleet.options.state
  if state then
    local is_fine, report, unread = protected_call(state.known, state, key)
    if not is_fine then
      return deliver_mistake(fleet, task, report)
    elseif report then
      fleet.tasks[task] = nil
      return fleet.results:add(given, report, true)
    elseif type(unread) == "string" then
      return deliver(fleet, task, reports.state_unread(id, fleet.operation_name, unread))
    end
  end
  local why = run_end(fleet, task.began)
  if why then
    return deliver(fleet, task, reports.not_begun(id, fleet.operation_name, why))
  end
  fleet.loop:begin(task)
end

return tenant
