--- The status of a tenant as a small table for people.

local time_text = require "autopilot.cli.time_text"

local status_table = {}

--- A stamp and its age, both by the service's clock. A stamp that is ahead of it has no age.
local function stamp(seconds, service_time)
  if not seconds then
    return "none on record"
  end
  local age = service_time - seconds
  local text = time_text.moment(seconds)
  -- The service tells its time in whole seconds, so a stamp may seem to be a moment ahead.
  return age > -1 and ("%s (%s ago)"):format(text, time_text.duration(math.max(0, age))) or text
end

local function readiness(report)
  if report.ready then
    return "yes"
  end
  local parts = {}
  if report.sync_status == "in_progress" then
    parts[1] = "a sync is in progress"
  end
  if report.cooldown_remaining > 0 then
    -- Rounded up: a request at the moment that is shown must not come too early.
    parts[#parts + 1] = ("in %s, at %s"):format(
      time_text.duration(math.ceil(report.cooldown_remaining)),
      time_text.moment(math.ceil(report.cooldown_until))
    )
  end
  return "no: " .. table.concat(parts, "; ")
end

--- The lines of the table.
---@param report autopilot.StatusReport
---@return string[]
function status_table.lines(report)
  local rows = {
    { "State", report.sync_status or "not told" },
    { "Last sync", stamp(report.last_sync, report.service_time) },
    { "Last trigger", stamp(report.last_manual_trigger, report.service_time) },
    { "Ready", readiness(report) },
  }
  if report.tenant then
    table.insert(rows, 1, { "Tenant", report.tenant })
  end
  local lines = {}
  for index, row in ipairs(rows) do
    lines[index] = ("%-13s %s"):format(row[1], row[2])
  end
  return lines
end

return status_table
