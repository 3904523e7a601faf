--- Handles sync requests that were refused, were not sent, or whose answer was lost: interprets the answer, updates
-- what the client knows of the tenant, and makes the report that the retry policy judges.

local answers = require "autopilot.graph.answer"
local merged = require "autopilot.base.merged"
local outcome = require "autopilot.sync.outcome"
local recover = require "autopilot.sync.recover"

local failure = {}

local rank = { no = 1, unknown = 2, yes = 3 }

--- Combines two values of `delivered`: yes has priority over unknown, and unknown over no.
local function stronger(one, other)
  return rank[other] > rank[one] and other or one
end

-- ---- One request -------------------------------------------------------------------------------------

--- Returns the refusal that the client expects from the service now; nil if a request may succeed.
---@param requests autopilot.SyncRequests
---@return table? answer
function failure.known_refusal(requests)
  local client = requests.call.client
  local name, seconds = client.memory:refusal(requests.call:now())
  return name and answers.not_sent(client, name, { retry_after = seconds })
end

--- Records an answer that is not the expected one. For a sync, a 409 has the outcome `in_progress`, and a 429 without
-- Retry-After the outcome `cooldown`.
---@param requests autopilot.SyncRequests
---@param answer table
---@param sent autopilot.SentRequest? nil where nothing was sent
function failure.note(requests, answer, sent)
  if sent and answer.status == 409 and answer.outcome == "rejected" then
    answer.outcome, answer.hint = "in_progress", nil
  elseif sent and answer.outcome == "throttled" and not answer.retry_after then
    answer.outcome = "cooldown"
  end
  requests.delivered = stronger(requests.delivered, answer.delivered)
end

--- Adds the end of the cooldown to a 429 without Retry-After, if an earlier answer or the record shows it.
local function add_cooldown_end(call, answer)
  local now, memory = call.client.options.clock(), call.client.memory
  local left = answer.outcome == "cooldown" and memory:cooldown_left(now)
  if left and memory:known_end() > now then
    call.client:set_retry(answer, left)
  end
end

--- Remembers what a failed request shows about the tenant, and finds out whether it started a sync after all.
---@return table? judged the report for the retry policy; nil: no retry
local function after_request(requests, answer, seen)
  local call = requests.call
  local client = call.client
  if answer.status then
    -- The cooldown is over after the call has slept for it, even if the sleep ended slightly early.
    local slept_until = call.slept_until or -math.huge
    local seconds = answer.retry_at and answer.retry_after -- without retry_at: a token endpoint's
    if answer.outcome == "cooldown" and not seconds then
      client.memory:learn_from_refusal(math.max(requests.sent.at, slept_until))
    end
    local received_at = requests.sent.at + answer.elapsed
    client.memory:note_refused(answer.outcome, seconds, math.max(received_at, slept_until))
  end
  if client.shared then
    client.shared:write()
    client.shared:settle(requests)
  end
  local judged = recover.run(requests, answer, seen)
  if judged then
    add_cooldown_end(call, answer)
  end
  return judged
end

--- Handles an answer for which this call sent no request: another call's answer, or an expected refusal.
---@return table? judged the report for the retry policy; nil: no retry
local function in_place_of_request(requests, answer)
  local is_unreadable = answer.unread
  requests.is_unreadable = is_unreadable or requests.is_unreadable
  answer.unread = nil
  return answer.outcome ~= "started" and (is_unreadable and recover.unread or answer) or nil
end

--- Adds a `retry_after` for the retry policy to a refusal without Retry-After: the time for which the client expects
-- requests to be refused. Returns any other failure unchanged: its next attempt checks for a known refusal itself.
local function with_expected_refusal(requests, judged)
  local is_refusal = outcome.of(judged).source == "tenant" and not judged.retry_at
  if not is_refusal or requests.force then
    return judged
  end
  local call = requests.call
  local _, seconds = call.client.memory:refusal(call:now())
  return merged(judged, { retry_after = seconds })
end

--- Handles an attempt that ended without the expected answer.
---@param requests autopilot.SyncRequests
---@param answer table
---@param seen number? time of the latest trigger that was known before the attempt
---@return table? judged the report for the retry policy; nil: no retry
function failure.judge(requests, answer, seen)
  if answer.mistake or answer.gave_up then
    return nil
  end
  local judge = answer == requests.instead and in_place_of_request or after_request
  local judged = judge(requests, answer, seen)
  return judged and with_expected_refusal(requests, judged)
end

-- ---- All attempts ------------------------------------------------------------------------------------

--- Combines the last attempt's answer with those of earlier attempts. If the last request could not be sent, but an
-- earlier one was delivered, returns the earlier answer; if one may have been, the outcome is `interrupted`.
---@param requests autopilot.SyncRequests
---@param answer table
---@return table answer
function failure.sum_up(requests, answer)
  -- Not "no" if any request may have arrived.
  answer.delivered = stronger(requests.delivered, answer.joined and answer.delivered or "no")
  local last = requests.last_answer
  if answer.outcome ~= "unreachable" or answer.delivered == "no" then
    return answer
  elseif last and answer.delivered == "yes" then
    last.delivered, last.gave_up = "yes", answer.gave_up
    requests.call.client:refresh_retry(last)
    return last
  end
  answer.outcome, answer.answered_by, answer.hint = "interrupted", nil, nil
  return answer
end

--- Adds the end of a refusal to an answer after which the call did not wait for that end, if the client knows it and
-- the answer does not contain it.
local function add_known_end(call, answer)
  if answer.gave_up == "retry_after" and not answer.retry_after then
    local _, seconds = call.client.memory:refusal(call:now())
    call.client:set_retry(answer, seconds)
  end
end

local hint_of_late = "The time was over before the request could be sent: allow more."

--- Completes the answer, which may be that to a read of the record, for the report of the whole call.
---@param requests autopilot.SyncRequests
---@param answer table
---@return table answer
function failure.complete(requests, answer)
  answer = failure.sum_up(requests, answer)
  add_known_end(requests.call, answer)
  local network = answer.network
  local is_late = answer.outcome == "unreachable" and network and network.name == "DEADLINE"
  if answer.outcome == "interrupted" and answer.delivered == "unknown" then
    answer.hint = nil -- it may be about a read, and a sync may have started
  elseif is_late and requests.call.name == "ensure" then
    answer.outcome, answer.hint = "timed_out", hint_of_late -- nothing is wrong with the network
  end
  if not requests.attempts[1] and outcome.of(answer).source == "record" then
    answer.answered_by = "client"
  elseif answer.answered_by == "client" and not answer.joined and requests.has_posted then
    answer.answered_by = nil
  end
  return answer
end

return failure
