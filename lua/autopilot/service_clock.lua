--- How far the service's clock is ahead of ours, as far as its `Date` headers tell.
--
-- A `Date` has whole seconds and the answer travelled for a while, so one answer gives a range, not a
-- number; each further answer narrows it. Whoever compares a stamp of the service with a moment of
-- ours chooses the end of the range that cannot turn an open question into a claim.

---@class autopilot.ServiceClock
---@field lower number the service is at least so many seconds ahead
---@field upper number and at most so many; before any answer infinity either way
---@field learnt_at number when that was learnt last, our Unix time
---@field set_at number our Unix time when it was noticed that a clock had been set
local ServiceClock = {}
ServiceClock.__index = ServiceClock

-- The clock of a computer that nobody corrects gains or loses at most so much (some seconds a day).
local drift = 1e-4

-- No answer travels longer, in seconds.
local longest_trip = 120

---@return autopilot.ServiceClock
function ServiceClock.new()
  local clock = { lower = -math.huge, upper = math.huge, learnt_at = 0, set_at = -math.huge }
  return setmetatable(clock, ServiceClock)
end

--- The range for another moment than the one at which it was learnt.
local function range_at(self, moment)
  local slack = drift * (moment - self.learnt_at)
  if slack < 0 then
    slack = -slack
  end
  return self.lower - slack, self.upper + slack
end

--- Takes in a range that says more than what is known, or something else. Returns what is known then.
local function learn(self, lower, upper, received)
  if lower > upper then
    -- Our clock was set back meanwhile: only the time of receiving means anything now.
    upper, self.set_at = lower + 1 + longest_trip, received
  else
    local known_lower, known_upper = range_at(self, received)
    if lower <= known_upper and upper >= known_lower then
      lower = lower > known_lower and lower or known_lower
      upper = upper < known_upper and upper or known_upper
    else
      -- They exclude each other: a clock was set, and only the newest counts.
      self.set_at = received
    end
  end
  self.lower, self.upper, self.learnt_at = lower, upper, received
  return lower, upper
end

--- Learns from an answer.
---@param date number the `Date` header as Unix time (RFC 9110 section 6.6.1: whole seconds)
---@param sent number when the request was sent, our Unix time
---@param received number when the answer had come
---@return number earliest when the request was sent, on the service's clock, at the earliest
---@return number latest when the answer had come, on the service's clock, at the latest
function ServiceClock:observe(date, sent, received)
  -- The answer was made after we sent and before we received, in the second that `date` names.
  local lower, upper = date - received, date + 1 - sent
  local known_lower, known_upper = range_at(self, received)
  if lower <= known_lower and upper >= known_upper then
    lower, upper = known_lower, known_upper -- as most answers in the same second: nothing new
  else
    lower, upper = learn(self, lower, upper, received)
  end
  -- As `to_service` would say of the two moments.
  local from = sent < self.set_at and self.set_at or sent
  return from + lower - drift * (received - from), received + upper
end

--- Whether any answer told the service's time yet.
---@return boolean
function ServiceClock:is_known()
  return self.lower > -math.huge
end

--- A moment of ours on the service's clock: the earliest and the latest it can be. Without any
-- answer yet the clocks are taken to agree. A moment before a clock was set cannot be translated any
-- more; that moment stands in for it, which only the later can be proved of.
---@param moment number Unix time
---@return number earliest, number latest
function ServiceClock:to_service(moment)
  if not self:is_known() then
    return moment, moment
  end
  moment = math.max(moment, self.set_at)
  local lower, upper = range_at(self, moment)
  return moment + lower, moment + upper
end

--- A moment of the service on our clock: the earliest and the latest it can be.
---@param moment number Unix time
---@return number earliest, number latest
function ServiceClock:to_client(moment)
  if not self:is_known() then
    return moment, moment
  end
  return moment - self.upper, moment - self.lower
end

return ServiceClock
