--- The drive that has a helper thread of the worker move the transfers, so that name look-ups, TLS and the
-- reading of certificates happen outside the event loop.
--
-- A light thread that waits has its own connection to the helper thread, over a unix-domain socket that
-- only this process can use. When the light thread is killed, or its client goes away, nginx closes that
-- connection, and the helper thread gives the transfer up.

local Connections = require "autopilot.openresty.connections"
local core = require "autopilot.core"
local curl = require "autopilot.transport.curl"
local merged = require "autopilot.base.merged"
local ngx = require "ngx"

---@class autopilot.openresty.ThreadDriver: autopilot.openresty.Driver
local Thread = {}
Thread.__index = Thread

-- Seconds. The helper thread itself ends a transfer in time, after a day at most. The socket's timeout is
-- only for the case that it fails to.
local grace_seconds, longest_seconds = 10, 86400

--- Starts a helper thread. Returns nil and the reason if the system does not allow it.
---@return autopilot.openresty.ThreadDriver?
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
  return setmetatable({ thread = thread, connections = Connections.new(thread:address()) }, Thread)
end

--- Why there is no answer, where the socket only tells that it was closed.
local function reason_of(problem, has_begun)
  if problem == "closed" and ngx.worker.exiting() then
    return "WORKER_SHUTDOWN",
      "nginx ended the worker before the answer came: worker_shutdown_timeout"
  elseif problem ~= "timeout" and not has_begun then
    return "HELPER_THREAD",
      "the helper thread took no further call: the worker has no descriptors left"
  end
  local message = problem or "it does not know the transfer"
  return "HELPER_THREAD", "the helper thread did not answer: " .. message
end

--- Sends one attempt and waits for its end.
function Thread:run(prepared, attempt)
  local thread, began = self.thread, core.clock()
  local seconds = math.min(attempt.total, longest_seconds)
  local socket, problem = self.connections:take(seconds, seconds + grace_seconds)
  if not socket then
    return nil, curl.unsent("WORKER_CONNECTION", problem)
  end
  local left = math.max(0.001, attempt.total - (core.clock() - began))
  local number = thread:submit(prepared, merged(attempt, { total = left }))
  local done
  done, problem = socket:send(("%d\n"):format(number))
  if done then
    done, problem = socket:receive(1)
  end
  local transfer = done and thread:claim(number)
  if transfer then
    self.connections:give_back(socket)
    return transfer:result()
  end
  -- Withdrawn while the connection is open: the thread may forget the transfer when it is closed.
  local has_begun = not thread:withdraw(number)
  local failure = curl.unsent(reason_of(problem, has_begun))
  if has_begun then
    failure.stage, failure.delivered, failure.sends = "receive", "unknown", 1
  end
  self.connections:close(socket)
  return nil, failure
end

return Thread
