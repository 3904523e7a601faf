--- How far the service's clock is ahead of ours, as far as its `Date` headers tell.
--
-- A `Date` has whole seconds and the answer travelled for a while, so one answer gives a range, not a
-- number; each further answer narrows it. Whoever compares a stamp of the service with a moment of
-- ours chooses the end of the range that cannot turn an open question into a claim.
--
-- Our Unix time may be set at any moment, also while a request is under way. The answers show it, and our
-- monotonic clock tells by how much: a moment that was noted by both clocks can still be translated.

---@class autopilot.Since a moment, by both clocks of the client: its Unix time may be set meanwhile
---@field at number Unix time, as it was shown then
---@field clock number the same on the client's monotonic clock
---@field is_told boolean? the caller has told its Unix time, at which that clock may have been set otherwise

---@class autopilot.ServiceClock
---@field options { now: fun(): number, clock: fun(): number }
---@field lower number the service is at least so many seconds ahead
---@field upper number and at most so many; before any answer infinity either way
---@field learnt_at number when that was learnt last, our Unix time
---@field set_at number our Unix time when it was noticed that a clock had been set
---@field known_from number our monotonic clock then, or at the first answer: what was before is not told
---@field ahead number how far our Unix time was ahead of our monotonic clock at that moment
local ServiceClock = {}
ServiceClock.__index = ServiceClock

-- Of a clock that has learnt nothing: thousands of clients may never need their own.
ServiceClock.set_at, ServiceClock.known_from, ServiceClock.ahead = -math.huge, -math.huge, 0

-- The clock of a computer that nobody corrects gains or loses at most so much (some seconds a day).
local drift = 1e-4

-- Seconds by which our two clocks may drift apart without one having been set.
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
local function range_at(self, moment)
  local slack = drift * (moment - self.learnt_at)
  if slack < 0 then
    slack = -slack
  end
  return self.lower - slack, self.upper + slack
end

--- Takes in a range that says more than what is known, or something else. Returns what is known then.
local function learn(self, lower, upper, received, clock)
  local known_lower, known_upper = range_at(self, received)
  if lower <= known_upper and upper >= known_lower then
    if known_lower == -math.huge then
      self.known_from, self.ahead = clock, received - clock
    end
    lower = lower > known_lower and lower or known_lower
    upper = upper < known_upper and upper or known_upper
  else
    -- They exclude each other: a clock was set, and only the newest counts.
    self.set_at, self.known_from, self.ahead = received, clock, received - clock
  end
  self.lower, self.upper, self.learnt_at = lower, upper, received
  return lower, upper
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
  local lower = date - received
  local upper = lower + 1 + elapsed
  local known_lower, known_upper = range_at(self, received)
  if lower <= known_lower and upper >= known_upper then
    lower, upper = known_lower, known_upper -- as most answers in the same second: nothing new
  else
    lower, upper = learn(self, lower, upper, received, clock)
  end
  return received - elapsed + lower - drift * elapsed, received + upper
end

--- Whether any answer told the service's time yet.
---@return boolean
function ServiceClock:is_known()
  return self.lower > -math.huge
end

--- How far our Unix time is ahead of our monotonic clock now.
local function ahead_now(self)
  return self.options.now() - self.options.clock()
end

--- What our Unix time would have shown at a moment, had it been set then as it was when it was so far
-- ahead of our monotonic clock: what it did show, unless it was set in between.
local function as_shown(moment, clock, ahead)
  local step = clock + ahead - moment
  return (step > least_step or step < -least_step) and clock + ahead or moment
end

--- Whether our Unix time went on, since the service's time is known, as our monotonic clock did: else it
-- may have been set, and no answer has shown it yet.
---@param moment number Unix time
---@param clock number the same on our monotonic clock
---@return boolean
function ServiceClock:is_in_step(moment, clock)
  return self:is_known() and as_shown(moment, clock, self.ahead) == moment
end

--- A moment of ours on the service's clock: the earliest and the latest it can be. Without any
-- answer yet the clocks are taken to agree.
--
-- What another has told us the Unix time of, before a clock was set, cannot be translated any more; the
-- moment when that was noticed stands in for it, which only the later can be proved of.
---@param moment number Unix time, as it was shown then
---@param clock number? the same on our monotonic clock, if that was read; nil: a moment of just now
---@param is_told boolean? somebody else has read that Unix time, and nobody knows when
---@return number earliest, number latest
function ServiceClock:to_service(moment, clock, is_told)
  if not self:is_known() then
    moment = clock and as_shown(moment, clock, ahead_now(self)) or moment
    return moment, moment
  end
  if clock and clock < self.known_from then
    local shown = as_shown(moment, clock, self.ahead)
    moment = is_told and shown == moment and math.max(moment, self.set_at) or shown
  end
  local lower, upper = range_at(self, moment)
  return moment + lower, moment + upper
end

--- A moment that the caller means, as the clock goes now.
---@param moment number Unix time
---@return autopilot.Since
function ServiceClock:since(moment)
  local options = self.options
  moment = math.max(moment, self.set_at)
  return { at = moment, clock = options.clock() - (options.now() - moment), is_told = true }
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
