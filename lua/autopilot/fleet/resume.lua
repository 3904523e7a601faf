--- Tenants for which this run has asked for a sync before, in a process that ended before the answer came:
-- their record tells whether that sync was started, so that it is not asked for again.
--
-- This is what `autopilot.sync.recover` does after a lost answer, across two processes, by the same rule: a
-- trigger that may be later than our request counts as ours.

local report = require "autopilot.sync.report"

local resume = {}

-- Seconds that a request may take, with its token. A trigger later than that is not ours.
local longest_request = 180

-- Fields of the report that are those of the status read.
local copied = "tenant status http_version request_id client_request_id activity_id service_date "
  .. "diagnostics last_manual_trigger elapsed timings"

local function started(status, was_ours)
  local fields = {
    operation = "sync",
    outcome = "started",
    confirmed_by = "status",
    delivered = was_ours and "yes" or "unknown",
    attempts = {},
  }
  for name in copied:gmatch "%S+" do
    fields[name] = status[name]
  end
  return report.seal(fields)
end

--- Arranges that the next request for a sync is noted in the state before it is sent. Returns what an earlier
-- process of this run has noted.
---@return autopilot.Since? asked_at when that process asked for a sync; nil: it did not
---@return number? seen the newest trigger that it knew of, by the service's clock; -infinity: of none
---@return string? message why that cannot be read
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

--- Before a `sync`: finds out what became of an earlier request.
---@param state table the fleet's; without a method `posted` it keeps no requests
---@param task autopilot.fleet.Task
---@param client autopilot.Client
---@param given { deadline: number?, wait: boolean? }? arguments of `client:sync`
---@return autopilot.Report? report nil: the sync has to be asked for
---@return string? message why it cannot be told whether it was asked for before
function resume.sync(state, task, client, given)
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

--- Before an `ensure`, which reads the record itself: a trigger newer than what the earlier process had seen
-- came after its request, and so counts as ours, even if the clocks differ.
---@param state table the fleet's; without a method `posted` it keeps no requests
---@param task autopilot.fleet.Task
---@param client autopilot.Client
---@param given { timeout: number? }? arguments of `client:ensure`
---@return nil
---@return string? message why it cannot be told whether a sync was asked for before
function resume.ensure(state, task, client, given)
  local asked_at, seen, message = prepare(state, task, client)
  if not asked_at then
    return nil, message
  end
  local status = client:status { deadline = given and given.timeout }
  local trigger = status and status.last_manual_trigger
  if trigger and trigger > seen then
    client.memory:note_proven(asked_at.at, asked_at.clock, trigger)
  end
end

return resume
