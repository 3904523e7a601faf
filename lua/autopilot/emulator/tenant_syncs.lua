--- The syncs of each tenant: whether another one may start, and what the record shows.
--
-- Everything is computed from the latest syncs and a time. So an older record can be shown as well, and nothing
-- has to happen when a sync ends. A tenant takes memory from its first sync on. All times are Unix seconds.

local merged = require "autopilot.base.merged"

---@class autopilot.emulator.TenantSyncs
local TenantSyncs = {}
TenantSyncs.__index = TenantSyncs

-- How many syncs of a tenant are kept. Older ones are merged into one record, so that memory does not grow.
local most_syncs = 4

--- `rules`: the options `cooldown`, `cooldown_from`, `extend_cooldown` and `duration` of the emulator.
function TenantSyncs.new(rules)
  return setmetatable({ rules = rules, states = {} }, TenantSyncs)
end

--- Adds a sync, in the state that it has at a time, to a record of earlier ones.
local function add(record, sync, at)
  if sync.time > at then
    return
  end
  record.status = sync.completes > at and "inProgress" or sync.failed and "failed" or "completed"
  if record.status == "completed" then
    record.last_sync = sync.completes
  end
  if not sync.automatic then
    record.last_manual_trigger = sync.time
  end
end

local function new_state()
  return { syncs = {}, merged = { status = "unknown" }, count = 0 }
end

--- Why a sync may not start now, or nil when it may. With `extend_cooldown` a refusal begins the cooldown again.
---@return string? reason `in_progress` or `cooldown`
---@return number? remaining seconds of the cooldown
function TenantSyncs:refusal(tenant, now)
  local state, rules = self.states[tenant], self.rules
  local latest = state and state.syncs[#state.syncs]
  if not latest then
    return nil
  elseif now < latest.completes then
    return "in_progress"
  end
  local begins = rules.cooldown_from == "trigger" and latest.time or latest.completes
  local remaining = math.max(begins, state.refused or begins) + rules.cooldown - now
  if remaining <= 0 then
    return nil
  elseif rules.extend_cooldown then
    state.refused, remaining = now, rules.cooldown
  end
  return "cooldown", remaining
end

--- Starts a sync, whether or not it may start.
---@param change { duration: number?, failed: boolean?, automatic: boolean? } how it differs from the usual sync
---@param by string the client, or what `trigger` was told
---@return autopilot.emulator.Event
function TenantSyncs:start(tenant, now, change, by, client_request_id)
  local state = self.states[tenant] or new_state()
  self.states[tenant] = state
  state.count = state.count + 1
  local duration = change.duration or self.rules.duration
  if type(duration) ~= "number" then
    duration = duration(tenant, state.count)
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
  table.insert(state.syncs, sync)
  if #state.syncs > most_syncs then
    add(state.merged, table.remove(state.syncs, 1), math.huge)
  end
  return sync
end

--- What the record shows at a time, which may be in the past.
---@return { status: string, last_sync: number?, last_manual_trigger: number? } record nil for never
function TenantSyncs:record(tenant, at)
  local state = self.states[tenant] or new_state()
  local record = merged(state.merged)
  for _, sync in ipairs(state.syncs) do
    add(record, sync, at)
  end
  return record
end

return TenantSyncs
