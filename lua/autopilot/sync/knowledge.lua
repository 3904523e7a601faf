--- What a client knows of its tenant: when its own last sync was started, until when requests are refused,
-- and what the record said. It tells whether the service would refuse another request.
--
-- Times are Unix seconds by the client's clock, unless they are said to be by the service's. The times of
-- the record are translated here.

local record = require("autopilot.base.lazy") "autopilot.sync.record"

---@class autopilot.TenantMemory
---@field newest_trigger number? the latest trigger that is known of; the service's clock
---@field completed_trigger number? the latest trigger whose sync a record showed as completed; the service's clock
---@field started_at number? when the request was sent that started our own last sync
---@field started_clock number? the same on our monotonic clock
---@field own_earliest number? when that was triggered, at the earliest; the service's clock
---@field own_latest number? and at the latest
---@field accepted_at number? when it was accepted; nil once a record shows it
---@field record_ends number? the end of the cooldown according to records; the service's clock
---@field record_until number? the same on our clock, at the latest
---@field bound_until number? the latest possible end of a cooldown that is known from a refusal only
---@field bound_since number? when that refusal came
---@field others autopilot.SyncFact? the latest sync of another client; nil once a record shows it
---@field held_clock number? when the latest Retry-After ends, on our monotonic clock
---@field held_as autopilot.Outcome? the outcome of the answer that had it
local TenantMemory = {}
TenantMemory.__index = TenantMemory

---@param cooldown number seconds; 0 switches off everything but Retry-After
---@param margin number seconds
---@param service_clock autopilot.ServiceClock
---@return autopilot.TenantMemory
function TenantMemory.new(cooldown, margin, service_clock)
  return setmetatable({
    cooldown = cooldown,
    margin = margin,
    service_clock = service_clock,
  }, TenantMemory)
end

--- The later of two moments, each of which may be missing.
local function later(a, b)
  return a and b and math.max(a, b) or a or b
end

--- Seconds from one sync to the next.
local function interval_of(self)
  return self.cooldown + self.margin
end

--- Forgets a refusal once a known sync explains it.
local function drop_explained_refusal(self)
  if self.bound_until and self:known_end() > self.bound_since then
    self.bound_until = nil
  end
end

--- Learns that a sync of ours was accepted.
---@param sent_at number when its request was sent
---@param accepted_at number? when the answer came; nil: a record tells how long it counts
---@param clock number when its request was sent, on our monotonic clock
---@param earliest number? when it was triggered, at the earliest; the service's clock
---@param latest number? and at the latest; default for both: what is known of that clock
function TenantMemory:note_started(sent_at, accepted_at, clock, earliest, latest)
  if not earliest then
    local service_clock = self.service_clock
    earliest = service_clock:to_service(sent_at, clock)
    local _
    _, latest = service_clock:to_service(accepted_at)
  end
  self.newest_trigger = later(self.newest_trigger, latest)
  self.started_at, self.started_clock = sent_at, clock
  self.own_earliest, self.own_latest = earliest, latest
  self.accepted_at, self.bound_until = accepted_at, nil
end

--- Learns that a record proves a sync, which counts as ours.
---@param sent_at number when its request was sent
---@param clock number the same on our monotonic clock
---@param trigger number its stamp
function TenantMemory:note_proven(sent_at, clock, trigger)
  self:note_started(sent_at, nil, clock, trigger, trigger)
end

--- When the request for our own last sync was sent; nil if we started none.
---@return autopilot.Since?
function TenantMemory:since_own()
  return self.started_at and { at = self.started_at, clock = self.started_clock }
end

--- Learns from another client of a sync, or of a refusal whose end is unknown.
---@param fact autopilot.SyncFact
function TenantMemory:note_others(fact)
  local at, earliest = fact.triggered_at, fact.earliest
  if not earliest then
    if at > (self.bound_since or 0) then
      self:note_refused("cooldown", nil, at)
    end
  elseif
    (self.newest_trigger or 0) < earliest and not (self.others and at <= self.others.triggered_at)
  then
    self.others = fact
    drop_explained_refusal(self)
  end
end

--- The last sync that this client started or saw in a record, not from other clients; or nil.
---@return autopilot.SyncFact?
function TenantMemory:latest_sync()
  local interval = interval_of(self)
  local accepted_at = self.accepted_at
  local recorded_at = self.record_until and self.record_until - interval
  if accepted_at and accepted_at >= (recorded_at or 0) then
    return { triggered_at = accepted_at, earliest = self.own_earliest, latest = self.own_latest }
  elseif recorded_at then
    local stamp = self.record_ends - interval
    return { triggered_at = recorded_at, earliest = stamp, latest = stamp }
  end
end

--- Learns from a refusal of the service.
---@param outcome autopilot.Outcome
---@param retry_at number? from its Retry-After
---@param received_at number
function TenantMemory:note_refused(outcome, retry_at, received_at)
  if retry_at then
    local options = self.service_clock.options
    local held_clock = options.clock() + (retry_at - options.now())
    if held_clock > (self.held_clock or -math.huge) then
      self.held_clock, self.held_as = held_clock, outcome
    end
  elseif outcome == "cooldown" and self:known_end() <= received_at then
    -- A refusal by the cooldown of an unknown sync, which was triggered before the answer came.
    self.bound_until, self.bound_since = received_at + interval_of(self), received_at
  end
end

--- Learns from a record that was read. The record may be older than one read before, or than our own sync, so
-- it never makes the client forget a later time.
---@param found autopilot.SettingsRecord
function TenantMemory:note_record(found)
  self.newest_trigger = later(self.newest_trigger, found.last_manual_trigger)
  local trigger = found.last_manual_trigger
  if trigger and record.has_completed(found, trigger) then
    self.completed_trigger = later(self.completed_trigger, trigger)
  end
  local ends = record.cooldown_until(found, self.cooldown, self.margin) or 0
  if ends >= (self.record_ends or 1) then
    local _, latest = self.service_clock:to_client(ends)
    -- A known end is not moved later only because the clocks have drifted since.
    self.record_until = math.min(latest, ends == self.record_ends and self.record_until or latest)
    self.record_ends = ends
  end
  if self.accepted_at and record.covers(found, self.own_earliest) then
    self.accepted_at = nil
  end
  if self.others and record.covers(found, self.others.earliest) then
    self.others = nil
  end
  drop_explained_refusal(self)
end

--- The latest time at which the cooldown of a known sync ends; 0 if no sync is known.
---@package
function TenantMemory:known_end()
  local interval = interval_of(self)
  local of_own = self.accepted_at and self.accepted_at + interval
  local of_others = self.others and self.others.triggered_at + interval
  return math.max(of_own or 0, self.record_until or 0, of_others or 0)
end

--- When the cooldown ends; nil if it is over, or no cooldown is known.
---@param now number
---@return number? retry_at
function TenantMemory:cooldown_end(now)
  if self.cooldown <= 0 then
    return nil
  end
  local latest = math.max(self:known_end(), self.bound_until or 0)
  -- No sync was triggered in the future: where the clocks say so, they are wrong.
  latest = math.min(latest, now + interval_of(self))
  return latest > now and latest or nil
end

--- When the cooldown of the last sync ends or has ended; nil when no sync is known of.
---@return number? seconds the service's clock
function TenantMemory:cooldown_until()
  local interval = interval_of(self)
  local of_own = self.accepted_at and self.own_latest + interval or nil
  local of_others = self.others and self.others.latest + interval
  return later(later(self.record_ends, of_own), of_others)
end

--- When the latest Retry-After ends, before which no request may be sent; nil if it is over.
---@param now number
---@param clock number? our monotonic clock; a call whose sleep ended a moment early gives the end of its sleep
---@return number? retry_at
function TenantMemory:held_until(now, clock)
  local rest = self.held_clock and self.held_clock - (clock or self.service_clock.options.clock())
  return rest and rest > 0 and now + rest or nil
end

--- How a request for a sync would be refused now, and until when; nil if it would not.
---@param now number
---@param clock number? see `held_until`
---@return autopilot.Outcome? outcome
---@return number? retry_at
function TenantMemory:refusal(now, clock)
  local ends, held = self:cooldown_end(now), self:held_until(now, clock)
  if held and held > (ends or 0) then
    return self.held_as, held
  elseif ends then
    return "cooldown", ends
  end
end

return TenantMemory
