--- How a tenant's task ends: with its report, because it raised, or because it is given up. It has one
-- report, whatever comes after.

local is_interrupt = require "autopilot.base.interrupt"
local own_report = require "autopilot.fleet.own_report"
local protected_call = require "autopilot.base.protected_call"

local endings = {}

--- Takes a task's report.
---@param fleet autopilot.Fleet
---@param task autopilot.fleet.Task
---@param report autopilot.Report
function endings.deliver(fleet, task, report)
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
  fleet.ledger:add(task.tenant, report)
end

--- The report of a task that is given up.
local function given_up(fleet, task, why)
  return own_report.given_up(task, fleet.operation_name, why, fleet.clock() - task.began)
end

--- Takes note of a task that raised.
---@param fleet autopilot.Fleet
---@param task autopilot.fleet.Task
---@param message any
function endings.fail(fleet, task, message)
  fleet.gates:leave(task)
  if fleet.wire.is_cancelled then
    endings.deliver(fleet, task, given_up(fleet, task, "CANCELLED"))
  else
    local elapsed = fleet.clock() - task.began
    local report = own_report.of_mistake(task, fleet.operation_name, message, elapsed)
    endings.deliver(fleet, task, report)
  end
  if is_interrupt(message) then
    error(message, 0) -- Ctrl-C, which met this task by chance, is for whoever ends the program
  end
end

--- Gives up a task that does not end by itself.
---@param fleet autopilot.Fleet
---@param task autopilot.fleet.Task
function endings.give_up(fleet, task)
  fleet.loop:abandon(task)
  fleet.gates:leave(task)
  local why = fleet.wire.is_cancelled and "CANCELLED" or "DEADLINE"
  endings.deliver(fleet, task, given_up(fleet, task, why))
end

--- Gives up all that has not ended: first the transfers, for a task's own code tells best what the end
-- of its request means.
---@param fleet autopilot.Fleet
function endings.give_up_all(fleet)
  fleet.loop:discard_transfers()
  local tasks = {}
  for task in pairs(fleet.tasks) do
    tasks[#tasks + 1] = task
  end
  for _, task in ipairs(tasks) do
    endings.give_up(fleet, task)
  end
end

return endings
