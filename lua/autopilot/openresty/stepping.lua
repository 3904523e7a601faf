--- How a fleet waits in the event loop: only that differs from a fleet elsewhere.
--
-- Its transfer set is its own and is stepped by its one light thread, or timer, when there is something
-- to do; that is looked for less often the longer there was not.

local core = require "autopilot.core"
local ngx = require "ngx"

-- Seconds to the next look: after something has happened, and at most.
local shortest, longest, growth = 0.001, 0.010, 1.25

--- Moves the transfers, at most for so long, and lets the worker go on meanwhile.
---@param set any the fleet's transfer set
---@param seconds number
local function wait(set, seconds)
  local ends, delay = core.clock() + seconds, shortest
  repeat
    -- First of all: a fleet that always has something to do would let nobody else run.
    ngx.sleep(math.max(shortest, math.min(delay, ends - core.clock())))
    if set:is_due() then
      set:step()
      return
    end
    delay = math.min(delay * growth, longest)
  until core.clock() >= ends
end

return wait
