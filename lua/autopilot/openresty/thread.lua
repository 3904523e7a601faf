--- Lets a helper thread of the worker move the transfers, so that name look-ups, TLS and the reading of
-- certificates happen outside the event loop.

local Driver = require "autopilot.openresty.driver"
local core = require "autopilot.core"
local ngx = require "ngx"

local thread = {}

-- Milliseconds. The helper thread sends a byte every half a second, unless it is busy.
local longest_silence = 86400000

--- Makes the function with which a stepper waits: for a byte over a unix-domain socket that only this process can
-- use. Without a connection, as for lack of descriptors or worker_connections, it waits for a few milliseconds.
local function pause_for(helper)
  local socket = ngx.socket.tcp()
  socket:settimeouts(1000, 1000, longest_silence)
  local is_open = socket:connect("unix:" .. helper:address()) and helper:accept()
  return function()
    local byte, problem
    if is_open then
      byte, problem = socket:receive(1)
      is_open = byte ~= nil
    else
      ngx.sleep(0.005)
    end
    return problem
  end
end

--- Starts a helper thread. Returns nil and the reason if the system does not allow it.
---@return autopilot.openresty.Driver?
---@return string? problem
---@return boolean? is_for_good whether another attempt would fail too
function thread.new()
  if not core.transfer_thread then
    return nil, "this build has no helper thread", true
  end
  local helper, problem = core.transfer_thread()
  return helper and Driver.new(helper, pause_for), problem
end

return thread
