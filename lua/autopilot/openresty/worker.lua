--- What one nginx worker has once: the driver that moves the transfers of all its clients.
--
-- It is made when it is first needed, in the worker: nothing that was made before a fork is used after it.

local core = require "autopilot.core"
local ngx = require "ngx"

local worker = {}

---@class autopilot.openresty.Driver
---@field run function sends one attempt and waits: a finished transfer, or nil and a network failure
---@field close function gives up all transfers

local wanted = "thread"
local current, current_process

-- When a thread is tried again where there was none for it, as when descriptors ran out; nil: never.
local retry_at, retry_delay

-- Seconds. Trying costs a millisecond, in which nothing else runs.
local first_delay, longest_delay = 1, 300

--- A driver with a thread of its own, or nil and why there is none now.
local function try_thread()
  local driver, problem, is_for_good = require("autopilot.openresty.thread").new()
  if driver or is_for_good then
    retry_at = nil
  else
    retry_delay = retry_at and math.min(2 * retry_delay, longest_delay) or first_delay
    retry_at = core.clock() + retry_delay
  end
  return driver, problem
end

local function make()
  retry_at = nil
  if wanted == "thread" then
    local driver, problem = try_thread()
    if driver then
      return driver
    end
    ngx.log(ngx.WARN, "autopilot: ", problem, "; transfers are polled in the event loop")
  end
  return require("autopilot.openresty.polling").new()
end

--- Goes on with a thread once there can be one. What is polled already is polled to its end.
local function try_again()
  local driver = try_thread()
  if driver then
    current = driver
    ngx.log(ngx.NOTICE, "autopilot: a helper thread moves the transfers from now on")
  end
end

--- This worker's driver.
---@return autopilot.openresty.Driver
function worker.driver()
  local process = core.process_id()
  if current_process ~= process then
    current, current_process = make(), process
  elseif retry_at and core.clock() >= retry_at then
    try_again()
  end
  return current
end

--- Says which driver workers are to use from now on. One that is in use ends with its last transfer.
---@param name "thread"|"polling"
function worker.use(name)
  if name ~= wanted then
    wanted, current, current_process = name, nil, nil
  end
end

return worker
