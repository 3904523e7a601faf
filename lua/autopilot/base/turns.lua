--- Waiting for a claim whose holder may be another process, or another coroutine of this one.
--
-- Another process cannot wake a waiter up, so waiting is sleeping in small steps. If that sleep blocks the
-- whole process, and the holder is a coroutine of this process, the waiter has to yield instead.

local core = require "autopilot.core"

local turns = {}

-- The claims that are held in this process, by their ids. Weak: a claim whose holder was collected is gone.
local here = setmetatable({}, { __mode = "v" })

--- Notes that a claim is held in this process; without `holder`, that it is not held any more.
---@param id string
---@param holder table?
function turns.note(id, holder)
  here[id] = holder
end

--- Sleeps for a step, or yields where a sleep would stop the holder.
---@param sleep fun(seconds: number)
---@param seconds number
---@param id string? of the claim that is waited for
---@return number? slept seconds that were surely slept; nil when there is no way to let the holder run
function turns.let_run(sleep, seconds, id)
  if sleep ~= core.sleep or not here[id or false] then
    sleep(seconds)
    return seconds
  end
  local thread, is_main = coroutine.running()
  if not thread or is_main then
    return nil
  end
  coroutine.yield()
  return 0
end

return turns
