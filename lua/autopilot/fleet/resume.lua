--- Tenants for which this run has requested a sync before, in a process that ended before the answer came:
-- their record shows whether that sync was started, so that it is not requested again.
--
-- This is what `autopilot.sync.failure` does after a lost answer, across two processes, by the same rule: a
-- trigger that may be later than our request counts as ours.

local report = require "autopilot.sync.report"
local reports = require "autopilot.fleet.reports"

local resume = {}

-- Seconds that a request may take, with its token. A trigger later than that is not ours.
local longest_request = 180

-- Fields of the report that are those of the status read.
local copied = "tenant tenant_id status http_version request_id client_request_id activity_id "
  .. "service_date diagnostics last_manual_trigger elapsed timings"

--- The report of a sync that was started, by the record.
local function started(status)
  local fields = { outcome = "started" }
  for name in copied:gmatch "%S+" do
    fields[name] = status[name]
  end
  return report.new(fields)
end

--- Arranges that the next request for a sync is noted in the state before it is sent, and reads the record if
-- an earlier process of this run has asked for a sync.
---@return { asked_at: number, trigger: number, status: autopilot.Report }? earlier when that process asked, and
--- the record; nil where the record shows no trigger that is newer than what that process knew of
---@return autopilot.Report? unread the tenant's, where the state cannot be read
---@return autopilot.Report? failure of reading the record
local function look(fleet, task, seconds)
  local state, client = fleet.state, task.client
  if not state.posted then
    return nil
  end
  local asked_at, seen, message = state:posted(task.key)
  if message then
    return nil, reports.state_unread(fleet, task, message)
  end
  task.before_post = function()
    return state:note_posting(task.key, client.memory.newest_trigger or nil)
  end
  if not asked_at or asked_at > fleet.now() then
    return nil
  end
  local status, failure = client:status { deadline = seconds }
  local trigger = status and status.last_manual_trigger
  if trigger and trigger > (seen or -math.huge) then
    return { asked_at = client.service_clock:of_unix(asked_at), trigger = trigger, status = status }
  end
  return nil, nil, failure
end

--- Before a `sync`: finds out whether an earlier request started one.
---@param fleet autopilot.Fleet its state may have no method `posted`; then it keeps no requests
---@param task autopilot.fleet.Task
---@param given { deadline: number?, wait: boolean? }? arguments of `client:sync`
---@return autopilot.Report? report nil: the sync has to be asked for
function resume.sync(fleet, task, given)
  local client, deadline = task.client, given and given.deadline
  local earlier, unread, failure = look(fleet, task, deadline)
  if failure and not fleet:run_end() then -- after the end of the run, no sync request can be sent
    return reports.record_unread(failure, "sync")
  elseif not earlier then
    return unread
  end
  local trigger = earlier.trigger
  local earliest, latest = client.service_clock:to_service(earlier.asked_at)
  if trigger < earliest then
    return nil
  end
  local waited, unfinished
  if given and given.wait then
    waited, unfinished = client:wait { timeout = deadline } -- for the record's last trigger
  end
  local found = waited or unfinished or started(earlier.status)
  found.operation, found.attempts, found.confirmed_by = "sync", {}, "status"
  found.delivered = trigger <= latest + longest_request and "yes" or "unknown"
  return found
end

--- Before an `ensure`, which reads the record itself: a trigger newer than what the earlier process had seen
-- came after its request, and so counts as ours, whatever the clocks show.
---@param given { timeout: number? }? arguments of `client:ensure`
---@return autopilot.Report? report where the state cannot be read
---@return autopilot.Report? failure of reading the record
function resume.ensure(fleet, task, given)
  local earlier, unread, failure = look(fleet, task, given and given.timeout)
  if earlier then
    task.client.memory:note_started(earlier.asked_at, nil, earlier.trigger, earlier.trigger)
  end
  return unread, failure
end

--- Before a user's own operation, which may request a sync: its client knows of the earlier one.
---@return autopilot.Report? report where it cannot be told whether a sync was asked for before
function resume.operation(fleet, task)
  local unread, failure = resume.ensure(fleet, task)
  if failure and not fleet:run_end() then
    return reports.record_unread(failure, fleet.operation_name)
  end
  return unread
end

return resume
