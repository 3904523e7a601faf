--- A token bucket: how many retries many clients may make together.
--
-- When a service is down, every client retries, and the retries alone can keep it down. With a shared budget
-- each retry takes a token, and tokens come back slowly. A budget has no clock: its users pass the time, and
-- all users of a budget must read the same clock.

local options = require "autopilot.base.options"

---@class autopilot.RetryBudget
---@field package tokens number as of `updated`
---@field package updated number? reading of the clock; nil until the first token is taken
local Budget = {}
Budget.__index = Budget

local rules = {
  capacity = { type = "number", required = true, min = 1 },
  refill = { type = "number", required = true, min = 0 },
}

--- How many tokens there are at that time. Changes nothing.
---@param clock number seconds
---@return number
function Budget:available(clock)
  local passed = self.updated and math.max(0, clock - self.updated) or 0
  return math.min(self.capacity, self.tokens + passed * self.refill)
end

--- Takes one token for one retry.
---@param clock number seconds
---@return boolean taken false when there is no whole token; nothing is taken then
function Budget:take(clock)
  local available = self:available(clock)
  if available < 1 then
    return false
  end
  self.tokens = available - 1
  -- The clock may go backwards: the same seconds must not count twice.
  self.updated = math.max(clock, self.updated or clock)
  return true
end

--- Adds tokens, such as a share of a token for each request that succeeded. Never above the capacity.
---@param tokens number
function Budget:deposit(tokens)
  self.tokens = math.min(self.capacity, self.tokens + tokens)
end

local budget = {}

--- Makes a budget, full at first: `capacity` retries at once, then `refill` a second.
---@param given {capacity: number, refill: number} tokens, at least 1; tokens a second, at least 0
---@param level integer? as for `error`; default 1, the caller of this function
---@return autopilot.RetryBudget
function budget.new(given, level)
  local checked = options.check("autopilot.retry.budget", rules, given, (level or 1) + 1)
  checked.tokens = checked.capacity
  return setmetatable(checked, Budget)
end

return budget
