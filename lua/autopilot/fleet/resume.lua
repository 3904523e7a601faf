--- Tenants for which this run has requested a sync before, in a process that ended before the answer came:
-- their record shows whether that sync was started, so that it is not requested again.
--
-- This is what `autopilot.sync.failure` does after a lost answer, across two processes, by the same rule: a
-- trigger that may be later than our request counts as ours.

local report = require "autopilot.sync.report"
local reports = require "autopilot.fleet.reports"

-- Seconds that a request may take, with its token. A trigger later than that is not ours.
local longest_request = 180

--- Arranges that the next request for a sync is noted in the state before it is sent, and reads the record if
-- an earlier process of this run has asked for a sync.
---@return { asked_at: number, trigger: number, status: autopilot.Report }? earlier when that process asked, and
--- the record; nil where the record shows no trigger that is newer than what that process knew of
---@return autopilot.Report? unread the tenant's, where the state or the record cannot be read
local function look(fleet, task, seconds)
  local state, client = fleet.state, task.client
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
  -- An `ensure` reads the record itself, and after the end of the run no sync request can be sent.
  if failure and fleet.operation_name ~= "ensure" and not fleet:is_over() then
    return nil, reports.record_unread(fleet, failure)
  end
end

--- The report of a `sync` that an earlier process has requested, with the fields of the record; nil where that shows none.
local function sync_report(task, earlier, seconds, given)
  local client, trigger, found = task.client, earlier.trigger, earlier.status
  local earliest, latest = client.service_clock:to_service(earlier.asked_at)
  if trigger < earliest then
    return nil
  elseif given and given.wait then
    local waited, unfinished = client:wait { timeout = seconds } -- for the record's last trigger
    found = waited or unfinished
  else
    found.outcome = "started"
  end
  found.operation, found.attempts, found.confirmed_by = "sync", {}, "status"
  found.delivered = trigger <= latest + longest_request and "yes" or "unknown"
  return report.new(found)
end

--- Before an operation that may ask for a sync: finds out whether an earlier request started one.
---@param fleet autopilot.Fleet with a state that has the method `posted`
---@param task autopilot.fleet.Task
---@param seconds number? that the operation may take
---@param given any the operation's arguments; a user's function may take other ones than a table
---@return autopilot.Report? report nil: the operation has to run
return function(fleet, task, seconds, given)
  local earlier, unread = look(fleet, task, seconds)
  if not earlier then
    return unread
  elseif fleet.operation_name == "sync" then
    return sync_report(task, earlier, seconds, given)
  end
  -- The trigger came after the earlier request, and so counts as ours, whatever the clocks show.
  task.client.memory:note_started(earlier.asked_at, nil, earlier.trigger, earlier.trigger)
end
