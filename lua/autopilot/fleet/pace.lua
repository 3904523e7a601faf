--- How many requests a host gets at a time: fewer when it throttles many tenants, more as it recovers.
--
-- Additive increase and multiplicative decrease, as in TCP's congestion avoidance (RFC 5681). One tenant
-- that is throttled does not slow the others down; several at about the same time do. It is pure: times
-- are passed to its methods.

---@class autopilot.fleet.Pace
---@field limit number requests at a time, rounded down
---@field resume_at number no request is sent before that time
local Pace = {}
Pace.__index = Pace

-- The limit is halved when `several` tenants are throttled within `window` seconds, and throttled answers
-- are a `large_part` of the latest: a few in a hundred are the tenants' own.
local several, window = 3, 10
local large_part, weight = 0.3, 1 / 16

-- Seconds for which no request is sent then: without a Retry-After, and at most.
local default_pause, longest_pause = 1, 180

-- Statuses of an overloaded service or gateway. Any other 5xx concerns one request.
local overloaded = { [429] = true, [502] = true, [503] = true, [504] = true }

---@param most integer requests at a time
function Pace.new(most)
  return setmetatable({
    most = most,
    limit = most,
    slowed_at = -math.huge, -- when the limit was last halved
    resume_at = -math.huge,
    throttled = {}, -- when each tenant was throttled
    part = 0, -- of the latest answers, those that were throttled: a moving average
  }, Pace)
end

--- Whether an answer may mean that the service is overloaded. A 429 without Retry-After is the tenant's own
-- cooldown.
function Pace.is_throttling(status, retry_after)
  return overloaded[status] == true and (status ~= 429 or retry_after ~= nil)
end

--- Records an answer that does not mean overload.
function Pace:succeeded(sent_at)
  self.part = self.part * (1 - weight)
  if self.limit < self.most and sent_at > self.slowed_at then
    self.limit = math.min(self.most, self.limit + 1 / math.max(1, self.limit))
  end
end

--- How many tenants were throttled in the last `window` seconds, with this one.
local function count_throttled(self, tenant, now)
  local count = 0
  self.throttled[tenant] = now
  for other, at in pairs(self.throttled) do
    if now - at > window then
      self.throttled[other] = nil
    else
      count = count + 1
    end
  end
  return count
end

--- Records that a tenant was throttled.
---@return boolean has_slowed the limit was halved
function Pace:throttle(tenant, sent_at, now, retry_after)
  if sent_at <= self.slowed_at then
    return false -- it was sent before the limit was last halved
  end
  self.part = self.part * (1 - weight) + weight
  if count_throttled(self, tenant, now) < several or self.part < large_part then
    return false
  end
  local pause = math.min(longest_pause, math.max(default_pause, retry_after or 0))
  self.limit = math.max(1, math.floor(self.limit / 2))
  self.slowed_at, self.resume_at = now, now + pause
  self.throttled, self.part = {}, 0
  return true
end

return Pace
