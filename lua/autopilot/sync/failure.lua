--- What follows from a sync request that was refused, was not sent, or whose answer was lost. Interprets the answer,
-- updates what the client knows of the tenant, finds out from the record whether a lost request started a sync, and
-- makes the report that the retry policy judges.
--
-- Reading the record after a lost answer is not a retry: it happens for each attempt that needs it, with every retry
-- policy. The policy says how often a read that fails is repeated.
--
-- A "stamp" is the record's time of the last manual trigger. A stamp at or after the time of sending proves
-- that a sync was triggered since, by us or by another client. A stamp between the time of sending and the
-- time at which we stopped waiting proves that our request arrived. `Date` has whole seconds, and answers
-- take time, so it may be uncertain whether a stamp is from before or after our sending. Then the record is
-- read once more, at a time at which the answer's `Date` decides. A stamp that stays uncertain counts as
-- one from after. So `started` can be wrong in two cases only. In both our own request was lost, and another
-- client triggered a sync: either less than two round trips before we sent (if no second read can be made:
-- less than a second and a round trip, as `Date` has whole seconds), or while our request was under way.

local merged = require "autopilot.base.merged"
local outcome = require "autopilot.sync.outcome"
local record = require "autopilot.sync.record"

local failure = {}

-- ---- Requests whose answers were lost ----------------------------------------------------------------

---@class autopilot.OpenRequests requests of a call that may have started a sync
---@field since number when the first was sent, on the client's clock
---@field sent_last number when the last was sent, on the client's clock
---@field took number seconds after which the last one ended without an answer
---@field earliest number? the earliest that `since` can be on the service's clock, as known first; nil: not known
---@field ended number? the latest time at which the last one ended, on the service's clock; nil: not known
---@field seen number? the latest stamp that is known to be from before them

local lost_in_a_gateway = { [502] = true, [503] = true, [504] = true }

-- Seconds: an answer that comes sooner is not from the other end of a network.
local shortest_trip = 0.005

--- Whether Graph did not answer: the connection broke, or a gateway sent 502 to 504.
local function was_lost(answer)
  local is_gateways = lost_in_a_gateway[answer.status] and not answer.retry_after
  return answer.outcome == "interrupted" or is_gateways or false
end

--- Remembers that a request may have started a sync, although its answer does not say so.
local function keep_open(requests, answer, seen)
  if answer.delivered ~= "unknown" and (answer.sends or 0) <= 1 then
    return
  end
  local sent = requests.sent.at
  local open = requests.open or { since = sent, seen = seen }
  open.sent_last, open.took = sent, answer.elapsed
  local service_clock = requests.call.client.service_clock
  if service_clock:is_known() then
    local _, ended = service_clock:to_service(sent + answer.elapsed)
    open.ended = ended
    -- The range of the service's clock widens with time, so a record that is read much later is compared with this.
    open.earliest = open.earliest or service_clock:to_service(open.since)
  end
  requests.open = open
end

--- Whether a stamp counts as later than our sending, and whether that is certain.
local function counts(requests, stamp)
  local open = requests.open
  local earliest, latest = requests.call.client.service_clock:to_service(open.since)
  if not stamp or stamp < math.max(earliest, open.earliest or earliest) then
    return false, false
  end
  return stamp > (open.seen or 0), stamp >= latest
end

--- Reads the record once more if its stamp counts but is not certain. Returns the second answer, or nil if there is
-- none. If our request was sent exactly at the stamp, this read is sent two round trips before `Date` changes to a new
-- second. If `Date` shows that second already, the service's clock is further ahead: the stamp is from before.
local function look_closer(requests, read)
  local call, open, took = requests.call, requests.open, read.elapsed
  local it_counts, is_sure = counts(requests, read.last_manual_trigger)
  if not it_counts or is_sure or took < shortest_trip or call.is_single_pass then
    return nil
  end
  local passed = call.client.options.clock() - open.since
  local service_time = read.last_manual_trigger + passed + 2 * took
  local seconds = math.ceil(service_time) - service_time
  if seconds + 2 * took >= call:time_left() then
    return nil
  end
  call:sleep(seconds)
  local closer = record.read_once(call)
  return not closer.outcome and closer or nil
end

--- Finds out by the record whether a sync was triggered since the first of the open requests (`requests.open`, which
-- must not be nil). If so, the client remembers that sync, and `requests.open` becomes nil.
---@param read table the answer to a read that succeeded
---@return table read that answer, or the one to a second read
function failure.settle(requests, read)
  local open = requests.open
  read = look_closer(requests, read) or read
  local stamp = read.last_manual_trigger
  if not counts(requests, stamp) then
    open.seen = math.max(open.seen or 0, stamp or 0) -- later reads do not change that
    return read
  end
  local client = requests.call.client
  local memory, service_clock = client.memory, client.service_clock
  local is_of_another_call = memory:may_have_started(stamp)
  memory:note_started(open.since, nil, stamp, stamp)
  record.note(memory, read)
  requests.open = nil
  local under_way_from = service_clock:to_service(open.sent_last)
  local _, under_way_until = service_clock:to_service(open.sent_last + open.took)
  under_way_until = math.min(under_way_until, open.ended or math.huge)
  local _, latest = service_clock:to_service(client.options.clock())
  local was_under_way = stamp >= under_way_from and stamp <= under_way_until
  -- A stamp from the future says that the clocks cannot be compared, as does an unknown clock.
  local is_comparable = service_clock:is_known() and stamp <= latest
  if (was_under_way or not is_comparable) and not is_of_another_call then
    requests.delivered = "yes"
  end
  return read
end

--- Gives the answer of the lost request the outcome that the record shows, and clears its fields about
-- the failure.
local function set_outcome(client, answer, name, seconds)
  answer.outcome = name
  answer.answered_by = nil -- it follows from the record, not from an answer to the request
  answer.network, answer.error, answer.hint = nil, nil, nil
  client:set_retry(answer, seconds)
end

local hint_of_unread_refusal = "An earlier request, whose answer was lost, may have started a "
  .. "sync, and the record could not be read: ask for the status before another sync."

--- Reads the record, and changes the answer to what it shows. If it could not be read, and the answer was lost, the
-- answer's `unread` becomes true. Returns the report for the retry policy; nil: the request started a sync.
---@param is_lost boolean false: the service refused the request, perhaps because an earlier one had started a sync
local function look(requests, answer, is_lost)
  local client = requests.call.client
  local read = record.read(requests.call)
  if not read.trigger_known then
    -- If only the time of this call was over, another call may read the record.
    requests.is_unread = requests.is_unread and requests.call:time_left() <= 0
    answer.unread = is_lost or nil
    if not is_lost then
      answer.hint = hint_of_unread_refusal
    elseif answer.outcome == "unavailable" then
      answer.hint = "The service failed, and its record could not be read: a sync may have started."
    end
    return answer
  end
  requests.is_unread, answer.unread = nil, nil
  read = failure.settle(requests, read)
  if not requests.open then
    set_outcome(client, answer, "started")
    answer.confirmed_by = "status"
    return nil
  elseif is_lost then
    local left = client.memory:cooldown_left(client.options.clock())
    local name = read.sync_status == "in_progress" and "in_progress" or left and "cooldown"
    if not name then
      -- The lost request started nothing, so asking again cannot start a second sync.
      return { outcome = "unreachable" }
    end
    set_outcome(client, answer, name, left)
  end
  return answer
end

--- Finds out whether an attempt started a sync: from its answer, or, if that was lost, from the record, which then
-- changes the answer. Returns as `look`.
local function recover(requests, answer, seen)
  keep_open(requests, answer, seen)
  local is_lost = was_lost(answer)
  requests.is_unread = requests.is_unread or is_lost or nil
  -- The reason of a refusal may be a sync of our own: of an attempt before, or of this request's first copy
  -- where libcurl sent it again.
  local is_refused = outcome.of(answer).source == "tenant"
  local is_looked_at = is_lost or (requests.open and is_refused)
  if not is_looked_at or not requests.call.client.options.recover then
    return answer
  end
  return look(requests, answer, is_lost)
end

--- Reads the record for another call, whose answer was lost and whose deadline left no time to read it.
---@param result autopilot.SharedAnswer its answer is changed to what the record shows
---@param seen number? the latest trigger time that was known when this call began to wait for the other
---@return boolean is_answered true: `result.answer` is this call's answer too; false: the other call started no
-- sync, and this call has to send a request
function failure.look_for_another(requests, result, seen)
  local own, answer, delivered = requests.open, result.answer, requests.delivered
  local others =
    { since = result.unread_since, sent_last = result.sent, took = result.took, seen = seen }
  requests.open = own or others
  requests.is_unread, requests.delivered = true, "no"
  local judged = look(requests, answer, true)
  if requests.open and not requests.is_unread then
    requests.open = own -- what the other's request did is known now
  end
  local has_arrived = requests.delivered == "yes"
  requests.delivered = own and has_arrived and "yes" or delivered
  answer.answered_by = "client"
  if not judged and has_arrived then
    answer.delivered = "yes"
  end
  return not judged or judged == answer
end

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
  local judged, now = recover(requests, answer, seen), client.options.clock()
  -- A 429 without Retry-After gets the end of the expected refusals, if an earlier answer or the record shows it.
  if judged and answer.outcome == "cooldown" and memory:known_end() > now then
    client:set_retry(answer, select(2, memory:refusal(now)))
  end
  return judged
end

-- What the policy judges instead of a lost answer when the record could not be read: another request may
-- start a second sync.
local unread = { outcome = "interrupted", delivered = "unknown" }

--- Handles an attempt that ended without the expected answer, or with an answer that was used instead of a request.
---@param seen number? time of the latest trigger that was known before the attempt
---@return table? judged the report for the retry policy; nil: no retry
function failure.judge(requests, answer, seen)
  local call, judged = requests.call, answer
  if answer ~= requests.instead then
    judged = after_request(requests, answer, seen)
  end
  if not judged or judged.outcome == "started" then
    return nil
  elseif judged.unread then
    return unread
  elseif requests.force or judged.retry_at or outcome.of(judged).source ~= "tenant" then
    return judged
  end
  -- The policy gets the time for which the client expects refusals. After any other failure the next attempt looks for
  -- a known refusal itself.
  local _, seconds = call.client.memory:refusal(call:now())
  return merged(judged, { retry_after = seconds })
end

-- ---- All attempts ------------------------------------------------------------------------------------

--- Combines the last attempt's answer with those of earlier attempts. If the last request could not be sent, but an
-- earlier one got an answer or was delivered, returns what is known of that one; if one may have been delivered, the
-- outcome is `interrupted`.
function failure.sum_up(requests, answer)
  -- Not "no" if any request may have arrived.
  answer.delivered = stronger(requests.delivered, answer.joined and answer.delivered or "no")
  local last = requests.last_answer
  if answer.outcome ~= "unreachable" or answer.delivered == "no" then
    return answer
  elseif last and (answer.delivered == "yes" or last.status) then
    last.delivered, last.gave_up = answer.delivered, answer.gave_up
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
  elseif answer.answered_by == "client" and not answer.joined and requests.last_answer then
    answer.answered_by = nil
  end
  return answer
end

return failure
