--- The system's own sleep, clocks and randomness, for callers who inject none.
--
-- They live in the C module, which is loaded when one of them is first called: so everything else
-- of `autopilot.retry` can be used, and tested, without it.

local world = {}

--- Waits that many seconds.
---@param seconds number
function world.sleep(seconds)
  return require("autopilot.core").sleep(seconds)
end

--- Seconds of a clock that never jumps; its zero means nothing.
---@return number
function world.clock()
  return require("autopilot.core").clock()
end

--- Unix seconds.
---@return number
function world.now()
  return require("autopilot.core").now()
end

--- A number in `[0, 1)`.
-- `math.random` stands in only where the C module is not there: it is seeded alike in every process
-- of Lua 5.1 to 5.3, and jitter that is the same everywhere spreads nothing.
---@return number
function world.random()
  local found, core = pcall(require, "autopilot.core")
  return found and core.random() or math.random()
end

return world
