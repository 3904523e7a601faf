--- Letting others run while one waits for what somebody holds who may be in another process, or here.
--
-- Nothing wakes anybody up across processes, so waiting is sleeping in small steps. Where that sleep
-- blocks the whole process, and the holder is a coroutine of it, only yielding helps.

local core = require "autopilot.core"

local turns = {}

-- Who is held here, by the id of what they hold. Weak: who was dropped holds nothing any more.
local here = setmetatable({}, { __mode = "v" })

--- Says that something is held in this process, or, without a holder, no more.
---@param id string
---@param holder table?
function turns.note(id, holder)
  here[id] = holder
end

--- Lets others run for a step.
---@param sleep fun(seconds: number)
---@param seconds number
---@param id string? of what is waited for
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
