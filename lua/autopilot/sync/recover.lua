--- Settles whether a sync request whose answer was lost started a sync: the status tells.
--
-- Recovery is no retry: it asks nothing of the service but its record, once or twice for each attempt
-- that needs it, whatever the policy says.
--
-- What a stamp proves: at or after our sending, that a sync was triggered since, whosever; between our
-- sending and our giving up, that our request has arrived. `Date` has whole seconds and answers travel,
-- so a stamp may lie where both sides of our sending are possible. Then one more read is made at a
-- moment that decides; what stays open counts for us. So a false claim takes somebody else's sync in
-- the time of two round trips before our own request, which is lost (in the second before, where no
-- further read can be made), or one while our own request is under way that never arrives.

local reading = require "autopilot.sync.read"

local recover = {}

---@class autopilot.Unsettled the requests of an operation of which it is open what they did
---@field since autopilot.Since when the first was sent
---@field earliest number? the same on the service's clock, when that was known already
---@field sent_last autopilot.Since when the last was sent
---@field took number and after how many seconds it was given up
---@field seen number? the latest trigger's stamp that is known to be from before

local lost_in_a_gateway = { [502] = true, [503] = true, [504] = true }

--- Refusals of which a sync may be the reason that is our own: of an attempt before, or of this
-- request's first copy when libcurl sent it again.
local refused = { in_progress = true, cooldown = true, throttled = true }

--- Whether it was lost, where this request's trace ends: nobody of authority answered it.
local function was_lost(answer)
  return answer.outcome == "interrupted"
    or (
      answer.outcome == "unavailable"
      and lost_in_a_gateway[answer.status]
      and not answer.retry_after
    )
end

--- Whether an operation may go on: its deadline, where there is one, has not passed.
local function has_time(operation)
  return not operation.deadline or operation.client.options.clock() < operation.deadline
end

--- Keeps in mind that this attempt may have started a sync, though nobody said so.
local function keep_open(operation, answer, seen)
  if answer.delivered ~= "unknown" and (answer.sends or 0) <= 1 then
    return
  end
  local service_clock = operation.client.service_clock
  local open, sent = operation.unsettled, { at = operation.sent_at, clock = operation.sent_clock }
  if not open then
    open = { since = sent, seen = seen }
    open.earliest = service_clock:is_in_step(sent.at, sent.clock)
        and service_clock:to_service(sent.at, sent.clock)
      or nil
    operation.unsettled = open
  end
  open.sent_last, open.took = sent, answer.elapsed
end

-- What answers sooner, in seconds, is no service at the other end of a network.
local shortest_trip = 0.005

--- Whether a stamp counts as one from after our sending, and whether that is beyond doubt.
local function counts(operation, stamp)
  local open = operation.unsettled
  local since = open.since
  local earliest, latest = operation.client.service_clock:to_service(since.at, since.clock)
  if not stamp or stamp < math.max(earliest, open.earliest or earliest) then
    return false, false
  end
  return stamp > (open.seen or 0), stamp >= latest
end

--- Reads the record once more where its stamp counts, but not beyond doubt: two round trips before the moment
-- at which `Date` would show a new second if our request had been sent at the stamp's own time. If it
-- shows that second already, the service's clock is further ahead, and the stamp is from before.
local function look_closer(operation, record)
  local client, open, took = operation.client, operation.unsettled, operation.read_took
  local it_counts, is_sure = counts(operation, record.last_manual_trigger)
  if not it_counts or is_sure or took < shortest_trip or operation.wants_wait == false then
    return nil
  end
  local clock = client.options.clock()
  -- Since our request was sent, by the clock that nobody sets.
  local shows = record.last_manual_trigger + (clock - open.since.clock) + 2 * took
  local seconds = math.ceil(shows) - shows
  if operation.deadline and clock + seconds + 2 * took >= operation.deadline then
    return nil
  end
  client.options.sleep(seconds)
  return reading.read_once(operation)
end

--- Whether the record shows that a sync was triggered since the first of our requests of which it was
-- open what they did. If so, the client's memory knows from now on.
---@param operation autopilot.Operation
---@param record autopilot.SettingsRecord
---@param answer table of the read
---@return boolean is_settled
---@return autopilot.SettingsRecord record the newest
---@return table answer of that read
function recover.settle(operation, record, answer)
  local open = operation.unsettled
  if not open then
    return false, record, answer
  end
  local closer, of_closer = look_closer(operation, record)
  record, answer = closer or record, closer and of_closer or answer
  local stamp = record.last_manual_trigger
  if not counts(operation, stamp) then
    open.seen = math.max(open.seen or 0, stamp or 0) -- and later reads do not change that
    return false, record, answer
  end
  local memory, service_clock = operation.client.memory, operation.client.service_clock
  memory:note_proven(open.since.at, open.since.clock, stamp)
  memory:note_record(record)
  operation.unsettled = nil
  local sent = open.sent_last
  local under_way_from, under_way_until = service_clock:to_service(sent.at, sent.clock)
  under_way_until = under_way_until + open.took
  local _, latest = service_clock:to_service(operation.client.options.now())
  local was_under_way = stamp >= under_way_from and stamp <= under_way_until
  -- A stamp from the future says that the clocks cannot be compared, as does an unknown clock.
  local is_comparable = service_clock:is_known() and stamp <= latest
  operation.has_arrived = operation.has_arrived or was_under_way or not is_comparable
  return true, record, answer
end

local function become_started(answer)
  answer.outcome = "started"
  answer.confirmed_by = "status"
  answer.answered_by = nil -- no answer to the request tells it
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
  answer.answered_by = nil -- it follows from the record
  answer.network, answer.error, answer.hint = nil, nil, nil
  return true
end

-- What the policy judges a lost request by whose record could not be read, whatever its answer was: another
-- may start a second sync.
recover.unread = { outcome = "interrupted", delivered = "unknown" }

--- Reads the record and completes the answer by it.
---@return table? judged
local function look(operation, answer, is_lost)
  local record, of_read = reading.read_once(operation)
  if not (record and record.trigger_known) then
    -- Where only our own time was over, others may look.
    operation.is_unread = operation.is_unread and not has_time(operation)
    operation.is_blind = is_lost or nil
    if is_lost and answer.outcome == "unavailable" then
      answer.hint = "The service failed, and its record could not be read: a sync may have started."
    end
    return is_lost and recover.unread or answer
  end
  operation.is_unread, operation.is_blind = nil, nil
  local is_settled
  is_settled, record = recover.settle(operation, record, of_read)
  if is_settled then
    become_started(answer)
    return nil
  end
  if is_lost and not become_refused(operation, answer, record) then
    -- It started nothing, so asking again cannot start a second one.
    return { outcome = "unreachable" }
  end
  return answer
end

--- Looks at what came of an attempt, and reads the record where that leaves it open.
---@param operation autopilot.Operation
---@param answer table of the attempt; changed to what is known then
---@param seen number? the latest trigger's stamp that was known before the attempt
---@return table? judged what the policy is to judge by; nil when the sync was started
function recover.run(operation, answer, seen)
  keep_open(operation, answer, seen)
  local is_lost = was_lost(answer)
  operation.is_blind = nil
  operation.is_unread = operation.is_unread or is_lost or nil
  local is_looked_at = is_lost or (operation.unsettled and refused[answer.outcome])
  if not is_looked_at or not operation.client.options.recover then
    return answer
  end
  return look(operation, answer, is_lost)
end

--- Whether it is for this operation to read what another's lost request came to.
---@param operation autopilot.Operation
---@return boolean
function recover.may_look(operation)
  return operation.client.options.recover and operation.wants_wait ~= false and has_time(operation)
end

--- Looks at what came of another's lost request, which had no time to look by itself.
---@param operation autopilot.Operation
---@param result autopilot.SharedAnswer its answer is changed to what is known then
---@param seen number? the latest trigger's stamp that was known when the wait for it began
---@return boolean is_its_answer false: it started nothing, and it is for this operation to ask
function recover.of_another(operation, result, seen)
  local own, answer, has_arrived = operation.unsettled, result.answer, operation.has_arrived
  operation.unsettled = own
    or {
      since = result.unread_since,
      sent_last = result.sent,
      took = result.took,
      seen = seen,
    }
  operation.is_unread = true
  local judged = look(operation, answer, true)
  if operation.unsettled and not operation.is_unread then
    operation.unsettled = own -- what the other's did is no question of ours any more
  end
  answer.answered_by = "client"
  answer.unread = judged == recover.unread or nil
  if judged then
    return judged == answer or answer.unread
  end
  answer.delivered = operation.has_arrived and "yes" or answer.delivered
  if not own then
    operation.has_arrived = has_arrived -- of ours nothing was under way
  end
  return true
end

return recover
