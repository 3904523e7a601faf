--- Whether a light thread can wait where it runs. Where there are none, loading this module fails.
--
-- A call that cannot wait for its answer is not begun: it could end after the request was sent.

local is_loaded, ngx = pcall(require, "ngx")
if not is_loaded then
  local is_nginx = rawget(_G, "ngx") -- in ngx.run_worker_thread, which has few of nginx's functions
  local why = is_nginx and "ngx.run_worker_thread has no light threads" or "this is not nginx"
  -- Otherwise LuaJIT would report a loop at the next attempt.
  package.loaded["autopilot.openresty"], package.loaded["autopilot.openresty.phase"] = nil, nil
  error("autopilot.openresty cannot be used here: " .. why .. "; 'autopilot' can", 0)
end

local phase = {}

-- Where ngx.sleep and cosockets may be used: NGX_HTTP_LUA_CONTEXT_YIELDABLE in lua-nginx-module, by the names
-- of ngx.get_phase; `preread` is of stream-lua-nginx-module.
local waits_in = " rewrite server_rewrite access precontent content timer preread ssl_client_hello "
  .. "ssl_cert ssl_session_fetch proxy_ssl_cert proxy_ssl_verify "

-- C functions that LuaJIT can yield through.
local lets_through = { [pcall] = true, [xpcall] = true }

--- Whether a C function that cannot be yielded through has called this code. LuaJIT's
-- coroutine.isyieldable would tell, but lua-nginx-module replaces `coroutine` by a table without it.
local function is_inside_c()
  for level = 3, math.huge do -- above this function and its caller
    local frame = debug.getinfo(level, "Sf")
    if not frame or (frame.what == "C" and not lets_through[frame.func]) then
      return frame ~= nil
    end
  end
end

--- Nil if a light thread can wait, else a name for the obstacle and a sentence about it.
---@return ("PHASE"|"C_BOUNDARY")? name
---@return string? message
function phase.obstacle()
  local name = ngx.get_phase()
  if not waits_in:find((" %s "):format(name), 1, true) then
    return "PHASE", ("nothing can be waited for in the phase '%s': use ngx.timer.at"):format(name)
  elseif is_inside_c() then
    return "C_BOUNDARY",
      "nothing can be waited for inside a C function that calls Lua, like require or table.sort"
  end
end

return phase
