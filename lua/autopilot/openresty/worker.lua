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

local function make()
  if wanted == "thread" then
    local driver, problem = require("autopilot.openresty.thread").new()
    if driver then
      return driver
    end
    ngx.log(ngx.WARN, "autopilot: ", problem, "; transfers are polled in the event loop")
  end
  return require("autopilot.openresty.polling").new()
end

--- This worker's driver.
---@return autopilot.openresty.Driver
function worker.driver()
  local process = core.process_id()
  if current_process ~= process then
    current, current_process = make(), process
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
