--- How far the service's clock is ahead of ours, as far as its `Date` headers tell.
--
-- A `Date` has whole seconds and the answer travelled for a while, so one answer gives a range, not a
-- number; each further answer narrows it. Whoever compares a stamp of the service with a moment of
-- ours chooses the end of the range that cannot turn an open question into a claim.

---@class autopilot.ServiceClock
---@field lower number? the service is at least so many seconds ahead
---@field upper number? and at most so many
local ServiceClock = {}
ServiceClock.__index = ServiceClock

---@return autopilot.ServiceClock
function ServiceClock.new()
  return setmetatable({}, ServiceClock)
end

--- Learns from an answer.
---@param date number the `Date` header as Unix time (RFC 9110 section 6.6.1: whole seconds)
---@param sent number when the request was sent, our Unix time
---@param received number when the answer had come
function ServiceClock:observe(date, sent, received)
  -- The answer was made after we sent and before we received, in the second that `date` names.
  local lower, upper = date - received, date + 1 - sent
  local known = self.lower and lower <= self.upper and upper >= self.lower
  -- Ranges that exclude each other mean that a clock was set: only the newest counts then.
  self.lower = known and math.max(lower, self.lower) or lower
  self.upper = known and math.min(upper, self.upper) or upper
end

--- A moment of ours on the service's clock: the earliest and the latest it can be. Without any
-- answer yet the clocks are taken to agree.
---@param moment number Unix time
---@return number earliest, number latest
function ServiceClock:to_service(moment)
  return moment + (self.lower or 0), moment + (self.upper or 0)
end

--- A moment of the service on our clock: the earliest and the latest it can be.
---@param moment number Unix time
---@return number earliest, number latest
function ServiceClock:to_client(moment)
  return moment - (self.upper or 0), moment - (self.lower or 0)
end

return ServiceClock
