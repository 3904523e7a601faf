--- Waits for transfers that a helper thread of the worker moves: nothing of them, neither TLS nor reading
-- certificates, happens in the event loop.
--
-- A light thread that waits has a connection of its own to the thread, over a unix-domain socket that
-- leads nowhere but into this process. If the light thread is killed, or its client goes away, nginx closes
-- that connection, and the thread gives the transfer up.

local core = require "autopilot.core"
local ngx = require "ngx"
local phase = require "autopilot.openresty.phase"

---@class autopilot.openresty.ThreadDriver
local Thread = {}
Thread.__index = Thread

local pool_size, idle_milliseconds = 64, 60000

-- The thread keeps the time of a transfer, which is a day at most. This only ends the wait if it ever
-- failed to.
local grace_seconds, longest_seconds = 10, 86400

--- Nil and why, where the system lets us have no such thread.
---@return autopilot.openresty.ThreadDriver?
---@return string? problem
---@return boolean? is_for_good that will not change
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
---@return any transfer a finished one; or nil and
---@return autopilot.NetworkFailure? failure
function Thread:run(prepared, connect, total, token, client_request_id, retry_attempt)
  local thread, socket = self.thread, ngx.socket.tcp()
  socket:settimeouts(1000, 1000, (math.min(total, longest_seconds) + grace_seconds) * 1000)
  local connected, problem = socket:connect(self.address)
  if not connected then
    return nil, phase.unsent("WORKER_CONNECTION", "the worker has no connection left: " .. problem)
  end
  local number = thread:submit(prepared, connect, total, token, client_request_id, retry_attempt)
  local done
  done, problem = socket:send(("%d\n"):format(number))
  if done then
    done, problem = socket:receive(1)
  end
  local transfer = done and thread:claim(number)
  if transfer then
    socket:setkeepalive(idle_milliseconds, pool_size)
    return transfer
  end
  local message = "the helper thread did not answer: "
    .. (problem or "it does not know the transfer")
  local failure = phase.unsent("HELPER_THREAD", message)
  if not thread:withdraw(number) then -- before the thread may forget it with its connection
    failure.stage, failure.delivered, failure.sends = "receive", "unknown", 1
  end
  socket:close()
  return nil, failure
end

--- Ends the thread and gives up all transfers.
function Thread:close()
  self.thread:close()
end

return Thread
