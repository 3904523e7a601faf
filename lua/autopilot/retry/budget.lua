--- A token bucket: how many retries many clients may make together.
--
-- When a service is down, every client retries, and the retries alone keep it down. A shared budget
-- ends that: each retry takes a token, and tokens come back slowly. It holds no clock; whoever asks
-- says what time it is, so all who share a budget must pass readings of the same clock.

local options = require "autopilot.base.options"

---@class autopilot.RetryBudget
---@field package capacity number
---@field package refill number
---@field package tokens number as of `updated`
---@field package updated number? reading of the clock; nil until the first token is taken
local Budget = {}
Budget.__index = Budget

local rules = {
  capacity = { type = "number", required = true, min = 1 },
  refill = { type = "number", required = true, min = 0 },
}

--- How many tokens there are at that time. Changes nothing.
---@param clock number seconds, of the clock that all users of this budget read
---@return number
function Budget:available(clock)
  local passed = self.updated and math.max(0, clock - self.updated) or 0
  return math.min(self.capacity, self.tokens + passed * self.refill)
end

--- Takes one token for one retry.
---@param clock number seconds, of the clock that all users of this budget read
---@return boolean taken false when there is no whole token; nothing is taken then
function Budget:take(clock)
  local available = self:available(clock)
  if available < 1 then
    return false
  end
  self.tokens = available - 1
  -- A reading from before the last one must not make the same seconds count twice.
  self.updated = math.max(clock, self.updated or clock)
  return true
end

local budget = {}

--- Makes a budget, full at first: `capacity` retries at once, then `refill` a second.
---@param given {capacity: number, refill: number} tokens, at least 1; tokens a second, at least 0
---@param level integer as for `error`, counted from the caller of this function
---@return autopilot.RetryBudget
function budget.new(given, level)
  local checked = options.check("autopilot.retry.budget", rules, given, level + 1)
  checked.tokens = checked.capacity
  return setmetatable(checked, Budget)
end

return budget
