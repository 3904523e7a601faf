--- One request at a time for a tenant, among all clients and workers that share a store.
--
-- Whoever is about to post claims the tenant first. Who finds it claimed waits, and gets what the other's
-- request came to; where that depends on who asks, or on the way to the service, it tries by itself.
-- The claim is in `flight`, how others are let run meanwhile in `turns`.

local Flight = require "autopilot.share.flight"
local joined_report = require "autopilot.share.shared_answer"
local reading = require "autopilot.sync.read"
local SharedKnowledge = require "autopilot.share.tenant_store"
local turns = require "autopilot.base.turns"

local one_flight = {}

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

-- What is not everybody's: it depends on the token, or on the way to the service. Two have to meet with
-- it before others take it for theirs.
local of_the_asker = {
  unreachable = true,
  unauthenticated = true,
  forbidden = true,
  redirected = true,
  unexpected = true,
}
local enough_of_them = 2

-- ---- Waiting for another ------------------------------------------------------------------------------

local function time_left(operation, state)
  local clock = operation.client.options.clock()
  local waited = math.max(clock - state.began, state.slept)
  local left = longest_wait - waited
  return operation.deadline and math.min(left, operation.deadline - clock) or left
end

--- The result that may be taken: of the claim that was watched, if its holder was not done before this
-- attempt began, or of a request sent since. And whether that holder is done.
local function find_result(operation, id, state)
  local client, tried_at = operation.client, operation.tried_at
  local text, clock = client.shared:get "result", client.options.clock()
  local now = client.options.now()
  local ahead, before = now - clock, operation.tried_ahead
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
    or (is_since and not of_the_asker[result.answer.outcome])
  return fits and result or nil, is_its
end

--- Waits while another holds the claim.
---@return "landed"|"gone"|"late" how
---@return autopilot.JoinedResult? result
local function wait(operation, state)
  local client = operation.client
  local step, watched = first_step, nil
  while not client.is_closed do
    local value = client.shared:get "claim"
    local id, ends = (value or ""):match "^(%S+) ?(%S*)$"
    local result, is_done = find_result(operation, watched or id, state)
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
    local left = operation.wants_wait ~= false and time_left(operation, state) or 0
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
local function in_progress(operation, ends)
  local client = operation.client
  local now = client.options.now()
  -- What is further ahead was said before the clock was set back.
  local latest = now + longest_wait + client.options.timeout.total
  ends = ends and ends > now and ends <= latest and ends or nil
  local deadline = operation.deadline
  return {
    outcome = "in_progress",
    tenant = client.tenant or nil,
    delivered = "no",
    answered_by = "client",
    retry_at = ends,
    retry_after = ends and ends - now,
    hint = hint_of_late,
    gave_up = deadline and deadline <= client.options.clock() and "deadline" or nil,
    unposted = true,
  }
end

-- ---- What the other's request came to -----------------------------------------------------------------

--- A sync was started, but before the moment that is asked about: another is not to be had now.
local function too_early(operation)
  local client = operation.client
  local now = client.options.now()
  local ends = client.memory:cooldown_end(now)
  return {
    outcome = ends and "cooldown" or "in_progress",
    tenant = client.tenant or nil,
    delivered = "no",
    answered_by = "client",
    retry_at = ends,
    retry_after = ends and ends - now,
    unposted = true,
  }
end

--- Whether a sync of which the record told was triggered before the moment that is asked about, or may
-- have been.
local function is_too_early(operation)
  local client, since = operation.client, operation.since
  if not since or client.memory.started_clock >= since.clock then
    return false
  end
  local _, latest = client.service_clock:to_service(since.at, since.clock, since.is_told)
  return client.memory.own_earliest < latest
end

--- Makes the other's answer ours.
local function joined(operation, result)
  local client, answer = operation.client, result.answer
  operation.joined_attempts = math.max(operation.joined_attempts or 0, result.attempts)
  answer.unposted = true
  if client.on_event then
    client:emit("joined", { outcome = answer.outcome })
  end
  return answer
end

--- The answer to the other's request as our own; nil when we are to try by ourselves, or to read first
-- what came of it.
local function adopt(operation, result, state)
  local client, answer = operation.client, result.answer
  if result.unread_since and require("autopilot.sync.recover").may_look(operation) then
    state.unread, state.unread_id = result, result.id
    return nil
  end
  if of_the_asker[answer.outcome] then
    state.seen = state.seen + 1
    if state.seen < enough_of_them then
      return nil
    end
  end
  client.shared:learn(client.options.now())
  if answer.outcome == "started" then
    if operation.since and result.started.since.clock < operation.since.clock then
      return too_early(operation)
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
  return joined(operation, result)
end

--- Whether a claim has ended with its time: its holder is dead, or was stopped.
local function has_expired(client, ends)
  return ends ~= nil and client.options.now() >= ends - Flight.shortest_rest
end

--- Reads the record after the death of a holder, whose request may have started a sync.
local function look_for_heritage(operation)
  local client, id = operation.client, operation.client_request_id
  if client.options.recover and operation.wants_wait ~= false then
    reading.read_once(operation)
    operation.client_request_id = id -- it is for the request
    Flight.renew(operation, client.options.timeout.total)
  end
end

--- Reads what came of another's request that was lost with the other's time; who waits with us gets to
-- know it too.
---@return table? answer nil when nothing was started, so that it is for us to ask
local function look_after(operation, state)
  local client, result = operation.client, state.unread
  local recover = require "autopilot.sync.recover"
  state.unread = nil
  Flight.settle(operation)
  if not recover.of_another(operation, result, state.seen_trigger) then
    if operation.flight then
      Flight.renew(operation, client.options.timeout.total)
    end
    return nil
  end
  local answer = joined(operation, result)
  if operation.flight then
    Flight.land(operation, answer, result)
  end
  return answer.outcome == "started" and is_too_early(operation) and too_early(operation) or answer
end

--- A refusal that is known by now.
local function refusal_by_now(operation)
  operation.client.shared:learn(operation.client.options.now())
  local refusal = operation.known_refusal(operation)
  if refusal then
    refusal.unposted = true
  end
  return refusal
end

--- What to answer instead of posting although the claim is ours; nil when there is nothing.
local function found_meanwhile(operation, state)
  local refusal = refusal_by_now(operation)
  if not refusal and state.is_heir then
    state.is_heir, state.claim_ends = false, nil -- of this death no more is to be known
    look_for_heritage(operation)
    refusal = refusal_by_now(operation)
  end
  local result = not refusal and find_result(operation, nil, state)
  local answer = refusal or (result and adopt(operation, result, state))
  return answer or (state.unread and look_after(operation, state)) or nil
end

--- Goes on when the request may be posted. To be called when its token is there.
---@param operation autopilot.Operation with `tried_at` and `known_refusal`
---@return table? answer instead of a request; nil: post it
function one_flight.gate(operation)
  local client = operation.client
  if operation.flight and Flight.renew(operation, client.options.timeout.total) then
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
    local is_taken, message = Flight.claim(operation)
    -- Who forces it wants the service's own answer, whatever is known and whoever else asks.
    if operation.force or message and message ~= "exists" or state.blind > most_blind_looks then
      return nil
    elseif is_taken then
      local instead = found_meanwhile(operation, state)
      if instead and operation.flight then
        Flight.land(operation)
      end
      if instead or operation.flight then
        return instead
      end
    end
    local how, result = wait(operation, state)
    local instead = result and adopt(operation, result, state)
    state.is_heir = how == "gone" and has_expired(client, state.claim_ends)
    if how == "late" then
      instead = in_progress(operation, state.claim_ends)
    end
    if instead then
      return instead
    end
  end
  return in_progress(operation, state.claim_ends)
end

return one_flight
