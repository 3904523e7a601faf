--- The retry budget of a fleet: retries may be a share of what succeeds, and little more.
--
-- Where a few requests of many fail, all of these are retried. Where nearly all fail, retries would only
-- make that worse, and a trickle of them finds out when it is over. Has what a policy asks of a budget.

---@class autopilot.fleet.RetryShare: autopilot.RetryBudget
---@field tokens number
local RetryShare = {}
RetryShare.__index = RetryShare

-- For each success so many retries; and so many a second, whatever happens.
local share, trickle = 0.2, 0.2

---@param capacity number retries at once
---@return autopilot.fleet.RetryShare
function RetryShare.new(capacity)
  return setmetatable({ capacity = capacity, tokens = capacity, updated = nil }, RetryShare)
end

--- How many retries may be made at that time.
---@param clock number
---@return number
function RetryShare:available(clock)
  local passed = self.updated and math.max(0, clock - self.updated) or 0
  return math.min(self.capacity, self.tokens + passed * trickle)
end

--- Takes one for a retry.
---@param clock number
---@return boolean taken
function RetryShare:take(clock)
  local available = self:available(clock)
  self.tokens, self.updated = available, math.max(clock, self.updated or clock)
  if available < 1 then
    return false
  end
  self.tokens = available - 1
  return true
end

--- Learns of a request that succeeded.
function RetryShare:deposit()
  if self.tokens < self.capacity then
    self.tokens = math.min(self.capacity, self.tokens + share)
  end
end

return RetryShare
