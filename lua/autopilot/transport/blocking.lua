--- Drives transfers by waiting for each one: nothing else in this thread runs meanwhile.
--
-- A drive moves the transfers of an `autopilot.CurlTransport`. It has `run`, which sends a prepared
-- request and returns what came of it, and `close`. The others are the fleet's and the two of OpenResty.

local core = require "autopilot.core"

---@class autopilot.Drive
---@field run fun(self, prepared: any, attempt: autopilot.Attempt, request: autopilot.HttpRequest): autopilot.HttpResponse?, autopilot.NetworkFailure?
---@field close fun(self) gives up all transfers and closes the connections that are its own

---@class autopilot.BlockingDrive: autopilot.Drive
---@field package set any? its transfer set, and with it the connections
---@field package process integer? the process that made the set
local Blocking = {}
Blocking.__index = Blocking

--- The failure of a request for which there is no transfer set: newer libcurls (seen with 8.21)
-- need descriptors for one.
local function unsent(message)
  return {
    stage = "connect",
    name = "CURLE_FAILED_INIT",
    message = message,
    timeout = false,
    delivered = "no",
    sends = 0,
  }
end

---@return autopilot.BlockingDrive
function Blocking.new()
  return setmetatable({}, Blocking)
end

--- Waits until the transfer has finished, in steps short enough for an interrupt to be noticed.
function Blocking.wait(set, transfer)
  while not set:wait(transfer, 0.5) do
  end
end

function Blocking:run(prepared, attempt)
  local process = core.process_id()
  if not self.set or self.process ~= process then -- sockets from before a fork are not used after it
    local is_made, set = pcall(core.transfer_set)
    if not is_made then
      return nil, unsent(set)
    end
    self.set, self.process = set, process
  end
  local set = self.set
  set:take() -- drops a transfer whose wait was ended by an error, as an interrupt is one
  local transfer = set:add(prepared, attempt)
  self.wait(set, transfer)
  return transfer:result()
end

--- Closes all connections. The drive may be used again; it then opens new ones.
function Blocking:close()
  local set = self.set
  self.set = nil
  if set and self.process == core.process_id() then
    set:close()
  end
end

return Blocking
