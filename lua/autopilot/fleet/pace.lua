--- How many requests a host gets at a time: fewer when it throttles everybody, more as it recovers.
--
-- Additive increase, multiplicative decrease, as TCP's congestion avoidance (RFC 5681) has it. One
-- tenant that is throttled says nothing of the others; several at about the same time do. Pure: times
-- are told to it.

---@class autopilot.fleet.Pace
---@field limit number requests at a time; its whole part counts
---@field resume_at number? before which nothing new is sent
---@field package most integer
---@field package slowed_at number when it was last made slower
---@field package throttled table<any, number> tenants that were throttled lately, and when
---@field package throttled_count integer
---@field package part number of the latest answers that were throttled
local Pace = {}
Pace.__index = Pace

-- So many different tenants within so many seconds make it the service's matter, if they are so large a
-- part of the latest answers (a moving average): a few in a hundred are bad luck.
local several, window = 3, 10
local large_part, weight = 0.3, 1 / 16

-- Seconds: how long all wait where no Retry-After says, and at most.
local default_pause, longest_pause = 1, 180

-- 503 and its gateway kin say that a service is overloaded; any other 5xx is one request's bad luck.
local overloaded = { [429] = true, [502] = true, [503] = true, [504] = true }

---@param most integer requests at a time
---@return autopilot.fleet.Pace
function Pace.new(most)
  return setmetatable({
    most = most,
    limit = most,
    resume_at = nil,
    slowed_at = -math.huge,
    throttled = {},
    throttled_count = 0,
    part = 0,
  }, Pace)
end

--- Whether an answer may mean that the service has too much to do. A 429 without Retry-After is the
-- tenant's own cooldown.
---@param status integer
---@param retry_after number?
---@return boolean
function Pace.is_throttling(status, retry_after)
  return overloaded[status] == true and (status ~= 429 or retry_after ~= nil)
end

--- Learns of a request that was answered otherwise.
---@param sent_at number
function Pace:succeeded(sent_at)
  if self.part > 0 then
    self.part = self.part > 0.01 and self.part * (1 - weight) or 0
  end
  if self.limit < self.most and sent_at > self.slowed_at then
    self.limit = math.min(self.most, self.limit + 1 / math.max(1, self.limit))
  end
end

local function count_throttled(self, tenant, clock)
  for other, at in pairs(self.throttled) do
    if clock - at > window then
      self.throttled[other], self.throttled_count = nil, self.throttled_count - 1
    end
  end
  if not self.throttled[tenant] then
    self.throttled_count = self.throttled_count + 1
  end
  self.throttled[tenant] = clock
  return self.throttled_count
end

--- Learns of a tenant that was throttled.
---@param tenant any
---@param sent_at number
---@param clock number now
---@param retry_after number? seconds
---@return boolean slowed
function Pace:throttle(tenant, sent_at, clock, retry_after)
  if sent_at <= self.slowed_at then
    return false -- what was under way when it was made slower does not make it slower again
  end
  self.part = self.part * (1 - weight) + weight
  if count_throttled(self, tenant, clock) < several or self.part < large_part then
    return false
  end
  local pause = math.min(longest_pause, math.max(default_pause, retry_after or 0))
  self.limit = math.max(1, math.floor(self.limit / 2))
  self.slowed_at, self.resume_at = clock, clock + pause
  self.throttled, self.throttled_count, self.part = {}, 0, 0
  return true
end

--- Whether another request may be sent while so many are under way.
---@param under_way integer
---@param clock number
---@return boolean
function Pace:allows(under_way, clock)
  if self.resume_at then
    if clock < self.resume_at then
      return false
    end
    self.resume_at = nil
  end
  return under_way + 1 <= self.limit
end

return Pace
