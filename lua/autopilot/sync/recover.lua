--- Finds out from the status record whether a sync request whose answer was lost started a sync.
--
-- Recovery is not a retry: it only reads the record, once or twice for each attempt that needs it, with
-- every retry policy.
--
-- A "stamp" is the record's time of the last manual trigger. A stamp at or after the time of sending proves
-- that a sync was triggered since, by us or by another client. A stamp between the time of sending and the
-- time at which we stopped waiting proves that our request arrived. `Date` has whole seconds, and answers
-- take time, so it may be uncertain whether a stamp is from before or after our sending. Then the record is
-- read once more, at a time at which the answer's `Date` decides. A stamp that stays uncertain counts as
-- one from after. So `started` can be wrong in two cases only. In both our own request was lost, and another
-- client triggered a sync: either less than two round trips before we sent (if no second read can be made:
-- less than a second and a round trip, as `Date` has whole seconds), or while our request was under way.

local outcome = require "autopilot.sync.outcome"
local record = require "autopilot.sync.record"

local recover = {}

---@class autopilot.OpenRequests requests of a call that may have started a sync
---@field since number when the first was sent, on the client's clock
---@field sent_last number when the last was sent, on the client's clock
---@field took number seconds after which the last one ended without an answer
---@field earliest number? `since` on the service's clock at the earliest, as that was known then
---@field ended number? when that was at the latest, on the service's clock, if that was known then
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

--- Reads the record once more if its stamp counts but is not certain. The read is timed two round trips
-- before `Date` would change to a new second if our request had been sent exactly at the stamp. If `Date`
-- shows that second already, the service's clock is further ahead, and the stamp is from before.
local function look_closer(requests, read)
  local call, open, took = requests.call, requests.open, read.elapsed
  local it_counts, is_sure = counts(requests, read.last_manual_trigger)
  if not it_counts or is_sure or took < shortest_trip or call.is_single_pass then
    return nil
  end
  local options = call.client.options
  local passed = options.clock() - open.since
  local shows = read.last_manual_trigger + passed + 2 * took
  local seconds = math.ceil(shows) - shows
  if seconds + 2 * took >= call:time_left() then
    return nil
  end
  options.sleep(seconds)
  local closer = record.read_once(call)
  return not closer.outcome and closer or nil
end

--- Finds out by the record whether a sync was triggered since the first of the open requests, of which there
-- must be one. If so, the client remembers it, and `requests.open` becomes nil.
---@return table read the answer to the newest read
function recover.settle(requests, read)
  local open = requests.open
  read = look_closer(requests, read) or read
  local stamp = read.last_manual_trigger
  if not counts(requests, stamp) then
    open.seen = math.max(open.seen or 0, stamp or 0) -- later reads do not change that
    return read
  end
  local client = requests.call.client
  local memory, service_clock = client.memory, client.service_clock
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
  if was_under_way or not is_comparable then
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

-- What the policy judges instead of a lost answer when the record could not be read: another request may
-- start a second sync.
recover.unread = { outcome = "interrupted", delivered = "unknown" }

--- Reads the record and completes the answer accordingly.
local function look(requests, answer, is_lost)
  local client = requests.call.client
  local read = record.read_once(requests.call)
  if not read.trigger_known then
    -- If only the time of this call was over, another call may read the record.
    requests.is_unread = requests.is_unread and requests.call:time_left() <= 0
    requests.is_unreadable = is_lost or nil
    if is_lost and answer.outcome == "unavailable" then
      answer.hint = "The service failed, and its record could not be read: a sync may have started."
    end
    return is_lost and recover.unread or answer
  end
  requests.is_unread, requests.is_unreadable = nil, nil
  read = recover.settle(requests, read)
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

--- Finds out whether an attempt started a sync: from its answer, or, if that was lost, from the record.
---@param answer table of the attempt; changed if the record shows more
---@param seen number? the latest trigger's stamp that was known before the attempt
---@return table? judged what the policy is to judge by; nil when the sync was started
function recover.run(requests, answer, seen)
  keep_open(requests, answer, seen)
  local is_lost = was_lost(answer)
  requests.is_unreadable = nil
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
---@param seen number? the latest trigger time known when the wait for it began
---@return boolean is_its_answer false: the other call started no sync, and this call has to send a request
function recover.of_another(requests, result, seen)
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
  answer.unread = judged == recover.unread or nil
  if judged then
    return judged == answer or answer.unread
  end
  answer.delivered = has_arrived and "yes" or answer.delivered
  return true
end

return recover
