--- How far the service's clock is ahead of ours, as far as its `Date` headers tell.
--
-- A `Date` has whole seconds and the answer travels for a while, so one answer gives a range, not a number;
-- each further answer narrows it. Where a stamp of the service is compared with a moment of ours, that end
-- of the range is taken which cannot turn an open question into a claim.
--
-- The range is that of the monotonic clock, because Unix time may be set at any moment. Moments that are
-- known as Unix time only are translated as the two clocks were set at the last answer.

---@class autopilot.Since a moment, by both clocks of the client: its Unix time may be set meanwhile
---@field at number Unix time, as it was shown then
---@field clock number the same on the client's monotonic clock
---@field is_told boolean? the caller has told its Unix time, at which that clock may have been set otherwise

---@class autopilot.ServiceClock
---@field options { now: fun(): number, clock: fun(): number }
---@field lower number the service is at least so many seconds ahead of the monotonic clock
---@field upper number and at most so many; before any answer infinity either way
---@field learnt_at number when that was learnt last, on the monotonic clock
---@field ahead number? how far Unix time was ahead of the monotonic clock at the last answer
---@field set autopilot.Since? when it was noticed last that Unix time had been set
local ServiceClock = {}
ServiceClock.__index = ServiceClock

-- The clock of a computer that is not corrected gains or loses at most so much (some seconds a day).
local drift = 1e-4

-- Seconds by which Unix time and the monotonic clock may drift apart without one having been set.
local least_step = 1

---@param options { now: fun(): number, clock: fun(): number } our clocks: Unix seconds, monotonic seconds
---@return autopilot.ServiceClock
function ServiceClock.new(options)
  return setmetatable({
    options = options,
    lower = -math.huge,
    upper = math.huge,
    learnt_at = 0,
  }, ServiceClock)
end

--- The range for another moment than the one at which it was learnt.
local function range_at(self, clock)
  local slack = drift * math.abs(clock - self.learnt_at)
  return self.lower - slack, self.upper + slack
end

--- How far Unix time is ahead of the monotonic clock: at the last answer, else now.
local function unix_ahead(self)
  return self.ahead or self.options.now() - self.options.clock()
end

--- Learns from an answer.
---@param date number the `Date` header as Unix time (RFC 9110 section 6.6.1: whole seconds)
---@param elapsed number seconds from sending to receiving, measured by the monotonic clock
---@param received number when the answer had come, our Unix time
---@param clock number the same on our monotonic clock
---@return number earliest when the request was sent, on the service's clock, at the earliest
---@return number latest when the answer had come, on the service's clock, at the latest
function ServiceClock:observe(date, elapsed, received, clock)
  -- The answer was made after we sent and before we received, in the second that `date` names.
  local lower = date - clock
  local upper = lower + 1 + elapsed
  local known_lower, known_upper = range_at(self, clock)
  if lower <= known_upper and upper >= known_lower then
    lower, upper = math.max(lower, known_lower), math.min(upper, known_upper)
  end -- else the service's clock was set, and only the newest counts
  self.lower, self.upper, self.learnt_at = lower, upper, clock
  local ahead = received - clock
  if self.ahead and math.abs(ahead - self.ahead) > least_step then
    self.set = { at = received, clock = clock }
  end
  self.ahead = ahead
  return clock - elapsed + lower - drift * elapsed, clock + upper
end

--- Whether any answer told the service's time yet.
---@return boolean
function ServiceClock:is_known()
  return self.ahead ~= nil
end

--- A moment of ours on the service's clock: the earliest and the latest it can be. Without any answer yet
-- Unix time, as it is set now, is taken to agree with it.
--
-- A Unix time that the caller told before it was set cannot be translated any more; the moment when that
-- was noticed stands in for it, since less can be proved of a later moment.
---@param moment number Unix time, as it was shown then
---@param clock number? the same on our monotonic clock, if that was read
---@param is_told boolean? the caller told that Unix time
---@return number earliest, number latest
function ServiceClock:to_service(moment, clock, is_told)
  local ahead = unix_ahead(self)
  clock = clock or moment - ahead
  if not self:is_known() then
    return clock + ahead, clock + ahead
  end
  local set = self.set
  if is_told and set and math.abs(moment - clock - ahead) <= least_step then
    clock = math.max(clock, set.clock)
  end
  local lower, upper = range_at(self, clock)
  return clock + lower, clock + upper
end

--- A moment that the caller told, as the clocks are set now.
---@param moment number Unix time
---@return autopilot.Since
function ServiceClock:since(moment)
  local options = self.options
  moment = math.max(moment, self.set and self.set.at or moment)
  return { at = moment, clock = options.clock() - (options.now() - moment), is_told = true }
end

--- A moment of the service on our clock: the earliest and the latest it can be.
---@param moment number Unix time
---@return number earliest, number latest
function ServiceClock:to_client(moment)
  if not self:is_known() then
    return moment, moment
  end
  local ahead = unix_ahead(self)
  return moment - self.upper + ahead, moment - self.lower + ahead
end

return ServiceClock
