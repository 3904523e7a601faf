--- Handles sync requests that were refused, were not sent, or whose answer was lost: interprets the answer, updates
-- what the client knows of the tenant, and makes the report that the retry policy judges.

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

--- Records an answer that is not the expected one. For a sync, a 409 has the outcome `in_progress`, and a 429 without
-- Retry-After the outcome `cooldown`.
function failure.note(requests, answer)
  if answer.status == 409 and answer.outcome == "rejected" then
    answer.outcome, answer.hint = "in_progress", nil
  elseif answer.outcome == "throttled" and not answer.retry_after then
    answer.outcome = "cooldown"
  end
  requests.delivered = stronger(requests.delivered, answer.delivered)
end

--- Remembers what a failed request shows about the tenant, and finds out whether it started a sync after all.
local function after_request(requests, answer, seen)
  local call, sent = requests.call, requests.sent
  local client, memory = call.client, call.client.memory
  if answer.status then
    -- The cooldown is over after the call has slept for it, even if the sleep ended slightly early.
    local slept_until = call.slept_until or -math.huge
    local seconds = answer.retry_at and answer.retry_after -- without retry_at: a token endpoint's
    if answer.outcome == "cooldown" and not seconds then
      memory:learn_from_refusal(math.max(sent.at, slept_until))
    end
    memory:note_refused(answer.outcome, seconds, math.max(sent.at + answer.elapsed, slept_until))
  end
  if client.shared then
    client.shared:write()
    client.shared:settle(requests)
  end
  local judged, now = recover.run(requests, answer, seen), client.options.clock()
  -- A 429 without Retry-After gets the end of the cooldown, if an earlier answer or the record shows it.
  if judged and answer.outcome == "cooldown" and memory:known_end() > now then
    client:set_retry(answer, memory:cooldown_left(now))
  end
  return judged
end

--- Handles an answer for which this call sent no request: another call's answer, or an expected refusal.
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
---@param seen number? time of the latest trigger that was known before the attempt
---@return table? judged the report for the retry policy; nil: no retry
function failure.judge(requests, answer, seen)
  local judge = answer == requests.instead and in_place_of_request or after_request
  local judged = judge(requests, answer, seen)
  return judged and with_expected_refusal(requests, judged)
end

-- ---- All attempts ------------------------------------------------------------------------------------

--- Combines the last attempt's answer with those of earlier attempts. If the last request could not be sent, but an
-- earlier one was delivered, returns the earlier answer; if one may have been, the outcome is `interrupted`.
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

local hint_of_late = "The time was over before the request could be sent: allow more."

--- Completes the answer, which may be that to a read of the record, for the report of the whole call.
function failure.complete(requests, answer)
  local call = requests.call
  answer = failure.sum_up(requests, answer)
  if answer.gave_up == "retry_after" and not answer.retry_after then -- the call did not wait for the end of a refusal
    local _, seconds = call.client.memory:refusal(call:now())
    call.client:set_retry(answer, seconds)
  end
  local network = answer.network
  local is_late = answer.outcome == "unreachable" and network and network.name == "DEADLINE"
  if answer.outcome == "interrupted" and answer.delivered == "unknown" then
    answer.hint = nil -- it may be about a read, and a sync may have started
  elseif is_late and call.name == "ensure" then
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
