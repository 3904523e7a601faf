--- The syncs of each tenant: whether another one may start, and what the record shows.
--
-- Everything is computed from the latest syncs and a time. So an older record can be shown as well, and nothing
-- has to happen when a sync ends. A tenant takes memory from its first sync on. All times are Unix seconds.

local merged = require "autopilot.base.merged"

---@class autopilot.emulator.TenantSyncs
local TenantSyncs = {}
TenantSyncs.__index = TenantSyncs

-- How many syncs of a tenant are kept. Older ones are summed up in `before`, a record.
local most_syncs = 100

--- Changes a record as a sync has changed it by the time `at`.
local function add(record, sync, at)
  if sync.time <= at then
    local is_over = sync.completes <= at
    record.status = not is_over and "inProgress" or sync.failed and "failed" or "completed"
    record.last_sync = record.status == "completed" and sync.completes or record.last_sync
    record.last_manual_trigger = not sync.automatic and sync.time or record.last_manual_trigger
  end
end

--- `rules`: the options `cooldown`, `cooldown_from`, `extend_cooldown` and `duration` of the emulator.
function TenantSyncs.new(rules)
  return setmetatable({ rules = rules, states = {} }, TenantSyncs)
end

--- Why a sync may not start now, or nil when it may. With `extend_cooldown` a refusal begins the cooldown again.
---@return string? reason `in_progress` or `cooldown`
---@return number? remaining seconds of the cooldown
function TenantSyncs:refusal(tenant, now)
  local syncs, rules = self.states[tenant] or {}, self.rules
  local latest = syncs[#syncs]
  if not latest then
    return nil
  elseif now < latest.completes then
    return "in_progress"
  end
  local begins = rules.cooldown_from == "trigger" and latest.time or latest.completes
  local remaining = math.max(begins, syncs.refused or begins) + rules.cooldown - now
  if remaining <= 0 then
    return nil
  elseif rules.extend_cooldown then
    syncs.refused, remaining = now, rules.cooldown
  end
  return "cooldown", remaining
end

--- Starts a sync, whether or not it may start.
---@param change { duration: number?, failed: boolean?, automatic: boolean? } how it differs from the usual sync
---@param by string who asked for it, for the log
---@return autopilot.emulator.Event
function TenantSyncs:start(tenant, now, change, by, client_request_id)
  local syncs = self.states[tenant] or { count = 0, before = { status = "unknown" } }
  self.states[tenant] = syncs
  syncs.count = syncs.count + 1
  local duration = change.duration or self.rules.duration
  if type(duration) ~= "number" then
    duration = duration(tenant, syncs.count)
  end
  local sync = {
    event = "sync",
    time = now,
    tenant = tenant,
    by = by,
    client_request_id = client_request_id,
    automatic = change.automatic or false,
    completes = now + duration,
    failed = change.failed or false,
  }
  table.insert(syncs, sync)
  if #syncs > most_syncs then
    add(syncs.before, table.remove(syncs, 1), now)
  end
  return sync
end

--- What the record shows at a time, which may be in the past.
---@return { status: string, last_sync: number?, last_manual_trigger: number? } record nil for never
function TenantSyncs:record(tenant, at)
  local syncs = self.states[tenant] or {}
  local record = merged({ status = "unknown" }, syncs.before)
  for _, sync in ipairs(syncs) do
    add(record, sync, at)
  end
  return record
end

return TenantSyncs
