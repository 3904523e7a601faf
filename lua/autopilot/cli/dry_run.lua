--- `--dry-run`: what `sync` and `ensure`, or a fleet of them, would post, and why. Only records are read.

local hint_of = require "autopilot.sync.hint"
local outcome = require "autopilot.sync.outcome"
local status = require "autopilot.cli.commands.status"
local text = require "autopilot.cli.text"

local default_timeout = require("autopilot.sync.wait").default_timeout

local dry_run = {}

--- Returns the outcome of a request that is sent during the cooldown, and the reason.
local function cooldown_of(report)
  local seconds = math.ceil(report.cooldown_remaining)
  return "cooldown", ("the cooldown lasts %s more"):format(text.duration(seconds))
end

--- Returns the outcome with which the service would refuse a request now, and the reason; nil if it would accept it.
local function refusal_of(report)
  if report.sync_status == "in_progress" then
    return "in_progress", "a sync is in progress"
  elseif not report.ready then
    return cooldown_of(report)
  end
end

--- Whether the record shows that a sync was triggered at `since` or later (Unix time of this machine's clock).
local function covers(report, since, now)
  local trigger = report.last_manual_trigger
  return trigger ~= nil and trigger >= since + report.service_time - now
end

--- Returns what `ensure` would do: whether it would send a request; its outcome, nil if it would wait or send one; and
-- the reason.
local function plan_ensure(report, wanted, now)
  local since = wanted.max_age and now - wanted.max_age or wanted.since or now
  local refusal, why = refusal_of(report)
  local waits = wanted.wait ~= false
  local longest = waits and (wanted.timeout or default_timeout) or 0
  local can_wait = report.cooldown_remaining < longest
  local counts, has_failed = covers(report, since, now), report.sync_status == "failed"
  if counts and not has_failed then
    local is_running = waits and refusal == "in_progress"
    return false,
      not is_running and "fresh" or nil,
      "a sync that counts " .. (is_running and "is in progress, and is awaited" or "is known")
  elseif refusal and waits and not can_wait then
    return false, cooldown_of(report) -- a sync in progress would end earlier
  elseif refusal and not can_wait then
    return false, refusal, why
  end
  local reason = counts and "the sync that counts has failed" or "no sync that counts is known"
  return true, nil, reason .. (refusal and "; but first it waits: " .. why or "")
end

--- Returns what `sync` would do, like `plan_ensure`. It always sends a request, without reading the record.
local function plan_sync(report)
  local refusal, why = refusal_of(report)
  return true,
    refusal,
    refusal and why .. ", so a refusal is to be expected" or "a sync is possible"
end

--- Reads the record. Returns the report of what the method of that name would do.
---@param client autopilot.Client
---@param name "sync"|"ensure"
---@param wanted table? the arguments of the method
---@return autopilot.Report
function dry_run.of(client, name, wanted)
  wanted = wanted or {}
  local report, failure = client:status { deadline = wanted.deadline or wanted.timeout }
  if not report then
    return failure
  end
  local plan = name == "sync" and plan_sync or plan_ensure
  report.operation, report.dry_run = name, true
  report.would_post, report.outcome, report.reason = plan(report, wanted, client.options.now())
  report.request = report.would_post and "POST " .. client.sync_request.template.url or nil
  report.ok, report.hint = (outcome.of(report).exit or 0) == 0, hint_of(report)
  if report.outcome == "cooldown" then
    report.retry_after = report.cooldown_remaining
    report.retry_at = client.options.now() + report.cooldown_remaining
  end
  return report
end

--- The report of a dry run as a small table.
function dry_run.lines(report)
  local rows = text.rows {
    { "Would send", report.request or "nothing" },
    { "Because", report.reason },
  }
  for _, line in ipairs(status.lines(report)) do
    rows[#rows + 1] = line
  end
  return rows
end

--- The report of a dry run in one line, for a tenant of a fleet.
function dry_run.line(report)
  return ("%s: %s: %s"):format(
    report.tenant,
    report.would_post and "would send a request" or "would send nothing",
    report.reason
  )
end

return dry_run
