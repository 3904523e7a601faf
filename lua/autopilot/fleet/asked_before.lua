--- A tenant for which this run has asked for a sync before, in a process that did not live to hear the
-- answer: the record tells whether that sync was started, and then nobody asks again.
--
-- It is the recovery of a lost answer (`autopilot.recover`) across two processes, with the same rule: a
-- stamp that may be from after our asking counts for us.

local report = require "autopilot.report"

local asked_before = {}

-- Seconds: longer than a request takes, with its token. A later trigger was somebody else's.
local longest_request = 180

--- What the report keeps of the status that tells it.
local kept = "tenant status http_version request_id client_request_id activity_id service_date "
  .. "diagnostics last_manual_trigger elapsed timings"

local function started(status, was_ours)
  local fields = {
    operation = "sync",
    outcome = "started",
    confirmed_by = "status",
    answered_by = "service",
    delivered = was_ours and "yes" or "unknown",
    attempts = {},
  }
  for name in kept:gmatch "%S+" do
    fields[name] = status[name]
  end
  return report.seal(fields)
end

--- Notes that a sync is asked for now; and where that was so before, finds out what became of it.
---@param state table the fleet's; one without `ask` knows nothing of it
---@param key string the tenant's
---@param client autopilot.Client
---@param given { deadline: number?, wait: boolean? }? arguments of `client:sync`
---@return autopilot.Report? report nil: it has to be asked for
---@return string? message why it cannot be told whether it was asked for before
function asked_before.settle(state, key, client, given)
  local asked_at, message
  if state.ask then
    asked_at, message = state:ask(key)
  end
  if message then
    return nil, message
  end
  local now = client.options.now()
  if not asked_at or asked_at > now then
    return nil
  end
  local deadline = given and given.deadline
  local status = client:status { deadline = deadline }
  local trigger = status and status.last_manual_trigger
  if not trigger then
    return nil
  end
  local earliest, latest = client.service_clock:to_service(asked_at)
  if trigger < earliest then
    return nil
  elseif given and given.wait then
    local completed, failure = client:wait { timeout = deadline } -- for the record's last trigger
    return completed or failure
  end
  return started(status, trigger <= latest + longest_request)
end

--- For `ensure`, which looks at the record before it asks: notes when it asks, and what it had seen. Where
-- this run did so before, a newer trigger came after that look, and counts for us whatever the clocks say.
---@param state table the fleet's; one without `posted` knows nothing of it
---@param task autopilot.fleet.Task
---@param client autopilot.Client
---@param given { timeout: number? }? arguments of `client:ensure`
---@return string? message why it cannot be told whether it was asked for before
function asked_before.recall(state, task, client, given)
  if not state.posted then
    return nil
  end
  local asked_at, seen, message = state:posted(task.key)
  if message then
    return message
  end
  task.before_post = function()
    state:note_posting(task.key, client.memory.newest_trigger or nil)
  end
  if not asked_at or asked_at > client.options.now() then
    return nil
  end
  local status = client:status { deadline = given and given.timeout }
  local trigger = status and status.last_manual_trigger
  if trigger and trigger > (seen or -math.huge) then
    client.memory:note_proven(asked_at, trigger)
  end
end

return asked_before
