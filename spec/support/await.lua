--- Waits for what other processes do.

local socket = require "socket"

-- Seconds; a spec that waits longer has failed. More under slow tools such as valgrind.
local patience = 60 * (tonumber(os.getenv "SPEC_PATIENCE") or 1)

--- Waits until something is true; raises when it does not become so.
---@param what string
---@param reached fun(): any
---@param seconds number? default: more than any spec takes
---@return any result of `reached`
return function(what, reached, seconds)
  local deadline = socket.gettime() + (seconds or patience)
  local result = reached()
  while not result do
    if socket.gettime() > deadline then
      error("it did not happen: " .. what, 2)
    end
    socket.select(nil, nil, 0.01)
    result = reached()
  end
  return result
end
