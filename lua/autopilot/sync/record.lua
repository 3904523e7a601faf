--- The record `windowsAutopilotSettings`: what it says of syncs, and what follows from its times.
--
-- Pure. Every time is in Unix seconds of the service's clock, every duration in seconds; whoever has
-- another clock translates. Asking for the record, waiting and posting are left to others.
--
-- Sources: the Graph pages "windowsAutopilotSettings resource type" and "windowsAutopilotSyncStatus
-- enum type" (beta), and records as the live service gave them. Where the pages leave open what a stamp
-- means, a rule holds for every meaning, or says which one it takes.

local dates = require "autopilot.base.dates"
local json = require "autopilot.base.json"

local settings = {}

---@class autopilot.SettingsRecord
---@field sync_status string? `unknown`, `in_progress`, `completed`, `failed`; a state that Graph may add keeps its own name
---@field last_sync number? when data was last synced; nil: never, or not told
---@field last_manual_trigger number? when a sync was last asked for; nil: never, or not told
---@field trigger_known boolean the record tells when a sync was last asked for: only then does nil mean never

-- Members of the enumeration as the Graph page has them; letter case is not worth a failure.
local states = {
  unknown = "unknown",
  inprogress = "in_progress",
  completed = "completed",
  failed = "failed",
}

-- .NET's zero date, with whatever offset, is how the service writes "never"; other epochs' zeros lie
-- before this too. A day later, so that an offset does not matter.
local first_moment = 86400

-- The year 9999 is .NET's greatest date, which is no time of a sync either.
local last_moment = 253370764800

local function state_of(value)
  if type(value) ~= "string" or #value > 64 or not value:find "^[%a_][%w_]*$" then
    return nil
  end
  return states[value:lower()] or value
end

--- The moment that a member tells, and whether it tells one, or "never", at all.
local function moment_of(value)
  if value == json.null then
    return nil, true
  end
  local seconds = dates.read_timestamp(value)
  if not seconds or seconds >= last_moment then
    return nil, false
  elseif seconds < first_moment then
    return nil, true
  end
  return seconds, true
end

local function is_record(value)
  return type(value) == "table"
    and (
      value.syncStatus ~= nil
      or value.lastSyncDateTime ~= nil
      or value.lastManualSyncTriggerDateTime ~= nil
    )
end

--- The record itself: as it is, or inside `value`, where the Graph page's sample has it, or the only
-- one of a list there.
local function find_record(document)
  local value = type(document) == "table" and document.value
  local is_only = type(value) == "table" and value[2] == nil
  if is_record(document) then
    return document
  elseif is_record(value) then
    return value
  elseif is_only and is_record(value[1]) then
    return value[1]
  end
end

--- Reads the body of an answer to `GET …/windowsAutopilotSettings`.
---@param body string?
---@return autopilot.SettingsRecord? record
---@return string? message one sentence, without a word of the body, when that is no such record
function settings.parse(body)
  if type(body) ~= "string" or not body:find "%S" then
    return nil, "the status answer is empty"
  end
  local document = json.decode(body)
  if document == nil then
    return nil, "the status answer is not JSON"
  end
  local found = find_record(document)
  if not found then
    return nil, "the status answer is not a windowsAutopilotSettings record"
  end
  local last_manual_trigger, trigger_known = moment_of(found.lastManualSyncTriggerDateTime)
  local last_sync = moment_of(found.lastSyncDateTime)
  return {
    sync_status = state_of(found.syncStatus),
    last_sync = last_sync,
    last_manual_trigger = last_manual_trigger,
    trigger_known = trigger_known,
  }
end

--- The end of the cooldown that follows from the record, or nil when it tells of no sync.
--
-- The sync action's page: called within 10 minutes of the previous sync, it answers 429. It does not
-- say whether they count from the trigger or from the end of the sync, and a sync that the service
-- starts by itself has no trigger stamp: the later of the two stamps is safe either way.
---@param record autopilot.SettingsRecord
---@param cooldown number seconds between two syncs; 0: the service is taken to have none
---@param margin number seconds on top
---@return number? seconds Unix seconds, service's clock
function settings.cooldown_until(record, cooldown, margin)
  local latest = record.last_manual_trigger
  if record.last_sync and (not latest or record.last_sync > latest) then
    latest = record.last_sync
  end
  if not latest or cooldown <= 0 then
    return nil
  end
  return latest + cooldown + margin
end

--- Whether a sync may be asked for: none is in progress (that answers 409) and no cooldown is known.
---@param record autopilot.SettingsRecord
---@param service_time number Unix seconds, service's clock
---@param cooldown number seconds
---@param margin number seconds
---@return boolean
function settings.is_ready(record, service_time, cooldown, margin)
  local cooldown_end = settings.cooldown_until(record, cooldown, margin)
  return record.sync_status ~= "in_progress"
    and (cooldown_end == nil or service_time >= cooldown_end)
end

--- Whether a sync was surely triggered at or after `since`.
--
-- Only the trigger's stamp proves that. `lastSyncDateTime` does not tell when its sync began: one
-- that began before a device was imported does not include it, however late it ended.
---@param record autopilot.SettingsRecord
---@param since number Unix seconds, service's clock
---@return boolean
function settings.covers(record, since)
  return record.last_manual_trigger ~= nil and record.last_manual_trigger >= since
end

--- Whether a sync that was triggered at or after `trigger` has surely completed.
--
-- `lastSyncDateTime` at or after the trigger is not enough: it is unverified whether a failed sync moves
-- that stamp. So the status must not be `failed`, and not `in_progress` either, for then the stamp may be
-- that of a sync that failed before. `completed` alone may be left over from before the trigger (a small
-- tenant's sync was seen to take half a second, and a record may be read late).
---@param record autopilot.SettingsRecord
---@param trigger number Unix seconds, service's clock: the trigger's stamp in the record
---@return boolean
function settings.has_completed(record, trigger)
  local status = record.sync_status
  return record.last_sync ~= nil
    and record.last_sync >= trigger
    and status ~= "in_progress"
    and status ~= "failed"
end

--- Whether the record says `failed` of a sync that was triggered at or after `trigger`.
--
-- `failed` counts when the record knows of that trigger, so was not read late. It may be of a later sync
-- that the service began by itself: then the client may have seen before that this one had completed.
---@param record autopilot.SettingsRecord
---@param trigger number Unix seconds, service's clock: the trigger's stamp in the record
---@return boolean
function settings.has_failed(record, trigger)
  return record.sync_status == "failed" and settings.covers(record, trigger)
end

return settings
