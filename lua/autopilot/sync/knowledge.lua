--- What a client knows of its tenant: the latest sync, until when requests are refused, and what the record
-- showed. From this it predicts whether the service would refuse another request.
--
-- Times are on the client's steady clock, unless they are marked as the service's.

---@class autopilot.SyncFact a known sync
---@field triggered_at number the latest time at which it can have been triggered
---@field earliest number? earliest possible trigger time, the service's clock; nil if only a refusal shows the sync
---@field latest number? latest possible trigger time, the service's clock
---@field stored table? the texts of these times in the shared store, if another client has written them

---@class autopilot.TenantMemory
---@field newest_trigger number? the latest known trigger time; the service's clock
---@field started_at number? when the request that started this client's last sync was sent
---@field own_earliest number? earliest possible trigger time of that sync; the service's clock
---@field own_latest number? latest possible trigger time of that sync
---@field known autopilot.SyncFact? the latest sync, triggered by any client
---@field held_until number when the latest Retry-After ends
---@field held_as autopilot.Outcome? the outcome of the answer with that Retry-After
---@field completed_trigger number the latest trigger whose sync a record showed as completed; the service's clock
---@field failed_trigger number the latest trigger whose sync a record showed as failed; the service's clock
---@field cooldown number seconds: as configured, or as learnt from the service's answers
---@field learned { cooldown: number, before: number }? a change of `cooldown` that no report contains yet
---@field was_shorter boolean? a shorter cooldown was learnt, and turned out to be too short
---@field stuck_trigger number? the trigger of the sync that an event `stuck` was about; the service's clock
---@field refused_at number? when the last refusal without Retry-After came
local TenantMemory = {
  held_until = -math.huge,
  completed_trigger = -math.huge,
  failed_trigger = -math.huge,
}
TenantMemory.__index = TenantMemory

---@param options { cooldown: number, cooldown_margin: number } seconds; cooldown 0: only Retry-After counts
---@param service_clock autopilot.ServiceClock
---@return autopilot.TenantMemory
function TenantMemory.new(options, service_clock)
  local self = { options = options, cooldown = options.cooldown, service_clock = service_clock }
  return setmetatable(self, TenantMemory)
end

--- The seconds that must pass between two syncs: cooldown and margin.
local function interval_of(self)
  return self.cooldown + self.options.cooldown_margin
end

--- Remembers a sync, unless a later one is known.
function TenantMemory:note_sync(fact)
  if not self.known or fact.triggered_at > self.known.triggered_at then
    self.known = fact
  end
end

--- Remembers a trigger time, on the service's clock, that a record or an answer shows.
function TenantMemory:note_trigger(trigger)
  self.newest_trigger = math.max(trigger, self.newest_trigger or trigger)
end

--- Remembers a sync that this client started, as the service's answer or a record shows.
---@param sent_at number when its request was sent
---@param accepted_at number? when the answer came; nil if a record shows the sync: `record.note` sets the end of its cooldown
---@param earliest number? earliest possible trigger time, the service's clock
---@param latest number? latest possible trigger time; default for both: computed from the other two arguments
function TenantMemory:note_started(sent_at, accepted_at, earliest, latest)
  if not earliest then
    earliest = self.service_clock:to_service(sent_at)
    local _
    _, latest = self.service_clock:to_service(accepted_at)
  end
  self:note_trigger(latest)
  self.started_at, self.own_earliest, self.own_latest = sent_at, earliest, latest
  if accepted_at then
    self:note_sync { triggered_at = accepted_at, earliest = earliest, latest = latest }
  end
end

--- Whether a trigger time, on the service's clock, may be that of the last sync which this client started.
function TenantMemory:may_have_started(trigger)
  return self.own_earliest ~= nil and trigger >= self.own_earliest and trigger <= self.own_latest
end

--- Remembers a refusal of the service.
---@param seconds number? its Retry-After
function TenantMemory:note_refused(outcome, seconds, received_at)
  if seconds and received_at + seconds > self.held_until then
    self.held_until, self.held_as = received_at + seconds, outcome
  elseif not seconds and outcome == "cooldown" then
    self.refused_at = math.max(received_at, self.refused_at or received_at)
  end
end

--- When the cooldown of the latest known sync ends; -infinity if no sync is known.
function TenantMemory:known_end()
  return self.known and self.known.triggered_at + interval_of(self) or -math.huge
end

--- The latest sync as far as the client knows. If the service refused a request without Retry-After, and no sync that
-- the client knows explains it, another client must have started one: it is taken to be as late as the refusal.
---@return autopilot.SyncFact?
function TenantMemory:latest_fact()
  local refused_at = self.refused_at
  if refused_at and refused_at >= self:known_end() then
    return { triggered_at = refused_at }
  end
  return self.known
end

--- Seconds until the cooldown ends; nil if it is over, or no cooldown is known.
function TenantMemory:cooldown_left(now)
  local fact, interval = self:latest_fact(), interval_of(self)
  local left = fact and self.cooldown > 0 and fact.triggered_at + interval - now or 0
  -- A trigger time in the future comes from wrong clocks: it must not lengthen the cooldown.
  return left > 0 and math.min(left, interval) or nil
end

--- When the cooldown of the latest sync ends or has ended; nil if no sync is known.
---@return number? seconds the service's clock
function TenantMemory:cooldown_until()
  local fact = self.cooldown > 0 and self:latest_fact()
  local latest = fact
    and (fact.latest or select(2, self.service_clock:to_service(fact.triggered_at)))
  return latest and latest + interval_of(self) or nil
end

-- ---- Learning a cooldown other than the configured one ------------------------------------------------

--- Changes the cooldown, and keeps the change for the next report.
local function learn(self, seconds)
  self.learned = { cooldown = seconds, before = self.cooldown }
  self.cooldown = seconds
end

--- Shortens the cooldown if the service has accepted a request before its end.
function TenantMemory:learn_from_start(sent_at, accepted_at)
  local known, clock = self.known, self.service_clock
  local is_comparable = known and known.earliest and self.newest_trigger and clock:is_known()
  if self.cooldown == 0 or self.was_shorter or not is_comparable then
    return
  end
  -- What is known may be the new sync itself, which a record showed before the answer came.
  local is_earlier = math.max(known.latest, self.newest_trigger) < clock:to_service(sent_at)
  local triggered_at = clock:of_service(math.min(known.earliest, self.newest_trigger))
  local seconds = math.max(1, math.ceil(accepted_at - triggered_at))
  if is_earlier and seconds < self.cooldown then
    learn(self, seconds)
  end
end

--- Returns to the configured cooldown if the service has refused a request, without Retry-After, after a shorter
-- cooldown had ended. A cooldown longer than the configured one is never learnt: such a refusal may also come from
-- another client's sync, or from an earlier refusal that started the cooldown again.
function TenantMemory:learn_from_refusal(sent_at)
  if self.cooldown < self.options.cooldown and self:known_end() <= sent_at then
    self.was_shorter = true
    learn(self, self.options.cooldown)
  end
end

--- Seconds until the latest Retry-After ends, before which nothing may be sent; nil if it is over.
function TenantMemory:held_for(now)
  return self.held_until > now and self.held_until - now or nil
end

--- Returns the outcome with which the service would refuse a sync request now, and for how many seconds; nil if it
-- would not refuse it.
---@return autopilot.Outcome? outcome
---@return number? seconds
function TenantMemory:refusal(now)
  local left, held_for = self:cooldown_left(now), self:held_for(now)
  if held_for and held_for > (left or 0) then
    return self.held_as, held_for
  elseif left then
    return "cooldown", left
  end
end

return TenantMemory
