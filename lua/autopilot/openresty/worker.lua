--- The drive of each nginx worker, which moves the transfers of all its clients.
--
-- It is made when it is first needed, in the worker: nothing that was made before a fork is used after it.

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

--- Starts a helper thread, if possible, and makes it the current drive. Transfers that have begun are still polled.
local function try_thread()
  local driver, problem, is_for_good = require("autopilot.openresty.thread").new()
  retry_delay = current and math.min(2 * retry_delay, longest_delay) or first_delay
  retry_at = not driver and not is_for_good and core.clock() + retry_delay or nil
  if driver and current then
    ngx.log(ngx.NOTICE, "autopilot: a helper thread moves the transfers from now on")
  elseif not driver and not current then
    ngx.log(ngx.WARN, "autopilot: ", problem, "; transfers are polled in the event loop")
  end
  current = driver or current
end

--- Returns the drive of this worker process. The first call creates it.
---@return autopilot.openresty.Driver
function worker.driver()
  local process = core.process_id()
  if current_process ~= process then
    current, current_process, retry_at = nil, process, nil
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
    wanted, current, current_process = name, nil, nil
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
