--- A circuit breaker: after so many failures in a row asking is paused, and then tried with one request.
--
-- Pure: it counts what it is told and answers, with the time that it is told. What a failure is, and
-- what the pause means for those who want to ask, is left to others.

---@class autopilot.fleet.Circuit
---@field failures integer in a row
---@field opened_at number? when it opened; nil: it is closed
---@field retry_at number? when the next request is let through, to try
---@field package threshold integer
---@field package pause number seconds
---@field package longest number seconds
local Circuit = {}
Circuit.__index = Circuit

---@param threshold integer failures in a row after which it opens
---@param pause number seconds before it is tried again; doubles with each try that fails
---@param longest number seconds
---@return autopilot.fleet.Circuit
function Circuit.new(threshold, pause, longest)
  return setmetatable({
    failures = 0,
    opened_at = nil,
    retry_at = nil,
    threshold = threshold,
    first_pause = pause,
    pause = pause,
    longest = longest,
  }, Circuit)
end

--- Whether a request may be sent: while it is open, one when the pause is over.
---@param clock number
---@return boolean
function Circuit:allows(clock)
  return not self.opened_at or clock >= self.retry_at
end

--- Learns that it works.
function Circuit:succeeded()
  self.failures, self.opened_at, self.retry_at = 0, nil, nil
  self.pause = self.first_pause
end

--- Learns of a failure.
---@param clock number when it was known
---@return boolean opened by this one
function Circuit:failed(clock)
  self.failures = self.failures + 1
  if self.opened_at then
    if clock >= self.retry_at then -- what was sent before it opened says nothing new
      self.pause = math.min(self.longest, self.pause * 2)
      self.retry_at = clock + self.pause
    end
    return false
  elseif self.failures < self.threshold then
    return false
  end
  self.opened_at, self.retry_at = clock, clock + self.pause
  return true
end

return Circuit
