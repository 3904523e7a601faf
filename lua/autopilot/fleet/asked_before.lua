--- A tenant for which this run has asked for a sync before, in a process that did not live to hear the
-- answer: the record tells whether that sync was started, and then nobody asks again.
--
-- It is the recovery of a lost answer (`autopilot.sync.recover`) across two processes, with the same rule: a
-- stamp that may be from after our asking counts for us.

local report = require "autopilot.sync.report"

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
    delivered = was_ours and "yes" or "unknown",
    attempts = {},
  }
  for name in kept:gmatch "%S+" do
    fields[name] = status[name]
  end
  return report.seal(fields)
end

--- Sees to it that a request is noted before it is sent. Gives when this run did so before, and what the
-- newest trigger was that it knew of then.
---@return autopilot.Since? asked_at
---@return number? seen the service's clock; before any where it knew of none
---@return string? message why that cannot be told
local function prepare(state, task, client)
  if not state.posted then
    return nil
  end
  local asked_at, seen, message = state:posted(task.key)
  if message then
    return nil, nil, message
  end
  task.before_post = function()
    task.before_post = nil
    state:note_posting(task.key, client.memory.newest_trigger or nil)
  end
  if asked_at and asked_at <= client.options.now() then
    return client.service_clock:since(asked_at), seen or -math.huge
  end
end

--- For `sync`: where this run has asked before, finds out what became of it.
---@param state table the fleet's; one without `posted` knows nothing of it
---@param task autopilot.fleet.Task
---@param client autopilot.Client
---@param given { deadline: number?, wait: boolean? }? arguments of `client:sync`
---@return autopilot.Report? report nil: it has to be asked for
---@return string? message why it cannot be told whether it was asked for before
function asked_before.settle(state, task, client, given)
  local asked_at, seen, message = prepare(state, task, client)
  if not asked_at then
    return nil, message
  end
  local deadline = given and given.deadline
  local status = client:status { deadline = deadline }
  local trigger = status and status.last_manual_trigger
  local earliest, latest = client.service_clock:to_service(asked_at.at, asked_at.clock, true)
  if not trigger or trigger < earliest or trigger <= seen then
    return nil
  elseif given and given.wait then
    local completed, failure = client:wait { timeout = deadline } -- for the record's last trigger
    return completed or failure
  end
  return started(status, trigger <= latest + longest_request)
end

--- For `ensure`, which looks at the record before it asks: where this run has asked before, a trigger that
-- is newer than what it had seen came after that look, and counts for us whatever the clocks say.
---@param state table the fleet's; one without `posted` knows nothing of it
---@param task autopilot.fleet.Task
---@param client autopilot.Client
---@param given { timeout: number? }? arguments of `client:ensure`
---@return string? message why it cannot be told whether it was asked for before
function asked_before.recall(state, task, client, given)
  local asked_at, seen, message = prepare(state, task, client)
  if not asked_at then
    return message
  end
  local status = client:status { deadline = given and given.timeout }
  local trigger = status and status.last_manual_trigger
  if trigger and trigger > seen then
    client.memory:note_proven(asked_at.at, asked_at.clock, trigger)
  end
end

return asked_before
