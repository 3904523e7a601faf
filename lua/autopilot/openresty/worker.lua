--- The drive of each nginx worker, which moves the transfers of all its clients: by a helper thread, so that name
-- look-ups, TLS and the reading of certificates happen outside the event loop; or else by `autopilot.openresty.polling`.
--
-- It is made when it is first needed, in the worker: nothing that was made before a fork is used after it.

local Driver = require "autopilot.openresty.driver"
local core = require "autopilot.core"
local curl = require "autopilot.transport.curl"
local ngx = require "ngx"
local phase = require "autopilot.openresty.phase"

local worker = {}

local wanted = "thread"
local current, current_process

-- When to try again to start a helper thread, which may have failed for lack of descriptors; nil: never.
local retry_at, retry_delay

-- Seconds. Trying costs a millisecond, in which nothing else runs.
local first_delay, longest_delay = 1, 300

-- Milliseconds. The helper thread sends a byte every half a second, unless it is busy.
local longest_silence = 86400000

--- Makes the function with which a stepper waits: for a byte over a unix-domain socket that only this process can
-- use. Without a connection, as for lack of descriptors or worker_connections, it waits for a few milliseconds.
local function pause_for(helper)
  local socket = ngx.socket.tcp()
  socket:settimeouts(1000, 1000, longest_silence)
  local path = helper:listen()
  local is_connected = path and socket:connect("unix:" .. path)
  local is_open = helper:accept() and is_connected -- also without a connection: the helper then listens no more
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

--- Starts a helper thread, if possible, and makes its drive the current one. Transfers that have begun are still polled.
local function try_thread()
  local helper, problem = nil, "this build has no helper thread"
  if core.transfer_thread then
    helper, problem = core.transfer_thread()
  end
  retry_delay = current and math.min(2 * retry_delay, longest_delay) or first_delay
  retry_at = not helper and core.transfer_thread and core.clock() + retry_delay or nil
  if helper and current then
    ngx.log(ngx.NOTICE, "autopilot: a helper thread moves the transfers from now on")
  elseif not helper and not current then
    ngx.log(ngx.WARN, "autopilot: ", problem, "; transfers are polled in the event loop")
  end
  current = helper and Driver.new(helper, pause_for) or current
end

--- Returns the drive of this worker process. The first call creates it.
---@return autopilot.openresty.Driver
function worker.driver()
  local process = core.process_id()
  if current_process ~= process then
    current, current_process = nil, process
  end
  if wanted == "thread" and (not current or retry_at and core.clock() >= retry_at) then
    try_thread()
  end
  current = current or require("autopilot.openresty.polling").new()
  return current
end

--- Chooses the drive for later transfers. The previous drive still finishes the transfers that it has begun.
---@param name "thread"|"polling"
function worker.use(name)
  if name ~= wanted then
    wanted, current = name, nil
  end
end

--- The drive of a client's transport: sends with the worker's drive, where a light thread can wait.
---@type autopilot.Drive
worker.drive = {
  run = function(_, prepared, attempt)
    local obstacle, message = phase.obstacle()
    if obstacle then
      return nil, curl.unsent(obstacle, message)
    end
    return worker.driver():run(prepared, attempt)
  end,
  close = function() end, -- the connections are the worker's, and other clients use them
}

--- A transport for light threads.
---@param given { http: table? }? as in the client's options
---@return autopilot.CurlTransport
function worker.transport(given)
  return curl.new { http = given and given.http, drive = worker.drive }
end

return worker
