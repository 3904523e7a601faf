--- What a client remembers of its tenant: when its own last sync was started, who refused it until
-- when, and what the record said. From it follows whether asking again would be in vain.
--
-- All times are Unix seconds of the client's clock; the service's stamps are translated here.

local settings = require "autopilot.settings"

---@class autopilot.TenantMemory
---@field started_at number? when the request was sent that started our own last sync
---@field own_until number? the end of the cooldown that it began
---@field record_until number? the end of the cooldown that the record tells of
---@field bound_until number? the latest end of a cooldown of which only a refusal is known
---@field bound_since number? when that refusal came
---@field refused_until number? the end of the time for which a Retry-After asked
---@field refused_as autopilot.Outcome? what such an answer meant
local TenantMemory = {}
TenantMemory.__index = TenantMemory

---@param cooldown number seconds; 0 switches off everything but Retry-After
---@param margin number seconds
---@param service_clock autopilot.ServiceClock
---@return autopilot.TenantMemory
function TenantMemory.new(cooldown, margin, service_clock)
  return setmetatable(
    { cooldown = cooldown, margin = margin, service_clock = service_clock },
    TenantMemory
  )
end

--- Learns that a sync of ours was started.
---@param sent_at number when its request was sent
---@param known_at number the latest moment at which it can have been triggered
function TenantMemory:note_started(sent_at, known_at)
  self.started_at = sent_at
  self.own_until = known_at + self.cooldown + self.margin
  self.refused_until, self.refused_as = nil, nil
  self.bound_until, self.bound_since = nil, nil
end

--- Learns from a refusal of the service.
---@param outcome autopilot.Outcome
---@param retry_at number? from its Retry-After
---@param received_at number
function TenantMemory:note_refused(outcome, retry_at, received_at)
  if retry_at then
    self.refused_until, self.refused_as = retry_at, outcome
  elseif outcome == "cooldown" and not self:cooldown_end(received_at) then
    -- The sync that it follows was triggered at the latest just now.
    self.bound_until, self.bound_since = received_at + self.cooldown + self.margin, received_at
  end
end

--- Learns from a record that was read.
---@param record autopilot.SettingsRecord
function TenantMemory:note_record(record)
  local ends = settings.cooldown_until(record, self.cooldown, self.margin)
  local _, latest = self.service_clock:to_client(ends or 0)
  self.record_until = ends and latest
  -- A record that was read late does not know of our own sync yet, or of the one for which we were
  -- refused: then it takes nothing back.
  if self.started_at then
    local earliest = self.service_clock:to_service(self.started_at)
    if settings.covers(record, earliest) then
      self.own_until = nil
    end
  end
  if self.bound_since and self.record_until and self.record_until > self.bound_since then
    self.bound_until, self.bound_since = nil, nil
  end
end

--- When the cooldown ends that is known of, or nil when none is known to last.
---@param now number
---@return number?
function TenantMemory:cooldown_end(now)
  if self.cooldown <= 0 then
    return nil
  end
  local latest = math.max(self.own_until or 0, self.record_until or 0, self.bound_until or 0)
  return latest > now and latest or nil
end

--- Whether asking for a sync now would be in vain: how it would be answered, and until when.
---@param now number
---@return autopilot.Outcome? outcome
---@return number? retry_at
function TenantMemory:refusal(now)
  if self.refused_until and self.refused_until > now then
    return self.refused_as, self.refused_until
  end
  local ends = self:cooldown_end(now)
  if ends then
    return "cooldown", ends
  end
end

--- The trigger's stamp of a sync that was surely triggered at or after `since`, or nil.
--
-- Our own sync is known to be: it was accepted after its request was sent, and no other can have been
-- triggered within the cooldown before. Of any other only the stamp tells, on the service's clock,
-- and an open question is no proof.
---@param record autopilot.SettingsRecord
---@param since number? nil: any
---@return number? trigger the service's clock
function TenantMemory:covering_trigger(record, since)
  if not since then
    return record.last_manual_trigger
  end
  local is_own = self.started_at and self.started_at >= since
  local earliest, latest = self.service_clock:to_service(is_own and self.started_at or since)
  if settings.covers(record, is_own and earliest or latest) then
    return record.last_manual_trigger
  end
end

return TenantMemory
