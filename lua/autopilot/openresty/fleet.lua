--- A fleet for light threads: one light thread, or one timer, runs it, and waits in the event loop.
--
-- Only the waiting differs from `autopilot.fleet`. The transfer set is the fleet's own, and is stepped
-- when there is something to do; that is looked for less often the longer there was not.

local core = require "autopilot.core"
local make_fleet = require "autopilot.fleet"
local ngx = require "ngx"

-- Seconds to the next look: after something has happened, and at most.
local shortest, longest, growth = 0.001, 0.010, 1.25

--- Moves the transfers, at most for so long, and lets the worker go on meanwhile.
local function wait(set, seconds)
  local ends, delay = core.clock() + seconds, shortest
  while not set:is_due() do
    local left = ends - core.clock()
    if left <= 0 then
      return
    end
    ngx.sleep(math.max(shortest, math.min(delay, left)))
    delay = math.min(delay * growth, longest)
  end
  set:step()
end

--- Takes what `autopilot.fleet` takes. To be run where light threads can wait: in a content handler or a
-- timer; with the iterator or with `on_report`.
---@param given autopilot.FleetOptions
---@param sleep fun(seconds: number)
---@return autopilot.Fleet? fleet
---@return string? message
local function new(given, sleep)
  local filled = { wait = wait, sleep = sleep }
  for name, value in pairs(type(given) == "table" and given or {}) do
    filled[name] = value
  end
  -- Not as a tail call: a mistake is told at the caller's line.
  local fleet, message = make_fleet(type(given) == "table" and filled or given, 4)
  return fleet, message
end

return new
