--- Reads the tenant's record, and tells the client's memory of it.
--
-- One request, or as many as the policy allows; what the record means is in `settings`.

local attempts = require "autopilot.sync.attempts"
local settings = require "autopilot.sync.record"

local record = {}

--- The answer while a Retry-After lasts: the host wants to be left alone, whatever would be asked.
local function held_back(client, retry_at)
  return {
    outcome = "throttled",
    tenant = client.tenant or nil,
    retry_at = retry_at,
    retry_after = retry_at - client.options.now(),
    hint = "The service asked to be left alone for a while, so the status was not read.",
  }
end

--- Reads it once, unless a Retry-After that came before has not passed yet.
---@param operation autopilot.Operation
---@return autopilot.SettingsRecord? record nil when it could not be read
---@return table answer what came of the request, in the shape of a report
function record.read_once(operation)
  local client = operation.client
  local _, clock = attempts.now(operation)
  local held_until = client.memory:held_until(client.options.now(), clock)
  if held_until then
    return nil, held_back(client, held_until)
  end
  local context = {
    deadline = operation.deadline,
    retry_attempt = operation.read_attempt or 0,
    client_request_id = operation.client_request_id,
    waited_until = operation.waited_until,
  }
  operation.client_request_id = nil
  local answer, body = client.status_request:run(client, context)
  operation.read_took = answer.elapsed
  -- Said of sync requests only, but for who answered in place of the service.
  answer.delivered, answer.sends = nil, nil
  answer.answered_by = answer.answered_by == "intermediary" and answer.answered_by or nil
  if answer.retry_at and answer.status then
    client.memory:note_refused(answer.outcome, answer.retry_at, context.received_at)
    if client.shared then
      client.shared:tell(client.options.now())
    end
  end
  if not body then
    return nil, answer
  end
  local found, message = settings.parse(body)
  if not found then
    -- A read that was cut off may be repeated; what is no record stays none.
    answer.outcome = answer.network and "interrupted" or "unexpected"
    answer.error = not answer.network and { message = message } or nil
    return nil, answer
  end
  found.sync_status = client:clean(found.sync_status)
  answer.sync_status = found.sync_status
  answer.last_sync = found.last_sync
  answer.last_manual_trigger = found.last_manual_trigger
  client.memory:note_record(found)
  if client.shared then
    client.shared:exchange(client.options.now())
  end
  return found, answer
end

-- A read changes nothing, so it may be repeated even where its answer was lost.
local function judge(answer)
  if answer.outcome ~= "interrupted" then
    return answer
  end
  return { outcome = "unreachable", retry_after = answer.retry_after, retry_at = answer.retry_at }
end

--- Reads it, again and again as the client's policy says.
---@param operation autopilot.Operation
---@return autopilot.SettingsRecord? record
---@return table answer
function record.read(operation)
  local found
  local answer = attempts.run(operation, function(_, number)
    local answer
    operation.read_attempt = number - 1
    found, answer = record.read_once(operation)
    return answer, not found and judge(answer) or nil
  end)
  operation.read_attempt, operation.delay, operation.retry_attempt = nil, nil, nil
  return found, answer
end

return record
