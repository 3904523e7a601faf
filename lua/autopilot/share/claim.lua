--- Allows one sync request at a time for a tenant, among all clients and processes that share a store.
--
-- A call claims the tenant before it sends a request: it takes a lease in the store, keeps it during short
-- waits between its attempts, and releases it together with its answer. A call that finds the tenant claimed
-- waits, and returns the other call's answer as its own. If that answer depends on the caller's token or
-- network, it sends a request itself. If the holder died, or had no time to find out whether its request
-- started a sync, a waiting call reads the record first.

local TenantStore = require "autopilot.share.tenant_store"
local answers = require "autopilot.graph.answer"
local failure = require("autopilot.base.lazy") "autopilot.sync.failure"
local outcome = require "autopilot.sync.outcome"
local record = require "autopilot.sync.record"
local shared_answer = require "autopilot.share.shared_answer"
local sync = require "autopilot.sync.sync"

-- Seconds added to the expected duration of the work that a claim is for.
local margin = 10
-- Seconds that getting a token may take.
local token_time = 60
-- Seconds that a claim is kept at most during one pause, and in all. Then it is released, and other calls get the
-- answer so far. A call waits as long in all, even if several others hold the claim one after the other.
local longest_pause, longest_hold = 30, 300
-- A store counts as broken if it says so many times that a claim exists, but does not return it.
local most_unseen = 20

-- A call adopts an outcome that depends on the token or the network only after so many other calls got such
-- an outcome.
local enough_askers = 2

-- ---- Holding the claim -------------------------------------------------------------------------------

--- The seconds for which a claim is taken: the given time, not beyond the call's deadline, plus a margin.
local function time_for(requests, seconds)
  return math.max(0, math.min(seconds, requests.call:time_left())) + margin
end

--- Renews the claim; false if there is none, or if it was lost.
local function renew(requests, seconds)
  local lease = requests.lease
  if lease and not lease:renew(time_for(requests, seconds)) then
    requests.lease = nil
  end
  return requests.lease ~= nil
end

--- Releases the claim. The answer is stored for other calls; without an answer, the end of the claim is stored. If
-- neither is stored, other calls assume that the holder has died.
---@param answer table? nil if nothing was posted
---@param other autopilot.SharedAnswer? the answered request, if it is another call's
local function release(requests, answer, other)
  local lease, client = requests.lease, requests.call.client
  local result = answer
    and not answer.mistake
    and shared_answer.write(lease, requests, answer, other)
  requests.lease = nil
  if result then
    -- The store cannot have a newer sync than one that was started just now.
    local is_newest = answer.confirmed_by == "response" and not other
    client.shared:write(result, is_newest and client.shared.value or nil)
  else
    client.shared:write(nil, nil, lease.id)
  end
  lease:release()
end

--- Called before the call sleeps until its next attempt. Keeps the claim, or releases it.
function TenantStore:pause(requests, answer, seconds)
  local lease, options = requests.lease, self.client.options
  local is_kept = lease
    and answer.outcome ~= "unreachable"
    and seconds <= longest_pause
    and options.clock() + seconds - lease.began <= longest_hold
  if is_kept then
    renew(requests, seconds + token_time + options.timeout.total)
  elseif lease then
    release(requests, answer)
  end
end

--- Called before the record is read to find out whether a request started a sync. Renews the claim.
function TenantStore:settle(requests)
  renew(requests, 3 * self.client.options.timeout.total)
end

--- Called when a call has its answer. Stores the answer for others, and what it shows about the tenant.
function TenantStore:finish(requests, answer)
  requests.joined_attempts = nil
  if requests.lease then
    release(requests, answer)
  elseif requests.attempts[1] then
    self:write()
  end
end

-- ---- The answer to another call's request ------------------------------------------------------------

--- The stored result of the tenant, whose fields may have any form; an empty table if there is none.
local function stored_result(client)
  local result = (client.shared.value or {}).result
  return type(result) == "table" and result or {}
end

--- The state of a call while others hold the claim.
local function new_wait(client)
  local before = stored_result(client)
  return {
    began = client.options.clock(),
    seen_trigger = client.memory.newest_trigger, -- the latest that was known before the wait
    watched = {}, -- a set of the ids of the claims that it has waited for
    -- An answer stored before this attempt is not used for it. If the store cannot be read now, such an
    -- answer could not be recognised later, so none is used.
    may_join = client.shared.value ~= nil,
    -- The claim of that answer: if another call reads the record for it later, the result is not for this call either.
    old_claim = before.id,
    looked_at = { [before.told_by or false] = true }, -- ids of claims whose results it has read
    of_askers = 0, -- how many of these depended on the token or the network
    unseen = 0, -- reads in a row that did not return the existing claim
    unread = nil, -- the result of a request whose answer was lost: the record is to be read
    may_have_died = false, -- the last claim ended, and its holder stored nothing
  }
end

--- The stored result; nil if this call has not waited for the claim that it belongs to, or has read it before.
local function new_result(client, state)
  local stored, looked_at = stored_result(client), state.looked_at
  local writer = stored.told_by or false
  local is_new = not looked_at[writer] and stored.id ~= state.old_claim
  looked_at[writer] = true
  local result = is_new and state.may_join and shared_answer.read(stored, client)
  if not (result and state.watched[result.id]) then
    return nil
  end
  -- The answer came after this wait began, which tells more than Unix time that was set.
  result.sent = math.min(math.max(result.sent, state.began - result.took), result.sent_latest)
  return result
end

--- Whether the sync that was started last was, or may have been, triggered before the call's `since`.
local function is_too_early(requests)
  local client, since = requests.call.client, requests.call.since
  if not since or client.memory.started_at >= since then
    return false
  end
  local _, latest = client.service_clock:to_service(since)
  return client.memory.own_earliest < latest
end

--- Returns another call's answer as the answer of this call.
local function join(requests, result)
  local client, answer = requests.call.client, result.answer
  if answer.outcome == "started" and is_too_early(requests) then -- no other can be started now
    local left = client.memory:cooldown_left(client.options.clock())
    return answers.not_sent(client, left and "cooldown" or "in_progress", { retry_after = left })
  end
  requests.joined_attempts = math.max(requests.joined_attempts or 0, result.attempts)
  client:emit("joined", { outcome = answer.outcome })
  return answer
end

--- Whether the call may read the record for another call, whose answer was lost.
local function may_look(call)
  return call.client.options.recover and not call.is_single_pass and call:time_left() > 0
end

--- Returns another call's answer as this call's own; nil if this call is to send a request itself, or to read
-- the record first (`state.unread`).
local function adopt(requests, result, state)
  local client, answer = requests.call.client, result.answer
  if result.unread_since and may_look(requests.call) then
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
      fact = { triggered_at = sent + result.took } -- the value lacks it
    end
    client.memory:note_started(sent, fact.triggered_at, fact.earliest, fact.latest)
  end
  return join(requests, result)
end

-- ---- Instead of a request ----------------------------------------------------------------------------

--- Reads the record after another call's answer was lost. Other waiting calls get the result too.
---@return table? answer nil: no sync was started, and this call is to send a request
local function settle_for_other(requests, state)
  local client, result = requests.call.client, state.unread
  state.unread = nil
  client.shared:settle(requests)
  if not failure.look_for_another(requests, result, state.seen_trigger) then
    renew(requests, client.options.timeout.total)
    return nil
  end
  if requests.lease then
    release(requests, result.answer, result)
  end
  return join(requests, result)
end

--- Called when this call has taken the claim. Returns the answer that makes its request needless: a known refusal, or
-- what follows from another call's request. Nil: the request is to be sent.
local function found_meanwhile(requests, state)
  local client = requests.call.client
  local refusal = sync.known_refusal(requests.call)
  if not refusal and state.may_have_died then
    state.may_have_died = false -- once is enough for that claim
    if may_look(requests.call) then
      record.read_once(requests.call) -- a request under that claim may have started a sync
      renew(requests, client.options.timeout.total)
    end
    refusal = sync.known_refusal(requests.call)
  end
  local result = not refusal and new_result(client, state)
  local answer = refusal or (result and adopt(requests, result, state))
  return answer or (state.unread and settle_for_other(requests, state)) or nil
end

local hint_of_late = "Another request for this tenant is under way. Its answer was not waited for "
  .. "any longer, and no further one was sent."

--- The answer while another call's request is still under way.
local function in_progress(requests, ends)
  local client = requests.call.client
  local rest = ends and ends - client.options.clock() or 0
  return answers.not_sent(client, "in_progress", {
    retry_after = rest > 0 and math.min(rest, longest_hold) or nil,
    hint = hint_of_late,
    gave_up = requests.call:time_left() <= 0 and "deadline" or nil,
  })
end

--- Waits until the holder releases the claim, and reads its result.
---@return table? answer nil: try to take the claim again
local function wait(requests, state)
  local call, client = requests.call, requests.call.client
  local function clock()
    return client.is_closed and math.huge or client.options.clock() -- a closed client waits no longer
  end
  local how, seen = client.shared.leases:wait(client.shared.claim_key, {
    sleep = client.options.sleep,
    now = clock,
    seconds = call.is_single_pass and 0
      or math.min(call:time_left(), state.began + longest_hold - clock()),
  })
  state.unseen = seen and 0 or state.unseen + 1
  if not seen then
    return nil
  end
  state.watched[seen.id] = true
  if how ~= "over" then
    return in_progress(requests, seen.ends)
  end
  client.shared:learn()
  local result = new_result(client, state)
  local has_ended = (client.shared.value or {}).ended == seen.id
  state.may_have_died = not (result or has_ended or state.looked_at[seen.id])
  return result and adopt(requests, result, state)
end

--- Called right before a request would be sent, when its token is known.
---@return table? answer instead of a request; nil: send it, unless the client was closed
function TenantStore:gate(requests)
  local client, seconds = self.client, self.client.options.timeout.total
  if renew(requests, seconds) then
    return nil
  end
  local state = new_wait(client)
  while not client.is_closed do
    local lease, message = self.leases:take(self.claim_key, time_for(requests, seconds))
    requests.lease = lease
    local is_broken = message and message ~= "exists" or state.unseen > most_unseen
    -- With `force` a request is sent even if a refusal is expected or another call sends one.
    if requests.force or is_broken then
      return nil
    end
    local instead = (lease and found_meanwhile or wait)(requests, state)
    if instead and requests.lease then
      release(requests)
    end
    if instead or requests.lease then
      return instead
    end
  end
end

return TenantStore
