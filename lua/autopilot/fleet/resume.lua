--- Tenants for which this run has requested a sync before, in a process that ended before the answer came:
-- their record shows whether that sync was started, so that it is not requested again.
--
-- This is what `autopilot.sync.failure` does after a lost answer, across two processes, by the same rule: a
-- trigger that may be later than our request counts as ours.

local Call = require "autopilot.sync.call"
local record = require "autopilot.sync.record"
local report = require "autopilot.sync.report"
local reports = require "autopilot.fleet.reports"
local wait = require "autopilot.sync.wait"

-- Seconds that a request may take, with its token. A trigger later than that is not ours.
local longest_request = 180

--- Makes of the record, as it was read, the answer of a `sync` that an earlier process has requested; nil where it
-- shows that the request started none.
---@param asked_at number when that process asked, on the client's clock
local function started(call, asked_at, found, is_waited_for)
  local client, trigger = call.client, found.last_manual_trigger
  local earliest, latest = client.service_clock:to_service(asked_at)
  if trigger < earliest then
    return nil
  end
  found.confirmed_by = "status"
  found.delivered = trigger <= latest + longest_request and "yes" or "unknown"
  found.outcome = is_waited_for and record.ending(found, trigger, client.memory) or "started"
  if not is_waited_for then
    found.sync_status, found.last_sync = nil, nil -- the report is about the start only
  elseif found.outcome == "started" then
    call.deadline = call.deadline or call.began + wait.rules.timeout.default
    return wait.after_start(call, found)
  end
  return found
end

--- The answer where the record does not tell whether the earlier request started a sync.
local function unread(answer)
  local outcome = answer.outcome or "interrupted"
  if outcome == "unreachable" or outcome == "interrupted" then
    answer.outcome, answer.hint = "interrupted", nil -- a sync may have started, which a read's hint does not say
  end
  answer.delivered = "unknown"
  return answer
end

--- Before an operation that may ask for a sync: arranges that each request is noted in the state before it is sent, and
-- finds out whether one of an earlier process has started a sync.
---@param fleet autopilot.Fleet with a state that has the method `posted`
---@param task autopilot.fleet.Task
---@param given any the operation's arguments; a user's function may take other ones than a table
---@return autopilot.Report? report nil: the operation has to run
return function(fleet, task, given)
  local state, client, name = fleet.state, task.client, fleet.operation_name
  local asked_at, seen, message = state:posted(task.key)
  if message then
    return reports.state_unread(fleet, task, message)
  end
  task.before_post = function()
    return state:note_posting(task.key, client.memory.newest_trigger or nil)
  end
  if not asked_at then
    return nil
  end
  asked_at = math.min(asked_at, fleet.now()) -- the clock may have been set back since
  local call = Call.new(client, name)
  call.deadline = task.deadline
  local found, answer = record.read(call), nil
  assert(not found.mistake, found.mistake)
  local trigger = found.last_manual_trigger
  if not found.trigger_known then
    -- An `ensure` reads the record itself, and after the end of the run no sync request can be sent.
    task.is_unsettled = name == "ensure" and found.outcome ~= nil
    answer = not (task.is_unsettled or fleet:is_over()) and unread(found)
  elseif trigger and trigger > (seen or -math.huge) then
    task.has_posted = true
    local moment = client.service_clock:of_unix(asked_at)
    if name == "sync" then
      answer = started(call, moment, found, given and given.wait)
    else -- the trigger came after the earlier request, and so counts as ours, whatever the clocks show
      client.memory:note_started(moment, nil, trigger, trigger)
    end
  end
  if answer then
    local done, failed = report.finish(call, answer, {})
    return done or failed
  end
end
