--- `autopilot-sync status`: shows what the tenant's record says.

local options = require "autopilot.cli.options"
local text = require "autopilot.cli.text"

---@type autopilot.cli.Command
local status = {
  name = "status",
  summary = "Show the last sync, and when the next one is possible.",
  description = "Shows the state and the time of the tenant's last sync, and whether Intune "
    .. "accepts another one now. Changes nothing.",
  example = "status --tenant contoso.example --client-id ID \\\n"
    .. "      --client-secret-file secret.txt",
  options = [[
--deadline DURATION: Stop after this long, retries and pauses included.
]] .. options.one_tenant,
}

--- A stamp and its age, both by the service's clock. A stamp that is ahead of the clock has no age.
local function stamp(seconds, service_time)
  if not seconds then
    return "none on record"
  end
  local age = service_time - seconds
  local time = text.time(seconds)
  -- The service's time has whole seconds, so a stamp may seem to be less than a second ahead.
  return age > -1 and ("%s (%s ago)"):format(time, text.duration(math.max(0, age))) or time
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
    -- Rounded up, so that a request at the time that is shown does not come too early.
    parts[#parts + 1] = ("in %s, at %s"):format(
      text.duration(math.ceil(report.cooldown_remaining)),
      text.time(math.ceil(report.cooldown_until))
    )
  end
  return "no: " .. table.concat(parts, "; ")
end

--- The status as a small table.
function status.lines(report)
  return text.rows {
    { "Tenant", report.tenant },
    { "State", report.sync_status or "not told" },
    { "Last sync", stamp(report.last_sync, report.service_time) },
    { "Last trigger", stamp(report.last_manual_trigger, report.service_time) },
    { "Ready", readiness(report) },
    { "Perhaps stuck", report.stuck_for and report.hint },
  }
end

return status
