--- One request at a time for a tenant, among all clients and workers that share a store.
--
-- A client claims the tenant before it posts. A client that finds it claimed waits, and takes the answer to
-- the other's request. If that answer depends on the token or on the network of the other client, it tries
-- by itself. The claim is in `flight`; how to sleep while others run is in `turns`.

local Flight = require "autopilot.share.flight"
local answers = require "autopilot.graph.answer"
local joined_report = require "autopilot.share.shared_answer"
local outcome = require "autopilot.sync.outcome"
local post = require "autopilot.sync.post"
local record = require "autopilot.sync.record"
local recover = require("autopilot.base.lazy") "autopilot.sync.recover"
local SharedKnowledge = require "autopilot.share.tenant_store"
local turns = require "autopilot.base.turns"

local one_flight = {
  finish = Flight.land,
  pause = Flight.pause,
  settle = Flight.settle,
}

-- Seconds that a call waits for other clients at most.
local longest_wait = 300
-- Seconds. Correct clocks of two machines differ by less. A time further in the future was written before a
-- clock was set back.
local largest_difference = 1

-- Seconds between two looks.
local first_step, step_growth, longest_step = 0.001, 1.5, 0.05

-- How often the store may say that a claim exists but not return it, or not delete one that is over, before
-- it counts as broken.
local most_blind_looks = 20

-- How many answers that depend on the token or the network of another client a waiting call has to see
-- before it takes one for its own.
local enough_of_them = 2

local function is_of_asker(answer)
  return outcome.of(answer).source == "asker"
end

-- ---- Waiting for another ------------------------------------------------------------------------------

local function time_left(posting, state)
  local clock = posting.call.client.options.clock()
  local waited = math.max(clock - state.began, state.slept)
  return math.min(longest_wait - waited, posting.call:time_left())
end

--- The result that this call may take: that of the watched claim, if it was written after this attempt
-- began; or that of any request that was sent after that. And whether the claim's holder has finished.
local function find_result(posting, id, state)
  local client, tried_at = posting.call.client, posting.tried_at
  local text, clock = client.shared:get "result", client.options.clock()
  local now = client.options.now()
  local ahead, before = now - clock, posting.tried_ahead
  local least, most = math.min(ahead, before), math.max(ahead, before)
  local result = joined_report.read(text, client.tenant or nil, now, least, most)
  if not result or result.id == state.unread_id then
    return nil, false -- nothing, or nothing that is new
  end
  -- A result with a time in the future was written before the clock was set back.
  local sent, told = result.sent.clock, result.told.clock
  local is_since = tried_at < sent and sent <= told and told <= clock
  local is_its = result.id == id
  local fits = (is_its and told >= tried_at and told <= clock + largest_difference)
    or (is_since and not is_of_asker(result.answer))
  return fits and result or nil, is_its
end

--- Waits while another client holds the claim.
---@return "landed"|"gone"|"late" how `landed`: there is a result. `gone`: there is none, and the claim has
-- ended. `late`: the time for waiting is over
---@return autopilot.JoinedResult? result
local function wait(posting, state)
  local client = posting.call.client
  local step, watched = first_step, nil
  while not client.is_closed do
    local value = client.shared:get "claim"
    local id, ends = (value or ""):match "^(%S+) ?(%S*)$"
    local result, is_done = find_result(posting, watched or id, state)
    if is_done and id == (watched or id) then
      local is_free = client.shared:call("delete_if", "claim", value) -- its holder failed to
      state.blind = is_free == true and 0 or state.blind + 1
    end
    if result then
      return "landed", result
    elseif is_done then
      return "gone"
    elseif not id or (watched and id ~= watched) then
      state.blind = watched and 0 or state.blind + 1
      return "gone"
    end
    watched, state.blind = id, 0
    state.claim_ends = SharedKnowledge.time_of(ends)
    local left = not posting.call.is_single_pass and time_left(posting, state) or 0
    local slept = left > 0 and turns.let_run(client.options.sleep, math.min(step, left), id)
    if not slept then
      return "late"
    end
    state.slept = state.slept + slept
    step = math.min(step * step_growth, longest_step)
  end
  return "late"
end

local hint_of_late = "Another request for this tenant is under way. Its answer was not waited for "
  .. "any longer, and nothing was sent for this call."

--- The answer when the request of another client is still under way and the time for waiting is over.
local function in_progress(posting, ends)
  local client = posting.call.client
  local now = client.options.now()
  -- An end further ahead was written before the clock was set back.
  local latest = now + longest_wait + client.options.timeout.total
  ends = ends and ends > now and ends <= latest and ends or nil
  return answers.not_sent(client, "in_progress", {
    retry_at = ends,
    hint = hint_of_late,
    gave_up = posting.call:time_left() <= 0 and "deadline" or nil,
    unposted = true,
  })
end

-- ---- What the other's request came to -----------------------------------------------------------------

--- The answer when a sync was started, but before `since`: the service would refuse another one now.
local function too_early(posting)
  local client = posting.call.client
  local ends = client.memory:cooldown_end(client.options.now())
  local name = ends and "cooldown" or "in_progress"
  return answers.not_sent(client, name, { retry_at = ends, unposted = true })
end

--- Whether the sync that the record shows was, or may have been, triggered before `since`.
local function is_too_early(posting)
  local client, since = posting.call.client, posting.call.since
  if not since or client.memory.started_clock >= since.clock then
    return false
  end
  local _, latest = client.service_clock:to_service(since.at, since.clock, since.is_told)
  return client.memory.own_earliest < latest
end

--- Turns the answer to another client's request into the answer of this call.
local function joined(posting, result)
  local client, answer = posting.call.client, result.answer
  posting.joined_attempts = math.max(posting.joined_attempts or 0, result.attempts)
  answer.unposted = true
  if client.on_event then
    client:emit("joined", { outcome = answer.outcome })
  end
  return answer
end

--- The answer of this call, taken from the result of another's request. Nil when this call has to try by
-- itself, or has to read the record first, because the other did not find out whether a sync was started.
local function adopt(posting, result, state)
  local client, answer = posting.call.client, result.answer
  if result.unread_since and recover.may_look(posting.call) then
    state.unread, state.unread_id = result, result.id
    return nil
  end
  if is_of_asker(answer) then
    state.seen = state.seen + 1
    if state.seen < enough_of_them then
      return nil
    end
  end
  client.shared:learn(client.options.now())
  if answer.outcome == "started" then
    if posting.call.since and result.started.since.clock < posting.call.since.clock then
      return too_early(posting)
    end
    local started = result.started
    client.memory:note_started(
      started.since.at,
      started.known_at,
      started.since.clock,
      started.earliest,
      started.latest
    )
  end
  return joined(posting, result)
end

--- Whether a claim has expired: its holder has died, or was stopped.
local function has_expired(client, ends)
  return ends ~= nil and client.options.now() >= ends - Flight.shortest_rest
end

--- Reads the record after a claim has expired: the request of its holder may have started a sync.
local function look_for_heritage(posting)
  local client = posting.call.client
  if client.options.recover and not posting.call.is_single_pass then
    record.read_once(posting.call)
    Flight.renew(posting, client.options.timeout.total)
  end
end

--- Reads the record for another client, whose answer was lost and whose deadline has passed. The clients
-- that wait too get the result from the store.
---@return table? answer nil when no sync was started, so that this call has to ask
local function look_after(posting, state)
  local client, result = posting.call.client, state.unread
  state.unread = nil
  Flight.settle(posting)
  if not recover.of_another(posting, result, state.seen_trigger) then
    if posting.claim then
      Flight.renew(posting, client.options.timeout.total)
    end
    return nil
  end
  local answer = joined(posting, result)
  if posting.claim then
    Flight.land(posting, answer, result)
  end
  return answer.outcome == "started" and is_too_early(posting) and too_early(posting) or answer
end

--- The refusal that this client or the store knows of now; nil when a request may be accepted.
local function refusal_by_now(posting)
  posting.call.client.shared:learn(posting.call.client.options.now())
  local refusal = post.known_refusal(posting)
  if refusal then
    refusal.unposted = true
  end
  return refusal
end

--- After the claim was taken: the answer that makes posting unnecessary; nil when the request has to be sent.
local function found_meanwhile(posting, state)
  local refusal = refusal_by_now(posting)
  if not refusal and state.is_heir then
    state.is_heir, state.claim_ends = false, nil -- the record is read once for each claim that expired
    look_for_heritage(posting)
    refusal = refusal_by_now(posting)
  end
  local result = not refusal and find_result(posting, nil, state)
  local answer = refusal or (result and adopt(posting, result, state))
  return answer or (state.unread and look_after(posting, state)) or nil
end

--- Waits until this call may send its request, or has an answer without it. To be called once it has a token.
---@param posting autopilot.Posting with `tried_at`
---@return table? answer instead of a request; nil: post it
function one_flight.gate(posting)
  local client = posting.call.client
  if posting.claim and Flight.renew(posting, client.options.timeout.total) then
    return nil
  end
  local state = {
    seen = 0,
    slept = 0,
    blind = 0,
    began = client.options.clock(),
    seen_trigger = client.memory.newest_trigger or nil,
  }
  while not client.is_closed do
    local is_taken, message = Flight.claim(posting)
    -- With `force` the request is sent even if a refusal is known or another client has the claim.
    if posting.call.force or message and message ~= "exists" or state.blind > most_blind_looks then
      return nil
    elseif is_taken then
      local instead = found_meanwhile(posting, state)
      if instead and posting.claim then
        Flight.land(posting)
      end
      if instead or posting.claim then
        return instead
      end
    end
    local how, result = wait(posting, state)
    local instead = result and adopt(posting, result, state)
    state.is_heir = how == "gone" and has_expired(client, state.claim_ends)
    if how == "late" then
      instead = in_progress(posting, state.claim_ends)
    end
    if instead then
      return instead
    end
  end
  return in_progress(posting, state.claim_ends)
end

return one_flight
