--- Has a helper thread of the worker move the transfers, so that name look-ups, TLS and the reading of
-- certificates happen outside the event loop.

local core = require "autopilot.core"
local ngx = require "ngx"

---@class autopilot.openresty.ThreadMover: autopilot.openresty.Mover
local Thread = {}
Thread.__index = Thread

--- Starts a helper thread. Returns nil and the reason if the system does not allow it.
---@return autopilot.openresty.ThreadMover?
---@return string? problem
---@return boolean? is_for_good whether another attempt would fail too
function Thread.new()
  if not core.transfer_thread then
    return nil, "this build has no helper thread", true
  end
  local thread, problem = core.transfer_thread()
  if not thread then
    return nil, problem
  end
  return setmetatable({ thread = thread }, Thread)
end

function Thread:add(prepared, attempt)
  return self.thread:add(prepared, attempt)
end

function Thread:take()
  return self.thread:take()
end

function Thread:discard(number)
  return self.thread:discard(number)
end

-- Milliseconds. The helper thread sends a byte every half a second, unless it is busy.
local longest_silence = 86400000

--- Waits at a unix-domain socket that only this process can use. Without a connection, as for lack of descriptors
-- or worker_connections, it looks every few milliseconds.
function Thread:pause()
  local socket = ngx.socket.tcp()
  socket:settimeouts(1000, 1000, longest_silence)
  local is_open = socket:connect("unix:" .. self.thread:address()) and self.thread:accept()
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

return Thread
