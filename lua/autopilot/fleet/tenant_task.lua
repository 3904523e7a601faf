--- What is done for one tenant, in its own coroutine: make its client, run the operation, hand the
-- report over. The code of the user that runs here may raise and yield; nobody else notices.

local asked_before = require "autopilot.fleet.asked_before"
local endings = require "autopilot.fleet.endings"
local own_report = require "autopilot.fleet.own_report"
local service = require "autopilot.client.service"

local tenant_task = {}

-- What an operation calls the seconds that it has, and how many those are unless it is told.
local limits = {
  sync = { name = "deadline" },
  status = { name = "deadline" },
  wait = { name = "timeout", default = 3600 },
  ensure = { name = "timeout", default = 3600 },
}

local function is_callable(value)
  local metatable = getmetatable(value)
  return type(value) == "function" or (type(metatable) == "table" and metatable.__call ~= nil)
end

--- What the user wants for this tenant's client.
local function given_options(fleet, task)
  local of_client = fleet.options.client
  local given = of_client
  if is_callable(of_client) then
    given = of_client(task.tenant)
  end
  if type(given) ~= "table" then
    error("the function 'client' must return a table of options", 0)
  end
  return given
end

--- The same, and the fleet's own where they are silent.
local function complete_options(fleet, given, id)
  local made = {}
  for name, value in pairs(given) do
    made[name] = value
  end
  made.tenant = made.tenant or id
  made.sleep, made.clock, made.now = fleet.sleep, fleet.clock, fleet.now
  made.random = made.random or fleet.options.random
  made.on_event = made.on_event or fleet.options.on_event
  if made.retry == nil then
    made.retry = fleet.policy
  end
  local transport = made.transport or fleet.options.transport
  if transport then
    made.transport = fleet:wrapped(transport)
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

--- A copy that does not change when the user changes the table.
local function copy_of(given)
  local copy = {}
  for name, value in pairs(given) do
    if not is_own[name] then
      copy[name] = is_table[name] and type(value) == "table" and copy_of(value) or value
    end
  end
  return copy
end

--- The tenant's client. The service of the tenant before is used again where all options are the same but
-- token and tenant.
local function make_client(fleet, task)
  local given = given_options(fleet, task)
  task.token = given.token
  if not (fleet.service and is_same(given, fleet.service_options)) then
    fleet.service = service.new(complete_options(fleet, given, task.id))
    fleet.service_options = copy_of(given)
  end
  fleet.service.options.has_several = fleet.roster.total ~= 1
  return service.client(fleet.service, given.token, given.tenant or task.id)
end

--- Arguments for the operation, with what is left of the fleet's time.
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
    local copy = {}
    for name, value in pairs(given or {}) do
      copy[name] = value
    end
    copy[limit.name] = left
    seconds, given = left, copy
  end
  task.deadline = type(seconds) == "number" and clock + seconds or nil
  return given
end

--- Tells the client of a cooldown that an earlier run has learnt of.
local function remind(fleet, task, client)
  local state, checked = fleet.options.state, client.options
  if not state or checked.cooldown <= 0 then
    return -- it expects none
  end
  local retry_at, now = state:cooldown(task.key), fleet.now()
  if retry_at and retry_at > now then
    -- The file does not know how long a cooldown this client expects.
    local interval = checked.cooldown + checked.cooldown_margin
    client.memory:note_refused("cooldown", nil, math.min(retry_at, now + interval) - interval)
  end
end

local function operate(fleet, task)
  local operation = fleet.options.operation
  local client = task.client
  local given = arguments_of(fleet, task)
  if fleet.wire.is_cancelled then
    return own_report.not_begun(task.id, fleet.operation_name, "CANCELLED")
  elseif task.deadline and task.deadline <= fleet.clock() then
    return own_report.not_begun(task.id, fleet.operation_name, "DEADLINE")
  end
  local report, failure
  local state = fleet.options.state
  if state and operation == "sync" then
    report, failure = asked_before.settle(state, task, client, given)
  elseif state and operation == "ensure" then
    failure = asked_before.recall(state, task, client, given)
  end
  if report then
    return report
  elseif failure then
    return own_report.state_unread(task.id, operation, failure)
  elseif type(operation) == "string" then
    report, failure = client[operation](client, given)
  else
    report, failure = operation(client, task.tenant, given)
  end
  report = report or failure
  if type(report) ~= "table" or type(report.ok) ~= "boolean" then
    error("the operation returned no report", 0)
  end
  return report
end

--- Does it all. Runs in the task's coroutine.
---@param fleet autopilot.Fleet
---@param task autopilot.fleet.Task
function tenant_task.perform(fleet, task)
  local client = make_client(fleet, task)
  task.client = client
  remind(fleet, task, client)
  local report = operate(fleet, task)
  if fleet.wire.is_cancelled or (fleet.deadline and fleet.clock() >= fleet.deadline) then
    report = own_report.of_run_end(task, report)
  end
  client:close()
  task.client = nil
  endings.deliver(fleet, task, report)
end

return tenant_task
