--- `pcall` for functions of the user that may yield: providers, sleeps, event handlers.
--
-- From Lua 5.2 on and in LuaJIT a function may yield through `pcall`. In plain Lua 5.1 it may not;
-- there the function runs in its own coroutine, and its yields are passed on to the outer coroutine.
--
-- The error of Ctrl-C is raised again, because it is not a failure of the function that was running.

local is_interrupt = require "autopilot.base.interrupt"

local function caught(ok, ...)
  if not ok and is_interrupt((...)) then
    error((...), 0)
  end
  return ok, ...
end

-- Decided by the interpreter's version and not by a trial, because a module may be loaded where no code can
-- yield.
if _VERSION ~= "Lua 5.1" or rawget(_G, "jit") then
  ---@return boolean ok, any ... the results, or the error
  return function(callable, ...)
    return caught(pcall(callable, ...))
  end
end

--- Passes the yields of the inner coroutine on to the outer one until the inner one has ended.
local function pass_on(thread, ok, ...)
  if not ok or coroutine.status(thread) == "dead" then
    return caught(ok, ...)
  end
  return pass_on(thread, coroutine.resume(thread, coroutine.yield(...)))
end

---@return boolean ok, any ... the results, or the error
return function(callable, ...)
  if not coroutine.running() then
    return caught(pcall(callable, ...)) -- outside a coroutine a yield is an error of the callable
  end
  local thread = coroutine.create(function(...)
    return callable(...)
  end)
  return pass_on(thread, coroutine.resume(thread, ...))
end
