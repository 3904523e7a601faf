--- `pcall` for functions of the user that may yield: providers, sleeps, event handlers.
--
-- From Lua 5.2 on and in LuaJIT a function may yield through `pcall`. In plain Lua 5.1 it may not;
-- there the function runs in a coroutine of its own, and its yields are passed on to whoever resumes us.

local function yields_through_pcall()
  local ok, first = coroutine.resume(coroutine.create(function()
    return pcall(coroutine.yield, "yielded")
  end))
  return ok and first == "yielded"
end

if yields_through_pcall() then
  return pcall
end

local function pass_on(thread, ok, ...)
  if not ok or coroutine.status(thread) == "dead" then
    return ok, ...
  end
  return pass_on(thread, coroutine.resume(thread, coroutine.yield(...)))
end

---@return boolean ok, any ... the results, or the error
return function(callable, ...)
  if not coroutine.running() then
    return pcall(callable, ...) -- nobody could take a yield: to try is the callable's own failure
  end
  local thread = coroutine.create(function(...)
    return callable(...)
  end)
  return pass_on(thread, coroutine.resume(thread, ...))
end
