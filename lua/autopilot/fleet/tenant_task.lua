--- What is done for one tenant, in its own coroutine: make its client, run the operation, hand the
-- report over. The code of the user that runs here may raise and yield; nobody else notices.

local new_client = require "autopilot.client"
local own_report = require "autopilot.fleet.own_report"

local tenant_task = {}

-- What an operation calls the seconds that it has, and how many those are unless it is told.
local limits = {
  sync = { name = "deadline" },
  status = { name = "deadline" },
  wait = { name = "timeout", default = 3600 },
  ensure = { name = "timeout", default = 3600 },
}

--- The options of the tenant's client: the user's, and the fleet's own where they are silent.
local function client_options(fleet, task)
  local of_client = fleet.options.client
  local given = of_client
  if type(of_client) == "function" or getmetatable(of_client) then
    given = of_client(task.tenant)
  end
  if type(given) ~= "table" then
    error("the function 'client' must return a table of options", 0)
  end
  local made = {}
  for name, value in pairs(given) do
    made[name] = value
  end
  made.tenant = made.tenant or task.id
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

--- Arguments for the operation, with what is left of the fleet's time.
local function arguments_of(fleet, task)
  local given = fleet.options.arguments
  if given ~= nil and type(given) ~= "table" then
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
  local state = fleet.options.state
  local retry_at = state and state:cooldown(task.key)
  if retry_at and retry_at > fleet.now() then
    client.memory:note_refused("cooldown", retry_at, fleet.now())
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
  if type(operation) == "string" then
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
  task.options = client_options(fleet, task)
  task.client = new_client(task.options)
  remind(fleet, task, task.client)
  local report = operate(fleet, task)
  task.client:close()
  fleet:deliver(task, report)
end

return tenant_task
