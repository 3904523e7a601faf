--- The record `windowsAutopilotSettings`: its state of syncs, what follows from its times, how it is read, and
-- `client:status`, which reads it.
--
-- Times of the record are Unix seconds of the service's clock, durations are seconds.
--
-- Sources: the Graph pages "windowsAutopilotSettings resource type" and "windowsAutopilotSyncStatus
-- enum type" (beta), and records of the live service. Where the pages leave open what a stamp
-- means, a rule holds for every meaning, or says which one it takes.

local answers = require "autopilot.graph.answer"
local dates = require "autopilot.base.dates"
local json = require "autopilot.base.json"

---@type autopilot.Operation
local record = {}

---@class autopilot.SettingsRecord
---@field sync_status string? `unknown`, `in_progress`, `completed`, `failed`; a state that Graph may add keeps its own name
---@field last_sync number? when data was last synced; nil: never, or not told
---@field last_manual_trigger number? when a sync was last asked for; nil: never, or not told
---@field trigger_known boolean? the record tells when a sync was last asked for: only then does nil mean never

-- Members of the enumeration as the Graph page has them; upper and lower case are taken for the same.
local states = {
  unknown = "unknown",
  inprogress = "in_progress",
  completed = "completed",
  failed = "failed",
}

-- The service writes .NET's zero date for "never", with any offset; the zeros of other epochs are before this
-- too. The day is added because of the offsets.
local first_moment = 86400

-- The year 9999: .NET's greatest date is not the time of a sync either.
local last_moment = 253370764800

local function state_of(value)
  if type(value) ~= "string" or #value > 64 or not value:find "^[%a_][%w_]*$" then
    return nil
  end
  return states[value:lower()] or value
end

--- The time in a member of the record, nil for "never"; and false for anything else.
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

--- The members of a record; nil if none can be read.
local function read_members(value)
  if type(value) ~= "table" then
    return nil
  end
  local last_manual_trigger, trigger_known = moment_of(value.lastManualSyncTriggerDateTime)
  local last_sync, sync_known = moment_of(value.lastSyncDateTime)
  local sync_status = state_of(value.syncStatus)
  if not (sync_status or trigger_known or sync_known) then
    return nil
  end
  return {
    sync_status = sync_status,
    last_sync = last_sync,
    last_manual_trigger = last_manual_trigger,
    trigger_known = trigger_known,
  }
end

--- Reads the body of an answer to `GET …/windowsAutopilotSettings`. The record is the document, or inside `value`, where
-- the Graph page's sample has it, or the only one of a list there.
---@return autopilot.SettingsRecord? record
---@return string? message why the body is not such a record: one sentence, which quotes nothing of the body
function record.parse(body)
  if type(body) ~= "string" or not body:find "%S" then
    return nil, "the status answer is empty"
  end
  local document = json.decode(body)
  if document == nil then
    return nil, "the status answer is not JSON"
  end
  local value = type(document) == "table" and document.value
  local only = type(value) == "table" and value[2] == nil and value[1]
  local found = read_members(document) or read_members(value) or read_members(only)
  return found, not found and "the status answer is not a windowsAutopilotSettings record" or nil
end

-- ---- What it proves ----------------------------------------------------------------------------------

-- In these functions `found` is an `autopilot.SettingsRecord`, and `memory` the client's `autopilot.TenantMemory`.
-- `trigger` is the trigger's time in a record. `since` is a moment of the client's clock; nil: any.

--- The time from which the cooldown counts; nil when the record has no sync.
--
-- The sync action's page: called within 10 minutes of the previous sync, it answers 429. It does not
-- say whether they count from the trigger or from the end of the sync, and a sync that the service
-- starts by itself has no trigger stamp: the later of the two stamps is safe either way.
function record.latest_stamp(found)
  local trigger, last_sync = found.last_manual_trigger, found.last_sync
  return trigger and last_sync and math.max(trigger, last_sync) or trigger or last_sync
end

--- Whether a sync was surely triggered at or after a time of the service's clock.
--
-- Only the trigger's stamp proves that. `lastSyncDateTime` does not tell when its sync began: one
-- that began before a device was imported does not include it, however late it ended.
function record.covers(found, seconds)
  return (found.last_manual_trigger or -math.huge) >= seconds
end

--- Whether a sync that was triggered at or after `trigger` has surely completed.
--
-- `lastSyncDateTime` at or after the trigger is not enough: it is unverified whether a failed sync moves
-- that stamp. So the status must not be `failed`, and not `in_progress` either, for then the stamp may be
-- that of a sync that failed before. `completed` alone may be left over from before the trigger (a small
-- tenant's sync was seen to take half a second, and a record may be read late).
function record.has_completed(found, trigger)
  local status = found.sync_status
  return (found.last_sync or -math.huge) >= trigger
    and status ~= "in_progress"
    and status ~= "failed"
end

--- Whether the record says that a sync that was triggered at or after `trigger` has failed.
--
-- `failed` counts if the record has that trigger, so is not out of date. It may be about a later sync
-- that the service began by itself: then the client may have seen before that this one had completed.
function record.has_failed(found, trigger)
  return found.sync_status == "failed" and record.covers(found, trigger)
end

--- The record's trigger time if that sync was certainly triggered at or after `since`; else nil.
--
-- Our own sync counts if its request was sent at `since` or later: it was accepted after that, and no other
-- sync can have been triggered in the cooldown before. For any other sync only its trigger time counts,
-- which is by the service's clock. If that leaves it uncertain, the result is nil.
function record.covering_trigger(found, since, memory)
  if not since then
    return found.last_manual_trigger
  end
  local earliest, latest = memory.service_clock:to_service(since)
  local started_at = memory.started_at
  -- The last condition fails only when the service's clock was set since.
  if started_at and since <= started_at and earliest <= memory.own_latest then
    latest = math.min(latest, memory.own_earliest)
  end
  return record.covers(found, latest) and found.last_manual_trigger or nil
end

--- Whether the record shows that no sync was triggered at or after `since`. What this client started itself
-- may be missing in a record that is out of date.
function record.shows_none(found, since, memory)
  local trigger, started_at = found.last_manual_trigger, memory.started_at
  local has_started = started_at and (not since or started_at >= since)
  if has_started or not found.trigger_known then
    return false
  elseif not trigger or not since then
    return trigger == nil
  end
  return trigger < (memory.service_clock:to_service(since))
end

--- How the sync that was triggered at `trigger` has ended, as far as this record, which is already noted, or an earlier
-- one shows.
---@return "completed"|"sync_failed"|nil outcome nil: it is not known to have ended
function record.ending(found, trigger, memory)
  if record.has_completed(found, trigger) or memory.completed_trigger >= trigger then
    return "completed"
  end
  return record.has_failed(found, trigger) and "sync_failed" or nil
end

--- Adds what a record shows to what the client knows. The record may be older than one read before, or than the
-- client's own sync, so a later time is never replaced by an earlier one.
function record.note(memory, found)
  local trigger, stamp, known = found.last_manual_trigger, record.latest_stamp(found), memory.known
  if trigger then
    memory:note_trigger(trigger)
    if record.has_completed(found, trigger) then
      memory.completed_trigger = math.max(trigger, memory.completed_trigger)
    elseif record.has_failed(found, trigger) then
      memory.failed_trigger = math.max(trigger, memory.failed_trigger)
    end
  end
  if not stamp then
    return
  end
  local _, triggered_at = memory.service_clock:of_service(stamp)
  local fact = { triggered_at = triggered_at, earliest = stamp, latest = stamp }
  if known and stamp == known.earliest and stamp == known.latest then
    -- Clock drift alone must not make the known end of the cooldown later.
    known.triggered_at = math.min(known.triggered_at, triggered_at)
  elseif known and record.covers(found, known.earliest) then
    memory.known = fact -- more exact than the times from an answer
  else
    memory:note_sync(fact)
  end
end

-- ---- Reading it --------------------------------------------------------------------------------------

--- The hint of a read whose answer was lost. That of the outcome `interrupted` is about a request for a sync.
record.hint_of_lost = "The connection broke, or the time was over, before the whole answer had "
  .. "come: check the network and its proxies, or allow more time."

--- Removes the fields that only a request for a sync has. `answered_by` stays if an intermediary answered.
local function as_of_read(answer)
  answer.delivered, answer.sends = nil, nil
  answer.answered_by = answer.answered_by == "intermediary" and answer.answered_by or nil
  return answer
end

--- Parses the body of a read, and adds the record's fields to the answer; or an outcome, if it is not a record.
local function complete(client, answer, body)
  local found, message = record.parse(body)
  if not found then
    -- A read that was cut off may be repeated; another body would come again.
    answer.outcome = answer.network and "interrupted" or "unexpected"
    answer.error = not answer.network and { message = message } or nil
    return
  end
  answer.sync_status = client:clean(found.sync_status)
  answer.last_sync, answer.last_manual_trigger = found.last_sync, found.last_manual_trigger
  answer.trigger_known = found.trigger_known
end

--- Reports, in the answer and once by an event, a sync that is in progress for longer than `stuck_after`, if the stamps
-- prove it: no sync has completed since the last trigger. A sync that the service began by itself has no trigger's
-- stamp: where one has completed since the last trigger, or was seen to have failed, it is unknown when the one in
-- progress began. The same holds if a later sync is known than the record shows, which then is out of date.
local function report_stuck(client, answer)
  local memory, trigger = client.memory, answer.last_manual_trigger
  local is_proved = trigger
    and answer.sync_status == "in_progress"
    and (answer.last_sync or -math.huge) < trigger
    and math.max(memory.completed_trigger, memory.failed_trigger) < trigger
    and memory.known.earliest <= trigger
    and client.service_clock:is_known()
  local seconds = is_proved and client.service_clock:to_service(client.options.clock()) - trigger
  if not seconds or seconds < client.options.stuck_after then
    return
  end
  answer.stuck_for = seconds
  if memory.stuck_trigger ~= trigger then
    memory.stuck_trigger = trigger
    client:emit("stuck", { stuck_for = seconds, last_manual_trigger = trigger })
  end
end

local hint_of_held = "The service asked to be left alone for a while, so the status was not read."

--- Reads the record once, unless a Retry-After has not passed yet. Updates what the client knows.
---@param number integer? of the attempt; default 1
---@return table answer in the shape of a report: with the record's fields; or with an outcome, if it could not be read
function record.read_once(call, number)
  local client = call.client
  local memory, held_for = client.memory, client.memory:held_for(call:now())
  if held_for then
    local fields = { retry_after = held_for, hint = hint_of_held }
    return as_of_read(answers.not_sent(client, "throttled", fields))
  end
  local answer, body = client.status_request:run(client, {
    deadline = call.deadline,
    retry_attempt = (number or 1) - 1,
    waited_until = call.slept_until,
  })
  as_of_read(answer)
  if body then
    complete(client, answer, body)
  end
  local is_refused = answer.retry_at and answer.status -- without retry_at it is a token endpoint's
  if not answer.outcome then
    record.note(memory, answer)
    report_stuck(client, answer)
  elseif is_refused then
    memory:note_refused(answer.outcome, answer.retry_after, client.options.clock())
  end
  if answer.outcome == "interrupted" then
    answer.hint = record.hint_of_lost
  end
  if client.shared and (not answer.outcome or is_refused) then
    client.shared:write()
  end
  return answer
end

--- Reads the record, with retries as the client's policy says; else as `read_once`.
function record.read(call)
  return call:attempt {
    try = function(_, number)
      local answer = record.read_once(call, number)
      if answer.outcome == "interrupted" then
        -- A read changes nothing, so it may be repeated even where its answer was lost.
        return answer, { outcome = "unreachable", retry_after = answer.retry_after }
      end
      return answer, answer.outcome and answer or nil
    end,
  }
end

-- ---- `client:status` ---------------------------------------------------------------------------------

---@class autopilot.StatusReport: autopilot.Report
---@field sync_status string? `unknown`, `in_progress`, `completed`, `failed`, or a state that Graph added
---@field last_sync number? Unix time, the service's clock; nil: never
---@field last_manual_trigger number? the same
---@field cooldown_until number? the same; nil: no sync is known of
---@field cooldown_remaining number seconds, 0 when it is over
---@field ready boolean a sync may be asked for
---@field service_time number when the record was read, the service's clock

record.rules = { deadline = { type = "number", above = 0 } }

--- Reads the record, and tells whether a sync is possible by all that the client knows: a record that is out of date
-- does not show the last sync yet.
function record.run(call)
  local answer, client = record.read(call), call.client
  if answer.outcome then
    return answer
  end
  local now = client.options.clock()
  local _, service_now = client.service_clock:to_service(now)
  answer.ok = true
  answer.service_time = answer.service_date or service_now
  answer.cooldown_until = client.memory:cooldown_until()
  answer.cooldown_remaining = math.max(0, (answer.cooldown_until or 0) - answer.service_time)
  answer.ready = answer.sync_status ~= "in_progress"
    and answer.cooldown_remaining == 0
    and client.memory:refusal(now) == nil
  return answer
end

return record
