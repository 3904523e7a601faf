--- The drive that has a helper thread of the worker move the transfers, so that name look-ups, TLS and the
-- reading of certificates happen outside the event loop.
--
-- A light thread that waits has its own connection to the helper thread, over a unix-domain socket that
-- only this process can use. When the light thread is killed, or its client goes away, nginx closes that
-- connection, and the helper thread gives the transfer up.

local core = require "autopilot.core"
local curl = require "autopilot.transport.curl"
local ngx = require "ngx"

---@class autopilot.openresty.ThreadDriver: autopilot.Drive
local Thread = {}
Thread.__index = Thread

local pool_size, idle_milliseconds = 64, 60000

-- Seconds. The helper thread itself ends a transfer in time, after a day at most. The socket's timeout is
-- only for the case that it fails to.
local grace_seconds, longest_seconds = 10, 86400

--- Nil and the reason, if the system does not allow the thread.
---@return autopilot.openresty.ThreadDriver?
---@return string? problem
---@return boolean? is_for_good whether that will not change
function Thread.new()
  if not core.transfer_thread then
    return nil, "this build has no helper thread", true
  end
  local thread, problem = core.transfer_thread()
  if not thread then
    return nil, problem
  end
  return setmetatable({ thread = thread, address = "unix:" .. thread:address() }, Thread)
end

--- Sends one attempt and waits for its end.
function Thread:run(prepared, attempt)
  local thread, socket = self.thread, ngx.socket.tcp()
  local seconds = math.min(attempt.total, longest_seconds) + grace_seconds
  socket:settimeouts(1000, 1000, seconds * 1000)
  local connected, problem = socket:connect(self.address)
  if not connected then
    return nil, curl.unsent("WORKER_CONNECTION", "the worker has no connection left: " .. problem)
  end
  local number = thread:submit(prepared, attempt)
  local done
  done, problem = socket:send(("%d\n"):format(number))
  if done then
    done, problem = socket:receive(1)
  end
  local transfer = done and thread:claim(number)
  if transfer then
    socket:setkeepalive(idle_milliseconds, pool_size)
    return transfer:result()
  end
  local message = "the helper thread did not answer: "
    .. (problem or "it does not know the transfer")
  local failure = curl.unsent("HELPER_THREAD", message)
  -- Withdrawn while the connection is open: the thread may forget the transfer when it is closed.
  if not thread:withdraw(number) then
    failure.stage, failure.delivered, failure.sends = "receive", "unknown", 1
  end
  socket:close()
  return nil, failure
end

--- Ends the helper thread and gives up all transfers.
function Thread:close()
  self.thread:close()
end

return Thread
