--- Settles whether a sync request whose answer was lost started a sync: the status tells.
--
-- Recovery is no retry: it asks nothing of the service but its record, and happens once for each
-- attempt that needs it, whatever the policy says.

local reading = require "autopilot.record"
local settings = require "autopilot.settings"

local recover = {}

local lost_in_a_gateway = { [502] = true, [503] = true, [504] = true }

--- Whether the request may have started a sync although nobody said so.
local function is_open(operation, answer)
  if answer.outcome == "interrupted" then
    return true
  elseif answer.outcome == "unavailable" then
    return lost_in_a_gateway[answer.status] and not answer.retry_after
  elseif answer.outcome == "in_progress" or answer.outcome == "cooldown" then
    -- Refused because of a sync that may be our own: of an attempt before, or of this request's first
    -- copy when libcurl sent it again.
    return operation.unsettled_since ~= nil or (answer.sends or 0) > 1
  end
  return false
end

--- Whether the record shows that one of our requests of which it was open did start a sync. If so,
-- the client's memory knows from now on.
---@param operation autopilot.Operation
---@param record autopilot.SettingsRecord
---@return boolean
function recover.settle(operation, record)
  local client = operation.client
  if not operation.unsettled_since then
    return false
  end
  -- `Date` has whole seconds: the earliest moment on the service's clock that it allows.
  local earliest = client.service_clock:to_service(operation.unsettled_since)
  if not settings.covers(record, earliest) then
    return false
  end
  client.memory:note_started(operation.unsettled_since, client.options.now())
  client.memory:note_record(record)
  operation.unsettled_since = nil
  return true
end

local function become_started(answer)
  answer.outcome = "started"
  answer.confirmed_by = "status"
  answer.delivered = "yes"
  answer.answered_by = "service"
  answer.network, answer.error, answer.hint = nil, nil, nil
  answer.retry_after, answer.retry_at = nil, nil
end

--- It started nothing, and another would be refused: says so instead of asking in vain.
local function become_refused(operation, answer, record)
  local client = operation.client
  local now = client.options.now()
  local ends = client.memory:cooldown_end(now)
  if record.sync_status == "in_progress" then
    answer.outcome = "in_progress"
  elseif ends then
    answer.outcome = "cooldown"
  else
    return false
  end
  answer.retry_at = ends
  answer.retry_after = ends and ends - now
  answer.answered_by = "client"
  answer.network, answer.error, answer.hint = nil, nil, nil
  return true
end

--- Looks at what came of an attempt, and reads the record where that leaves it open.
---@param operation autopilot.Operation
---@param answer table of the attempt; changed to what is known then
---@return table? judged what the policy is to judge by; nil when the sync was started
function recover.run(operation, answer)
  local client = operation.client
  local is_first = not operation.unsettled_since
  if not is_open(operation, answer) then
    return answer
  end
  operation.unsettled_since = operation.unsettled_since or operation.sent_at
  if not client.options.recover then
    return answer
  end
  local was_lost = answer.outcome == "interrupted" or answer.outcome == "unavailable"
  local record = reading.read_once(operation)
  if not record then
    if was_lost then
      answer.outcome, answer.delivered = "interrupted", "unknown"
    end
    return answer
  end
  if recover.settle(operation, record) then
    become_started(answer)
    return nil
  end
  if was_lost and not become_refused(operation, answer, record) and is_first then
    -- It started nothing, so asking again cannot start a second one.
    return { outcome = "unreachable" }
  end
  return answer
end

return recover
