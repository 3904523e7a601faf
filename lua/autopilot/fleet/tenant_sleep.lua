--- How a tenant of a fleet waits: for a moment to come its coroutine yields, and nobody else does.

local Loop = require "autopilot.fleet.loop"
local endings = require "autopilot.fleet.endings"

-- A task that only sleeps when there is nothing to wait for any more is given up.
local most_idle_naps = 100

--- What the clients of a fleet sleep with.
---@param fleet autopilot.Fleet
---@return fun(seconds: number)
return function(fleet)
  return function(seconds)
    local task, clock = fleet.loop.current, fleet.clock()
    if not task then
      return fleet.options.sleep(seconds)
    end
    local wanted = seconds == seconds and clock + seconds or clock -- no number: no sleep
    local ends = math.min(wanted, task.deadline or math.huge, fleet.deadline or math.huge)
    if ends <= clock or fleet.wire.is_cancelled then
      ends = clock
      task.idle_naps = (task.idle_naps or 0) + 1
      if task.idle_naps > most_idle_naps then
        endings.give_up(fleet, task)
      end
    end
    coroutine.yield(task.thread and ends or Loop.parked)
  end
end
