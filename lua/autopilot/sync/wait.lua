--- `client:wait`, and the waiting of `sync` and `ensure`: reads the record again and again until a sync has
-- completed.
--
-- The sync is identified by a time of the client's clock: it was triggered at that time or later. A sync may
-- be too short to be seen in progress, and the status `completed` may be that of an earlier sync, so only
-- the times in the record count.

local outcome = require "autopilot.sync.outcome"
local protected_call = require("autopilot.base.lazy") "autopilot.base.protected_call"
local record = require "autopilot.sync.record"

---@type autopilot.Operation
local wait = {
  rules = {
    since = { type = "number", min = 0, such_as = "os.time() - 600" },
    timeout = { type = "number", default = 3600, above = 0 },
    on_progress = { type = "function" },
  },
  has_defaults = true,
}

-- Seconds between two reads: doubling from the first, and up to a quarter more by chance, so that many
-- clients do not read at once. Never below 1 nor above 30.
local first_interval, longest_interval, spread = 1, 24, 0.25

-- After a read has succeeded, a provider that fails is likely to succeed again.
local most_token_errors = 3

---@class autopilot.Progress what `on_progress` is told
---@field state "waiting"|"cooldown"
---@field elapsed number seconds since the call
---@field sync_status string? as last read
---@field last_sync number?
---@field last_manual_trigger number?
---@field stuck_for number? as in a report
---@field remaining number? seconds of the cooldown that is waited out
---@field next_read number seconds until the record is read again

-- ---- What the caller is told -------------------------------------------------------------------------

--- Calls `on_progress`; an error in it is ignored.
---@param state "waiting"|"cooldown"
---@param seconds number until the record is read again
---@param read table the last answer to a read; an answer without the record's fields if there was no read
function wait.report_progress(call, state, seconds, read)
  if call.on_progress then
    protected_call(call.on_progress, {
      state = state,
      elapsed = call.client.options.clock() - call.began,
      sync_status = read.sync_status,
      last_sync = read.last_sync,
      last_manual_trigger = read.last_manual_trigger,
      stuck_for = read.stuck_for,
      remaining = state == "cooldown" and seconds or nil,
      next_read = seconds,
    })
  end
end

--- Adds a step to the report of `wait` or `ensure`, and emits it as an event, unless it is the same as the last one.
function wait.note(call, action, reason)
  local steps = call.steps
  local last = steps and steps[#steps]
  if steps and not (last and last.action == action and last.reason == reason) then
    local at = call.client.options.clock() - call.began
    steps[#steps + 1] = { action = action, reason = reason, at = at }
    call.client:emit("step", { action = action, reason = reason })
  end
end

-- ---- Waiting -----------------------------------------------------------------------------------------

--- Converts the option `since` to a moment; nil and what is wrong if it is in the future. Of two possible moments,
-- the later is used, because it proves less.
---@param since number? Unix time of the client's clock
function wait.moment_of(client, since)
  if not since then
    return nil
  elseif since > client.options.now() then
    return nil, "option 'since' must not be in the future"
  end
  local _, latest = client.service_clock:of_unix(since)
  return latest
end

--- Seconds to sleep before the next read; nil if the client was closed, or no time would be left for the read. The
-- sleep is shortened so that a last read happens shortly before the deadline, but not before a Retry-After has passed.
local function until_read(call, seconds, retry_after)
  local left = call:time_left()
  local reserve = math.min(2, left / 10)
  local shortest = math.max(first_interval, retry_after or 0)
  if call.client.is_closed or (seconds > left - reserve and left - reserve < shortest) then
    return nil
  end
  return math.min(seconds, left - reserve)
end

--- Sleeps before the next read; false if there can be none.
---@param answer table? to the last read; nil: this call has not read yet, and reports nothing
local function pause(call, seconds, answer, state)
  local retry_after = answer and answer.retry_after
  local shortened = until_read(call, seconds, retry_after)
  if shortened and answer then
    wait.report_progress(call, "waiting", shortened, state.last_read or {})
    shortened = until_read(call, seconds, retry_after) -- the observer may have taken its time
  end
  if not shortened then
    return false
  end
  call:sleep(shortened)
  return not call.client.is_closed and call:time_left() > 0
end

--- Whether a failed read may succeed at the next attempt.
local function is_passing(answer, state)
  if answer.is_transient then
    return true
  elseif answer.outcome == "token_error" or answer.outcome == "unauthenticated" then
    state.token_errors = state.token_errors + 1
    return state.has_read and state.token_errors <= most_token_errors
  end
  return outcome.of(answer).is_passing or false
end

--- How the sync that is waited for has ended, by the record `found`: `completed` or `sync_failed`; nil: it does not
-- show an end yet.
local function judge(memory, found, state)
  local trigger = record.covering_trigger(found, state.since, memory)
  state.trigger = state.trigger or trigger -- a later one may follow before this one is seen to end
  local ending = state.trigger and record.ending(found, state.trigger, memory)
  return ending == "completed" and ending
    or trigger and record.ending(found, trigger, memory)
    or nil
end

local hint_of_none = "No such sync was triggered, as far as the record tells: ask for one with "
  .. "sync or ensure."

--- The answer when the time is over, or the client was closed.
local function timed_out(call, answer, state)
  local client = call.client
  answer = state.last_read or answer or {}
  local shows_none = state.has_read and record.shows_none(answer, state.since, client.memory)
  -- If no read has succeeded, the answer is a failed one, whose hint tells why.
  answer.hint = shows_none and hint_of_none or outcome.hint_of(answer)
  answer.outcome = "timed_out"
  answer.gave_up = client.is_closed and "not_retryable" or "deadline"
  return answer
end

--- Waits until a sync triggered at or after `since` has completed.
---@param call autopilot.Call with a deadline
---@param since number? a moment of the client's clock; nil: the last one that was triggered
---@param last_answer table? the answer that the caller has just received: it is reported if no read succeeds, and the
-- first read waits a second; nil: the record is read at once
---@return table answer with outcome `completed`, `sync_failed`, `timed_out` or a read's failure
function wait.await(call, since, last_answer)
  local client, answer = call.client, nil
  local state = { since = since, token_errors = 0, last_read = last_answer }
  local interval, seconds = first_interval, nil
  if last_answer then
    interval, seconds = 2 * first_interval, first_interval
  end
  while true do
    if seconds and not pause(call, seconds, answer, state) then
      return timed_out(call, answer, state)
    end
    answer = record.read_once(call)
    if not answer.outcome then
      wait.note(call, "read", "the status is " .. (answer.sync_status or "no state"))
      state.has_read, state.last_read, state.token_errors = true, answer, 0
      answer.outcome = judge(client.memory, answer, state)
      if answer.outcome then
        return answer
      end
    elseif answer.mistake or not is_passing(answer, state) then
      return call:time_left() <= 0 and timed_out(call, answer, state) or answer
    end
    seconds = interval * (1 + spread * client.options.random())
    seconds = math.max(seconds, answer.retry_after or 0)
    interval = math.min(longest_interval, interval * 2)
  end
end

--- For `sync` with `wait`: waits until the sync that was just started has completed. The answer says how the
-- start was confirmed, as `started` does.
---@param started table the answer to the request that started it
function wait.after_start(call, started)
  local answer = wait.await(call, call.client.memory.started_at, started)
  answer.delivered, answer.confirmed_by = started.delivered, started.confirmed_by
  answer.joined = started.joined
  if outcome.of(answer).source == "record" then -- else a read failed: the outcome is not the service's answer
    answer.answered_by = started.answered_by
  end
  return answer
end

--- Waits for a sync. Without `since` that is this client's last started sync, else the last one in the record.
function wait.run(call, wanted)
  local since, mistake = wait.moment_of(call.client, wanted.since)
  if mistake then
    return { mistake = mistake }
  end
  call.steps = {}
  return wait.await(call, since or call.client.memory.started_at)
end

return wait
