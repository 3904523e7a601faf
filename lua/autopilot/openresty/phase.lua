--- Whether a light thread can wait where it runs.
--
-- A call that cannot wait for its answer is not begun: it could end after the request was sent.

local ngx = require "ngx"

local phase = {}

-- Where ngx.sleep and cosockets may be used (their contexts in the documentation of lua-nginx-module and
-- stream-lua-nginx-module).
local waits_in = {}
local phases = "rewrite server_rewrite access content timer preread ssl_client_hello ssl_cert "
  .. "ssl_session_fetch"
for name in phases:gmatch "%S+" do
  waits_in[name] = true
end

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
