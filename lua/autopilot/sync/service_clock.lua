--- The clocks of a client. Inside the library a moment is a number of seconds on the client's steady clock
-- (its option `clock`), which cannot be set. This module translates moments to and from the service's
-- clock, as far as its `Date` headers show it, and to and from Unix time, which options, reports and
-- stores use.
--
-- A `Date` has whole seconds and the answer travels for a while, so one answer gives a range, which further ones
-- narrow. A comparison uses that end of the range with which an uncertain case proves nothing.

---@class autopilot.ServiceClock
---@field package lower number? the service is at least so many seconds ahead of the steady clock; nil before any answer
---@field package upper number? and at most so many
---@field package learnt_at number? when that was learnt last
---@field package ahead number how far Unix time was ahead of the steady clock when it was read last
---@field package ahead_before number the same before Unix time was set last
---@field package set_at number when it was noticed last that Unix time had been set
local ServiceClock = {}
ServiceClock.__index = ServiceClock

-- The clock of a computer that is not corrected gains or loses at most so much (some seconds a day).
local drift = 1e-4

-- Seconds by which Unix time and the steady clock may drift apart without one having been set.
local least_step = 1

--- How far Unix time is ahead of the steady clock. Unix time is read first: what passes between the two
-- readings makes a moment earlier, never later.
local function unix_ahead(options)
  local now = options.now()
  return now - options.clock()
end

---@param options { now: fun(): number, clock: fun(): number } our clocks: Unix seconds, steady seconds
---@return autopilot.ServiceClock
function ServiceClock.new(options)
  local ahead = unix_ahead(options)
  local self = { options = options, ahead = ahead, ahead_before = ahead, set_at = -math.huge }
  return setmetatable(self, ServiceClock)
end

-- ---- Unix time ---------------------------------------------------------------------------------------

--- Converts a moment to Unix time, by the present setting of the clock.
function ServiceClock:to_unix(moment)
  return moment + unix_ahead(self.options)
end

--- Converts a Unix time to a moment: the earliest and the latest possible. They differ if Unix time has been
-- set, because the Unix time may be from before or after that.
---@param seconds number Unix time
---@return number earliest, number latest
function ServiceClock:of_unix(seconds)
  local ahead = unix_ahead(self.options)
  if math.abs(ahead - self.ahead) > least_step then
    self.ahead_before, self.set_at = self.ahead, self.options.clock()
  end
  self.ahead = ahead
  local moment = seconds - ahead
  if moment >= self.set_at then
    return moment, moment
  end
  local before = math.min(seconds - self.ahead_before, self.set_at)
  return math.min(moment, before), math.max(moment, before)
end

-- ---- The service's clock -----------------------------------------------------------------------------

--- How far the service's clock was ahead of ours at a moment: at least, and at most. Without any answer yet
-- Unix time, as it is set now, is taken to agree with it.
local function range_at(self, moment)
  if not self.learnt_at then
    local ahead = unix_ahead(self.options)
    return ahead, ahead
  end
  local slack = drift * math.abs(moment - self.learnt_at)
  return self.lower - slack, self.upper + slack
end

--- Narrows the range by an answer.
---@param date number the `Date` header as Unix time (RFC 9110 section 6.6.1: whole seconds)
---@param elapsed number seconds from sending to receiving
---@param received number when the answer had come
---@return number earliest when the request was sent, on the service's clock, at the earliest
---@return number latest when the answer had come, on the service's clock, at the latest
function ServiceClock:observe(date, elapsed, received)
  -- The answer was made after we sent and before we received, in the second that `date` names.
  local lower = date - received
  local upper = lower + 1 + elapsed
  if self.learnt_at then
    local known_lower, known_upper = range_at(self, received)
    if lower <= known_upper and upper >= known_lower then
      lower, upper = math.max(lower, known_lower), math.min(upper, known_upper)
    end -- else the service's clock was set, and only the newest counts
  end
  self.lower, self.upper, self.learnt_at = lower, upper, received
  return received - elapsed + lower - drift * elapsed, received + upper
end

--- Whether any answer has had a service time yet.
function ServiceClock:is_known()
  return self.learnt_at ~= nil
end

--- Converts a moment to the service's clock: the earliest and the latest possible time.
---@return number earliest, number latest Unix time
function ServiceClock:to_service(moment)
  local lower, upper = range_at(self, moment)
  return moment + lower, moment + upper
end

--- Converts a time of the service's clock to a moment: the earliest and the latest possible.
---@return number earliest, number latest
function ServiceClock:of_service(seconds)
  local lower, upper = range_at(self, self.learnt_at)
  return seconds - upper, seconds - lower
end

return ServiceClock
