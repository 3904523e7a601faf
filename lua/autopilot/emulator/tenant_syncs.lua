--- What the service knows of each tenant's syncs: which may start, and what the record shows.
--
-- Everything is computed from the few latest syncs and a time, so that an older record can be told as
-- well, and nothing has to happen when a sync ends. A tenant costs memory from its first sync on.

---@class autopilot.emulator.Sync
---@field triggered number Unix seconds
---@field completes number Unix seconds at which it ends
---@field failed boolean it ends in `failed` instead of `completed`
---@field manual boolean asked for through the sync action; false for one that the service starts itself

---@class autopilot.emulator.TenantSyncs
local TenantSyncs = {}
TenantSyncs.__index = TenantSyncs

-- Older syncs are folded into one summary: the memory of a tenant does not grow.
local kept = 4

---@class autopilot.emulator.SyncRules
---@field cooldown number seconds between two syncs
---@field cooldown_from string `trigger` or `completion`: where the cooldown begins
---@field extend_cooldown boolean a refusal within the cooldown begins it anew
---@field duration number|fun(tenant: string, count: integer): number seconds that a sync is in progress

---@param rules autopilot.emulator.SyncRules
---@return autopilot.emulator.TenantSyncs
function TenantSyncs.new(rules)
  return setmetatable({ rules = rules, states = {} }, TenantSyncs)
end

local function later(a, b)
  return a and b and math.max(a, b) or a or b
end

--- Moves the summary on by one sync that has ended.
local function add_to_summary(summary, sync)
  summary.status = sync.failed and "failed" or "completed"
  if not sync.failed then
    summary.last_sync = later(summary.last_sync, sync.completes)
  end
  if sync.manual then
    summary.last_manual_trigger = later(summary.last_manual_trigger, sync.triggered)
  end
end

function TenantSyncs:state_of(tenant)
  local state = self.states[tenant]
  if not state then
    state = { syncs = {}, summary = { status = "unknown" }, count = 0 }
    self.states[tenant] = state
  end
  return state
end

--- Why a sync may not start now, or nil when it may. With `extend_cooldown` the refusal counts: the cooldown
-- begins again.
---@param tenant string
---@param now number Unix seconds
---@return string? reason `in_progress` or `cooldown`
---@return number? seconds that are left of the cooldown
function TenantSyncs:refusal(tenant, now)
  local state = self.states[tenant]
  local latest = state and state.syncs[#state.syncs]
  if not latest then
    return nil
  elseif now < latest.completes then
    return "in_progress"
  end
  local rules = self.rules
  local anchor = rules.cooldown_from == "trigger" and latest.triggered or latest.completes
  local remaining = later(anchor, state.refused) + rules.cooldown - now
  if remaining <= 0 then
    return nil
  end
  if rules.extend_cooldown then
    state.refused = now
    remaining = rules.cooldown
  end
  return "cooldown", remaining
end

--- Starts a sync, whether or not it may start.
---@param tenant string
---@param now number Unix seconds
---@param change table `duration` (seconds), `failed`, `automatic`: what is unlike the usual sync
---@return autopilot.emulator.Sync
function TenantSyncs:start(tenant, now, change)
  local state = self:state_of(tenant)
  state.count = state.count + 1
  local duration = change.duration or self.rules.duration
  if type(duration) ~= "number" then
    duration = duration(tenant, state.count)
  end
  local sync = {
    triggered = now,
    completes = now + duration,
    failed = change.failed or false,
    manual = not change.automatic,
  }
  state.syncs[#state.syncs + 1] = sync
  if #state.syncs > kept then
    add_to_summary(state.summary, table.remove(state.syncs, 1))
  end
  return sync
end

--- What the record shows at a time, which may lie in the past.
---@param tenant string
---@param at number Unix seconds
---@return table record `status` (as in `syncStatus`), `last_sync` and `last_manual_trigger` (Unix seconds, nil for never)
function TenantSyncs:record(tenant, at)
  local state = self.states[tenant]
  local record = { status = "unknown" }
  if not state then
    return record
  end
  for name, value in pairs(state.summary) do
    record[name] = value
  end
  for _, sync in ipairs(state.syncs) do
    if sync.completes <= at then
      add_to_summary(record, sync)
    elseif sync.triggered <= at then
      record.status = "inProgress"
      if sync.manual then
        record.last_manual_trigger = sync.triggered
      end
    end
  end
  return record
end

return TenantSyncs
