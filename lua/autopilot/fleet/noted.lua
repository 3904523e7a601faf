--- The fields of a report that a state stores. No token and no secret is in them.

local json = require "autopilot.base.json"
local report = require "autopilot.sync.report"

local noted = {}

-- The fields of a report that are kept.
local kept = "ok operation outcome tenant tenant_id status http_version delivered "
  .. "confirmed_by answered_by retry_after retry_at request_id client_request_id "
  .. "activity_id service_date diagnostics error hint network gave_up elapsed "
  .. "sync_status last_sync last_manual_trigger cooldown_until cooldown_remaining "
  .. "ready service_time"

--- What is kept of a report. The report of a user's operation may have values that JSON has not: then only whether it is
-- ok, and of what operation.
---@param given autopilot.Report
function noted.kept_of(given)
  local fields = {}
  for name in kept:gmatch "%S+" do
    fields[name] = given[name]
  end
  local operation = type(given.operation) == "string" and given.operation or nil
  return json.encode(fields) and fields or { ok = given.ok, operation = operation }
end

--- Until when another sync would be refused, by the client's clock, or nil.
---@param given autopilot.Report
---@param whole number seconds that the service wants between two syncs, with a margin
function noted.cooldown_end_of(given, now, whole)
  if given.outcome == "cooldown" then
    return given.retry_at
  elseif given.outcome == "started" and not given.last_manual_trigger then
    return now + whole -- only for a sync that began just now: one seen in the record may be old
  elseif given.cooldown_remaining then
    return given.cooldown_remaining > 0 and now + given.cooldown_remaining or nil
  end
  local trigger = given.last_manual_trigger or (given.outcome == "completed" and now)
  -- The stamp is by the service's clock; `service_date`, by the same clock, translates it to ours.
  local ends = trigger and trigger + whole + now - (given.service_date or now)
  return ends and ends > now and math.min(ends, now + whole) or nil
end

--- Whether the request for a sync surely started none, so that a resumed run does not look for one in the
-- record. A tenant that was not begun says nothing about requests of an earlier process.
function noted.is_refused(given)
  local is_known = given.outcome ~= "cancelled"
    and (given.delivered == "no" or given.delivered == "yes")
  for _, attempt in ipairs(given.attempts or {}) do
    is_known = is_known and attempt.delivered ~= "unknown"
  end
  return given.operation == "sync" and not given.ok and is_known and not given.confirmed_by
end

--- The report of what was kept, as it was decoded, with `recalled` set; nil when that is damaged.
function noted.restore(fields)
  if type(fields) ~= "table" or type(fields.ok) ~= "boolean" then
    return nil
  end
  fields.operation, fields.recalled = fields.operation or "operation", true
  return report.new(fields)
end

return noted
