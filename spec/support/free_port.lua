--- A port of loopback at which no process listens now. It is below the ports that systems give to outgoing
-- connections, one of which would else take it before a server does; and not one of the emulated service's.

local core = require "autopilot.core"
local socket = require "socket"

local lowest, highest = 10000, 19999

---@return integer
return function()
  local listener, port
  repeat
    port = lowest + math.floor(core.random() * (highest - lowest + 1))
    listener = socket.bind("127.0.0.1", port)
  until listener
  listener:close()
  return port
end
