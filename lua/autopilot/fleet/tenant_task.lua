--- What is done for one tenant, in its own coroutine: make its client, run the operation, hand the
-- report over. The code of the user that runs here may raise and yield; nobody else notices.

local asked_before = require "autopilot.fleet.asked_before"
local endings = require "autopilot.fleet.endings"
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

-- Options that a client of the same kind may differ in, and tables that may be new for each tenant.
local is_own, is_looked_into = { token = true, tenant = true }, { http = true, timeout = true }

---@class autopilot.fleet.Known options as they were
---@field values table<string, any>
---@field tables table<string, autopilot.fleet.Known>
---@field count integer

--- A copy that tells whether other options are the same.
local function remember(given)
  local known = { values = {}, tables = {}, count = 0 }
  for name, value in next, given do
    if not is_own[name] then
      if is_looked_into[name] and type(value) == "table" then
        known.tables[name] = remember(value)
      else
        known.values[name] = value
      end
      known.count = known.count + 1
    end
  end
  return known
end

local function is_same(given, known)
  local values, left = known.values, known.count
  for name, value in next, given do
    if not is_own[name] then
      if value ~= values[name] then
        local table_before = known.tables[name]
        if not table_before or type(value) ~= "table" or not is_same(value, table_before) then
          return false
        end
      end
      left = left - 1
    end
  end
  return left == 0
end

--- The tenant's client. Where all options but token and tenant are those of the tenant before, it is
-- made after that one's, which is cheap.
local function make_client(fleet, task)
  local given = given_options(fleet, task)
  task.token = given.token
  local model = fleet.model
  if model and is_same(given, model.given) then
    local count = #model.idle
    local idle = model.idle[count]
    if idle then
      model.idle[count] = nil
      idle:become(given.token, given.tenant or task.id)
      return idle, model
    end
    return model.client:sibling(given.token, given.tenant or task.id), model
  end
  local client = new_client(complete_options(fleet, given, task.id))
  fleet.model = { client = client, given = remember(given), idle = {} }
  return client
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
  local client, model = make_client(fleet, task)
  client.options.has_several = fleet.roster.total ~= 1
  task.client = client
  remind(fleet, task, task.client)
  local report = operate(fleet, task)
  if fleet.wire.is_cancelled or (fleet.deadline and fleet.clock() >= fleet.deadline) then
    report = own_report.of_run_end(task, report)
  end
  client:close()
  task.client = nil
  if model and type(fleet.options.operation) == "string" then
    model.idle[#model.idle + 1] = client -- nobody else has seen it
  end
  endings.deliver(fleet, task, report)
end

return tenant_task
