--- `--dry-run`: what `sync` and `ensure`, or a fleet of them, would post, and why. Only records are read.

local Call = require "autopilot.sync.call"
local ensure = require "autopilot.sync.ensure"
local options = require "autopilot.base.options"
local outcome = require "autopilot.sync.outcome"
local status = require "autopilot.cli.commands.status"
local text = require "autopilot.cli.text"

local dry_run = {}

-- Each plan returns whether a request would be sent; the outcome to expect, nil if it is a success; the reason; and for
-- a refusal, for how many seconds it is expected. While a Retry-After lasts, the record is not read, so that there is
-- no plan.
local plans = {}

local operations = { sync = require "autopilot.sync.sync", ensure = ensure }

--- The reason of a refusal in words.
local function reason_of(name, seconds)
  return name == "in_progress" and "a sync is in progress"
    or ("the cooldown lasts %s more"):format(text.duration(math.ceil(seconds)))
end

--- What `sync` would do. It does not read the record: it sends a request, unless the store has a cooldown, which ends
-- at `stored_until`.
function plans.sync(call, report, stored_until)
  local stored_for = stored_until and stored_until - call:now() or 0
  if stored_for > 0 then
    return false, "cooldown", reason_of("cooldown", stored_for), stored_for
  end
  local name, seconds = call.client.memory:refusal(call:now())
  if report.sync_status == "in_progress" then
    name, seconds = "in_progress", nil
  end
  if name then
    return true, name, reason_of(name, seconds) .. ", so a refusal is to be expected", seconds
  end
  return true, nil, "a sync is possible"
end

function plans.ensure(call, report)
  local plan = ensure.plan(call, report)
  local name, seconds = plan.outcome, plan.seconds
  if plan.action == "none" then
    return false, "fresh", "a sync that counts is known"
  elseif plan.action == "join" then
    return false, nil, "a sync that counts is in progress, and is awaited"
  end
  local is_too_long = not call.is_single_pass and (seconds or 0) >= call:time_left()
  if is_too_long and seconds and name == "in_progress" then
    name = "cooldown" -- that sync is likely to end earlier
  end
  local refusal = name and reason_of(name, seconds)
  if name and (call.is_single_pass or is_too_long) then
    return false, plan.has_failed and "sync_failed" or name, refusal, seconds
  end
  local reason = plan.has_failed and "the sync that counts has failed"
    or "no sync that counts is known"
  return true, nil, reason .. (refusal and "; but first it waits: " .. refusal or "")
end

--- Reads the record. Returns the report of what the method of that name would do.
---@param client autopilot.Client
---@param name "sync"|"ensure"
---@param wanted table? the arguments of the method
---@return autopilot.cli.DryRunReport
function dry_run.of(client, name, wanted)
  local operation = operations[name]
  wanted = options.check("client:" .. name, operation.rules, wanted)
  local call = Call.new(client, name, wanted)
  local mistake = operation.prepare and operation.prepare(call, wanted)
  assert(not mistake, mistake)
  if client.shared then
    client.shared:learn()
  end
  local stored_for = client.memory:cooldown_left(call:now())
  local stored_until = stored_for and call:now() + stored_for
  local report, failure = client:status { deadline = wanted.deadline or wanted.timeout }
  if not report then
    failure.dry_run = true
    return failure
  end
  local seconds
  report.operation, report.dry_run = name, true
  report.would_post, report.outcome, report.reason, seconds =
    plans[name](call, report, stored_until)
  report.request = report.would_post and "POST " .. client.sync_request.template.url or nil
  report.ok, report.hint = (outcome.of(report).exit or 0) == 0, outcome.hint_of(report)
  client:set_retry(report, seconds)
  report.free_at = nil
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
