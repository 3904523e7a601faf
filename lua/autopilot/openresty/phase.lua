--- Whether a light thread can wait where it runs.
--
-- A call that cannot wait to its end is not begun: half of it would have been sent.

local ngx = require "ngx"

local phase = {}

-- Where ngx.sleep and cosockets may be used (their contexts in the documentation of lua-nginx-module and
-- stream-lua-nginx-module).
local waits_in = {
  rewrite = true,
  server_rewrite = true,
  access = true,
  content = true,
  timer = true,
  preread = true,
  ssl_client_hello = true,
  ssl_cert = true,
  ssl_session_fetch = true,
}

-- C functions that LuaJIT can yield through.
local lets_through = { [pcall] = true, [xpcall] = true }

--- Whether a C function that cannot be yielded through has called this code. LuaJIT's
-- coroutine.isyieldable would tell, but lua-nginx-module replaces `coroutine` by a table without it.
local function is_inside_c()
  local level = 3 -- above this function and its caller
  local frame = debug.getinfo(level, "Sf")
  while frame do
    if frame.what == "C" and not lets_through[frame.func] then
      return true
    end
    level = level + 1
    frame = debug.getinfo(level, "Sf")
  end
  return false
end

--- Nil where a light thread can wait, else a name for the obstacle and a sentence about it.
---@return ("PHASE"|"C_BOUNDARY")? name
---@return string? message
function phase.obstacle()
  local name = ngx.get_phase()
  if not waits_in[name] then
    return "PHASE",
      ("nothing can be waited for in the phase '%s': use ngx.timer.at"):format(tostring(name))
  elseif is_inside_c() then
    return "C_BOUNDARY",
      "nothing can be waited for inside a C function that calls Lua, like require or table.sort"
  end
end

return phase
