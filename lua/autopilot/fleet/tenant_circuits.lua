--- A circuit for each tenant in its cloud: one whose requests all fail is asked less and less often, so
-- that nobody's retries and polls go on until the deadline in vain.
--
-- Only tenants that fail are kept, and not for longer than that matters.

local Circuit = require "autopilot.fleet.circuit"

---@class autopilot.fleet.TenantCircuits
local TenantCircuits = {}
TenantCircuits.__index = TenantCircuits

-- Failures in a row; seconds of the first pause and of the longest.
local threshold, pause, longest_pause = 5, 30, 300

-- So many are kept before those are dropped that say nothing any more.
local many = 1024

---@param tell fun(event_type: string, event: table)
---@return autopilot.fleet.TenantCircuits
function TenantCircuits.new(tell)
  return setmetatable({ tell = tell, circuits = {}, count = 0, swept_at = many }, TenantCircuits)
end

--- Whether a request for this tenant may be sent.
---@param key string
---@param clock number
---@return boolean
function TenantCircuits:allow(key, clock)
  local circuit = self.circuits[key]
  return circuit == nil or circuit:allows(clock)
end

local function sweep(self, clock)
  local kept = 0
  for key, circuit in pairs(self.circuits) do
    if clock - circuit.failed_at > longest_pause then
      self.circuits[key] = nil
    else
      kept = kept + 1
    end
  end
  self.count, self.swept_at = kept, math.max(many, 2 * kept)
end

---@param key string
---@param clock number
function TenantCircuits:failed(key, clock)
  local circuit = self.circuits[key]
  if not circuit then
    if self.count >= self.swept_at then
      sweep(self, clock)
    end
    circuit = Circuit.new(threshold, pause, longest_pause)
    self.circuits[key], self.count = circuit, self.count + 1
  end
  circuit.failed_at = clock
  if circuit:failed(clock) then
    self.tell("circuit_opened", { tenant = key, seconds = pause })
  end
end

---@param key string
function TenantCircuits:succeeded(key)
  if self.circuits[key] then
    self.circuits[key], self.count = nil, self.count - 1
  end
end

return TenantCircuits
