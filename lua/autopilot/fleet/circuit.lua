--- A circuit breaker: after some failures in a row requests are paused, and then tried one at a time.
--
-- It is pure: its methods count calls, and get the time as an argument. What a failure
-- is, and what happens to requests during a pause, is decided by its user.

---@class autopilot.fleet.Circuit
---@field opened_at number? when it opened; nil: it is closed, and requests may be sent
---@field retry_at number when the next request may be sent; -infinity while it is closed
local Circuit = {}
Circuit.__index = Circuit

---@param threshold integer failures in a row after which it opens
---@param first_pause number seconds before the first try; doubles with each try that fails
---@param longest number seconds of a pause at most
function Circuit.new(threshold, first_pause, longest)
  local self = { threshold = threshold, first_pause = first_pause, longest = longest }
  Circuit.succeeded(self)
  return setmetatable(self, Circuit)
end

--- Records a success, which closes it.
function Circuit:succeeded()
  self.failures, self.opened_at, self.retry_at = 0, nil, -math.huge
  self.pause = self.first_pause
end

--- Records a failure.
---@return boolean has_opened with this failure
function Circuit:failed(now)
  self.failures = self.failures + 1
  if self.opened_at then
    if now >= self.retry_at then -- else the request was sent before it opened
      self.pause = math.min(self.longest, self.pause * 2)
      self.retry_at = now + self.pause
    end
    return false
  elseif self.failures < self.threshold then
    return false
  end
  self.opened_at, self.retry_at = now, now + self.pause
  return true
end

return Circuit
