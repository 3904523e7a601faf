--- What a client of a history knows: of the service's clock, of cooldowns, of refusals.
--
-- Computed from the answers that it received, without a look at the client itself.

local knowledge = {}

local margin = 10 -- the client's default
local tiny = 1e-6
-- What a client may expect of a computer's clock; twice, because it keeps one range for all moments:
-- loosened from an answer to the last one, and from there back to the moment.
local fastest_drift = 2 * 1e-4

--- All of it that was gathered.
function knowledge.of(client)
  client.known = client.known or { stamp = -math.huge, retry_after = {}, answers = {} }
  return client.known
end

--- Whether the service itself has answered, and nothing in between.
function knowledge.is_services(request)
  return request.answer ~= nil and request.answer.is_services == true
end

--- How far the service's clock is ahead at that moment, as `Date` tells it in the service's own answers up
-- to that request: in time of the client's monotonic clock, which cannot be set. What was
-- read before its other clock was set need not be remembered.
---@return number lower
---@return number upper
function knowledge.offset_range(client, moment, last)
  local lower, upper = -math.huge, math.huge
  local known_at = last and last.done or moment
  for _, request in ipairs(knowledge.of(client).answers) do
    local is_told = knowledge.is_services(request)
      and (not last or request.number <= last.number)
      and not client.clock.was_set_between(request.done, known_at)
    if is_told then
      local slack = fastest_drift * math.abs(moment - request.done)
      lower = math.max(lower, request.answer.date - request.done - slack)
      upper = math.min(upper, request.answer.date + 1 - request.sent + slack)
    end
  end
  return lower, upper
end

--- Whether a refusal is no surprise: the client knows of a sync that explains it.
local function is_explained(client, request)
  local knows = knowledge.of(client)
  local lower, upper = knowledge.offset_range(client, request.done)
  local accepted = knows.accepted and knows.accepted.done or -math.huge
  local ends = math.max(knows.stamp + upper - lower, accepted) + 600 + margin
  return request.done <= ends
end

--- Learns from what the client has heard.
function knowledge.gather(call, client, request)
  local answer, knows = request.answer, knowledge.of(client)
  if not answer then
    return
  end
  knows.answers[#knows.answers + 1] = request
  if answer.retry_after then
    table.insert(knows.retry_after, request)
  end
  if answer.kind == "started" then
    knows.accepted = request
    knows.bare_refusal = nil
  elseif answer.kind == "record" then
    local record = answer.record
    knows.stamp =
      math.max(knows.stamp, record.trigger or -math.huge, record.last_sync or -math.huge)
    knows.bare_refusal = nil
    call.record = request
  elseif
    answer.kind == "cooldown"
    and not answer.retry_after
    and not is_explained(client, request)
  then
    knows.bare_refusal = request
  end
  local is_refused = answer.status == 409 or answer.status == 429
  if request.method == "POST" and is_refused and answer.is_services then
    call.refused_at = request.done
  end
end

--- The least end of the cooldown that the client knows of.
function knowledge.cooldown_end(client)
  local knows = knowledge.of(client)
  return math.max(knows.accepted and knows.accepted.sent or -math.huge, knows.stamp) + 600
end

--- The answer whose Retry-After has not passed yet, or nil.
function knowledge.waits_for(client, moment)
  for _, told in ipairs(knowledge.of(client).retry_after) do
    if moment - told.done < told.answer.retry_after - tiny then
      return told
    end
  end
end

--- Whether this request's answer was lost, so that the status is to be read before another.
function knowledge.was_lost(request)
  local answer = request.answer
  local is_gateway = answer
    and not answer.is_services
    and (answer.status == 502 or answer.status == 503 or answer.status == 504)
  return request.sends > 0 and (not answer or (is_gateway and not answer.retry_after))
end

--- Why a request for a sync would be in vain, as far as the client knows, or nil.
function knowledge.futile_because(call, client, request)
  local knows, sent = knowledge.of(client), request.sent
  local told = knowledge.waits_for(client, sent)
  if told then
    return ("request %d told Retry-After %d"):format(told.number, told.answer.retry_after)
  end
  local before = call.requests[#call.requests - 1]
  local is_blind = before and before.method == "POST" and knowledge.was_lost(before)
  if is_blind and client.settings.recover and not client.has_token_troubles then
    return ("request %d was lost, and the status was not read"):format(before.number)
  end
  local record = call.record
  if call.refused_at and not (call.slept and call.slept >= call.refused_at) then
    return "it was refused just now"
  elseif
    record
    and record.answer.record.status == "inProgress"
    and not (call.slept and call.slept >= record.done)
  then
    return "the record says that a sync is in progress"
  elseif client.settings.cooldown == 0 then
    return nil
  elseif sent < knowledge.cooldown_end(client) then
    return "a sync is known of"
  elseif knows.bare_refusal and sent < knows.bare_refusal.done + 600 then
    return "a 429 came, and the record was not read since"
  end
end

return knowledge
