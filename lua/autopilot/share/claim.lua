--- One request at a time for a tenant, among all clients and processes that share a store.
--
-- A call claims the tenant before it posts: it takes a lease in the store, keeps it over short waits between
-- its attempts, and releases it with its answer. A call that finds the tenant claimed waits, and takes the
-- other call's answer for its own. Where that depends on who asks, or on the way to the service, it tries
-- by itself. Where the holder died, or had no time to find out what its request came to, a waiter reads the
-- record before it asks.

local TenantStore = require "autopilot.share.tenant_store"
local answers = require "autopilot.graph.answer"
local outcome = require "autopilot.sync.outcome"
local record = require "autopilot.sync.record"
local recover = require("autopilot.base.lazy") "autopilot.sync.recover"
local shared_answer = require "autopilot.share.shared_answer"
local sync = require "autopilot.sync.sync"

local claim = {}

-- Seconds. A claim lasts that much longer than what it is for.
local margin = 10
-- Seconds that getting a token may take.
local token_time = 60
-- Seconds. A claim is kept over a pause of that length, and that long in all; then it is released, and
-- others get what is known by then.
local longest_pause, longest_hold = 30, 300
-- Seconds. No call waits longer for others, however many hold the claim one after the other.
local longest_wait = 300

-- How often a store may say that there is a claim without showing it, until it counts as broken.
local most_blind_looks = 20

-- An outcome that depends on the token, or on the way to the service: two calls have to meet with one before
-- others take it for theirs.
local enough_askers = 2

TenantStore.claim = claim
claim.share = TenantStore.new

-- ---- Holding the claim -------------------------------------------------------------------------------

--- Seconds that a claim is to last: as far as the call's deadline lets it go on, and a margin.
local function time_for(posting, seconds)
  return math.max(0, math.min(seconds, posting.call:time_left())) + margin
end

--- Renews the claim; false when there is no claim, or when it was lost.
local function renew(posting, seconds)
  local lease = posting.lease
  if lease and not lease:renew(time_for(posting, seconds)) then
    posting.lease = nil
  end
  return posting.lease ~= nil
end

--- Releases the claim, and tells what its request came to, or that its holder has nothing to tell: a claim that
-- ends without either is that of a holder which died.
---@param posting autopilot.Posting
---@param answer table? nil when nothing was posted
---@param of_another autopilot.SharedAnswer? to whose request it is the answer; default: our own
local function release(posting, answer, of_another)
  local lease, client = posting.lease, posting.call.client
  local result = answer
    and not answer.mistake
    and shared_answer.write(lease, posting, answer, of_another)
  posting.lease = nil
  if result then
    -- Nothing newer can be told by others than a sync that was started just now.
    local is_newest = answer.confirmed_by == "response" and not of_another
    client.shared:tell(result, is_newest and client.shared.value or nil)
  else
    client.shared:tell(nil, nil, lease.id)
  end
  lease:release()
end

--- Before the call sleeps until its next attempt.
---@param posting autopilot.Posting
---@param answer table of the last attempt
---@param seconds number
function claim.pause(posting, answer, seconds)
  local lease, options = posting.lease, posting.call.client.options
  local is_kept = lease
    and answer.outcome ~= "unreachable"
    and seconds <= longest_pause
    and options.clock() + seconds - lease.began <= longest_hold
  if is_kept then
    renew(posting, seconds + token_time + options.timeout.total)
  elseif lease then
    release(posting, answer)
  end
end

--- Before the record is read, to find out what a request came to.
---@param posting autopilot.Posting
function claim.settle(posting)
  renew(posting, 3 * posting.call.client.options.timeout.total)
end

--- When a call has its answer: others get it, and what it tells of the tenant.
---@param posting autopilot.Posting
---@param answer table
function claim.finish(posting, answer)
  posting.joined_attempts = nil
  if posting.lease then
    release(posting, answer)
  elseif posting.attempts[1] then
    posting.call.client.shared:tell()
  end
end

-- ---- The answer to another call's request ------------------------------------------------------------

---@class autopilot.ClaimWait what a call knows while others hold the claim
---@field until_when number when to wait no longer
---@field seen_trigger number? the latest trigger's stamp that was known then
---@field watched table<string, boolean> ids of the claims that it has waited for
---@field looked_at table<string, boolean> ids of the claims whose results it has looked at
---@field may_join boolean the store could be read when it began
---@field of_askers integer how many of these depended on who asked
---@field blind integer looks in a row at which the store did not show the claim
---@field unread autopilot.SharedAnswer? of a lost request, for which the record is to be read
---@field may_have_died boolean the last claim ended, and its holder has told nothing
---@field ends number? when the last claim that was seen ends

--- The id of the claim whose holder has told the tenant's result.
local function told_by(client)
  local result = (client.shared.value or {}).result
  return type(result) == "table" and result.told_by or nil
end

---@return autopilot.ClaimWait
local function begin_wait(client)
  return {
    until_when = client.options.clock() + longest_wait,
    seen_trigger = client.memory.newest_trigger,
    watched = {},
    -- An answer that was there before this attempt does not answer it. Where the store could not be read
    -- that is not known, and no answer is taken.
    may_join = client.shared.value ~= nil,
    looked_at = { [told_by(client) or false] = true },
    of_askers = 0,
    blind = 0,
    may_have_died = false,
  }
end

--- The result of a claim that this call has waited for, when it is new to the call.
local function new_result(client, state)
  local looked_at, teller = state.looked_at, told_by(client)
  local is_new = teller and not looked_at[teller]
  looked_at[teller or false] = true
  local result = is_new
    and state.may_join
    and shared_answer.read(client.shared.value.result, client)
  return result and state.watched[result.id] and result or nil
end

--- The answer where a sync was started, but before the moment that is asked about: another cannot be had now.
local function too_early(client)
  local left = client.memory:cooldown_left(client.options.clock())
  return answers.not_sent(client, left and "cooldown" or "in_progress", { retry_after = left })
end

--- Whether the sync that was started last was triggered before the moment that is asked about, or may have been.
local function is_too_early(posting)
  local client, since = posting.call.client, posting.call.since
  if not since or client.memory.started_at >= since then
    return false
  end
  local _, latest = client.service_clock:to_service(since)
  return client.memory.own_earliest < latest
end

--- Makes the answer to another call's request ours.
local function join(posting, result)
  local client, answer = posting.call.client, result.answer
  if answer.outcome == "started" and is_too_early(posting) then
    return too_early(client)
  end
  posting.joined_attempts = math.max(posting.joined_attempts or 0, result.attempts)
  client:emit("joined", { outcome = answer.outcome })
  return answer
end

--- The answer to another call's request as our own; nil when this call is to try by itself, or to read first
-- what came of the request.
local function adopt(posting, result, state)
  local client, answer = posting.call.client, result.answer
  if result.unread_since and recover.may_look(posting.call) then
    state.unread = result
    return nil
  end
  if outcome.of(answer).source == "asker" then
    state.of_askers = state.of_askers + 1
    if state.of_askers < enough_askers then
      return nil
    end
  end
  if answer.outcome == "started" then
    local sent, fact = result.sent, client.shared.value.sync
    if not fact or fact.triggered_at < sent then
      fact = { triggered_at = sent + result.took } -- the value does not tell of it
    end
    client.memory:note_started(sent, fact.triggered_at, fact.earliest, fact.latest)
  end
  return join(posting, result)
end

-- ---- Instead of a request ----------------------------------------------------------------------------

--- The refusal that is known by now, or nil.
local function refusal_by_now(posting)
  posting.call.client.shared:learn()
  return sync.known_refusal(posting)
end

--- Reads the record after another call's lost request. The other waiting calls get the result too.
---@return table? answer nil when nothing was started, so that this call is to post
local function look_after_loss(posting, state)
  local client, result = posting.call.client, state.unread
  state.unread = nil
  claim.settle(posting)
  if not recover.of_another(posting, result, state.seen_trigger) then
    renew(posting, client.options.timeout.total)
    return nil
  end
  if posting.lease then
    release(posting, result.answer, result)
  end
  return join(posting, result)
end

--- What to answer instead of posting although the claim is ours; nil when there is nothing.
local function found_meanwhile(posting, state)
  local client = posting.call.client
  local refusal = refusal_by_now(posting)
  if not refusal and state.may_have_died then
    state.may_have_died, state.ends = false, nil -- nothing more can be found out about that claim
    if client.options.recover and not posting.call.is_single_pass then
      record.read_once(posting.call) -- a request under that claim may have started a sync
      renew(posting, client.options.timeout.total)
    end
    refusal = refusal_by_now(posting)
  end
  local result = not refusal and new_result(client, state)
  local answer = refusal or (result and adopt(posting, result, state))
  return answer or (state.unread and look_after_loss(posting, state)) or nil
end

local hint_of_late = "Another request for this tenant is under way. Its answer was not waited for "
  .. "any longer, and nothing was sent for this call."

--- The answer while another call's request is still under way.
local function in_progress(posting, ends)
  local client = posting.call.client
  local rest = ends and ends - client.options.clock() or 0
  return answers.not_sent(client, "in_progress", {
    retry_after = rest > 0 and math.min(rest, longest_wait) or nil,
    hint = hint_of_late,
    gave_up = posting.call:time_left() <= 0 and "deadline" or nil,
  })
end

--- Waits for the holder, and looks at what it has told.
---@return table? answer nil when this call is to try for the claim again
local function wait(posting, state)
  local call, client = posting.call, posting.call.client
  local clock = client.options.clock
  local how, seen = client.shared.leases:wait(client.shared.claim_key, {
    sleep = client.options.sleep,
    now = clock,
    seconds = call.is_single_pass and 0 or math.min(call:time_left(), state.until_when - clock()),
  })
  state.blind = seen and 0 or state.blind + 1
  if not seen then
    return nil
  end
  state.watched[seen.id], state.ends = true, seen.ends
  if how ~= "over" then
    return in_progress(posting, seen.ends)
  end
  client.shared:learn()
  local result = new_result(client, state)
  local has_ended = (client.shared.value or {}).ended == seen.id
  state.may_have_died = not (result or has_ended or state.looked_at[seen.id])
  return result and adopt(posting, result, state)
end

--- Called when a request could be posted, with its token at hand.
---@param posting autopilot.Posting
---@return table? answer instead of a request; nil: post it
function claim.gate(posting)
  local client = posting.call.client
  local shared, seconds = client.shared, client.options.timeout.total
  if renew(posting, seconds) then
    return nil
  end
  local state = begin_wait(client)
  while not client.is_closed do
    local lease, message = shared.leases:take(shared.claim_key, time_for(posting, seconds))
    posting.lease = lease
    local is_broken = message and message ~= "exists" or state.blind > most_blind_looks
    -- A forced call asks the service itself, even if an answer is known or another call asks.
    if posting.call.force or is_broken then
      return nil
    end
    local instead = (lease and found_meanwhile or wait)(posting, state)
    if instead and posting.lease then
      release(posting)
    end
    if instead or posting.lease then
      return instead
    end
  end
  return in_progress(posting, state.ends)
end

return claim
