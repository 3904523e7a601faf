--- One request at a time for a tenant, among all clients and workers that share a store.
--
-- Whoever is about to post claims the tenant first. Who finds it claimed waits, and gets what the other's
-- request came to; where that depends on who asks, or on the way to the service, it tries by itself.
-- The claim is in `flight`, how others are let run meanwhile in `turns`.

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

-- Nobody waits longer for others, whoever they are.
local longest_wait = 300
-- Clocks of machines that are kept right differ by less: what is told from further ahead was told before
-- a clock was set back.
local largest_difference = 1

-- Seconds between two looks.
local first_step, step_growth, longest_step = 0.001, 1.5, 0.05

-- So often a store may say that a claim is there without showing it, or keep one that is over, until it
-- counts as broken.
local most_blind_looks = 20

-- An outcome that depends on the token, or on the network of the one who asks: two have to meet with it
-- before others take it for theirs.
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

--- The result that may be taken: of the claim that was watched, if its holder was not done before this
-- attempt began, or of a request sent since. And whether that holder is done.
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
  -- One that is from the future is from before the clock was set back, in part at least.
  local sent, told = result.sent.clock, result.told.clock
  local is_since = tried_at < sent and sent <= told and told <= clock
  local is_its = result.id == id
  local fits = (is_its and told >= tried_at and told <= clock + largest_difference)
    or (is_since and not is_of_asker(result.answer))
  return fits and result or nil, is_its
end

--- Waits while another holds the claim.
---@return "landed"|"gone"|"late" how
---@return autopilot.JoinedResult? result
local function wait(posting, state)
  local client = posting.call.client
  local step, watched = first_step, nil
  while not client.is_closed do
    local value = client.shared:get "claim"
    local id, ends = (value or ""):match "^(%S+) ?(%S*)$"
    local result, is_done = find_result(posting, watched or id, state)
    if is_done and id == (watched or id) then
      local is_free = client.shared:call("delete_if", "claim", value) -- its holder could not
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

--- Another's request is still under way.
local function in_progress(posting, ends)
  local client = posting.call.client
  local now = client.options.now()
  -- What is further ahead was said before the clock was set back.
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

--- A sync was started, but before the moment that is asked about: another is not to be had now.
local function too_early(posting)
  local client = posting.call.client
  local ends = client.memory:cooldown_end(client.options.now())
  local name = ends and "cooldown" or "in_progress"
  return answers.not_sent(client, name, { retry_at = ends, unposted = true })
end

--- Whether a sync of which the record told was triggered before the moment that is asked about, or may
-- have been.
local function is_too_early(posting)
  local client, since = posting.call.client, posting.call.since
  if not since or client.memory.started_clock >= since.clock then
    return false
  end
  local _, latest = client.service_clock:to_service(since.at, since.clock, since.is_told)
  return client.memory.own_earliest < latest
end

--- Makes the other's answer ours.
local function joined(posting, result)
  local client, answer = posting.call.client, result.answer
  posting.joined_attempts = math.max(posting.joined_attempts or 0, result.attempts)
  answer.unposted = true
  if client.on_event then
    client:emit("joined", { outcome = answer.outcome })
  end
  return answer
end

--- The answer to the other's request as our own; nil when we are to try by ourselves, or to read first
-- what came of it.
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

--- Whether a claim has ended with its time: its holder is dead, or was stopped.
local function has_expired(client, ends)
  return ends ~= nil and client.options.now() >= ends - Flight.shortest_rest
end

--- Reads the record after the death of a holder, whose request may have started a sync.
local function look_for_heritage(posting)
  local client = posting.call.client
  if client.options.recover and not posting.call.is_single_pass then
    record.read_once(posting.call)
    Flight.renew(posting, client.options.timeout.total)
  end
end

--- Reads what came of another's request that was lost with the other's time; who waits with us gets to
-- know it too.
---@return table? answer nil when nothing was started, so that it is for us to ask
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

--- A refusal that is known by now.
local function refusal_by_now(posting)
  posting.call.client.shared:learn(posting.call.client.options.now())
  local refusal = post.known_refusal(posting)
  if refusal then
    refusal.unposted = true
  end
  return refusal
end

--- What to answer instead of posting although the claim is ours; nil when there is nothing.
local function found_meanwhile(posting, state)
  local refusal = refusal_by_now(posting)
  if not refusal and state.is_heir then
    state.is_heir, state.claim_ends = false, nil -- of this death no more is to be known
    look_for_heritage(posting)
    refusal = refusal_by_now(posting)
  end
  local result = not refusal and find_result(posting, nil, state)
  local answer = refusal or (result and adopt(posting, result, state))
  return answer or (state.unread and look_after(posting, state)) or nil
end

--- Goes on when the request may be posted. To be called when its token is there.
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
    -- Who forces it wants the service's own answer, whatever is known and whoever else asks.
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
