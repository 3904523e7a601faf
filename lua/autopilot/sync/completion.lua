--- Waits for a sync to complete, by reading the record again and again.
--
-- Which sync is waited for is told by a moment of the client's clock; that moment's sync may be too
-- quick to be seen running, and `completed` may be left over from before: only stamps count.

local attempts = require "autopilot.sync.attempts"
local protected_call = require "autopilot.base.protected_call"
local reading = require "autopilot.sync.read"

local completion = {}

completion.default_timeout = 3600

-- Seconds between two reads: doubling from the first, and up to a quarter more by chance, so that many
-- clients do not read at once. Never below 1 nor above 30.
local first_interval, longest_interval, spread = 1, 24, 0.25

-- Failures that may be over at the next read.
local transient = { unreachable = true, interrupted = true, unavailable = true, throttled = true }

-- After a read has succeeded, a provider that fails is likely to succeed again.
local most_token_errors = 3

---@class autopilot.Progress what `on_progress` is told
---@field state "waiting"|"cooldown"
---@field elapsed number seconds since the call
---@field sync_status string? as last read
---@field last_sync number?
---@field last_manual_trigger number?
---@field remaining number? seconds of the cooldown that is waited out
---@field next_read number seconds until the record is read again

--- Tells the observer, whose errors are its own.
---@param operation autopilot.Operation
---@param progress table
function completion.tell(operation, progress)
  if operation.on_progress then
    progress.elapsed = operation.client.options.clock() - operation.began
    protected_call(operation.on_progress, progress)
  end
end

--- Adds to the list of what was done and why, where the operation keeps one. A step that is repeated is
-- one step.
---@param operation autopilot.Operation
---@param action string
---@param reason string
function completion.note(operation, action, reason)
  local steps = operation.steps
  local last = steps and steps[#steps]
  if steps and not (last and last.action == action and last.reason == reason) then
    steps[#steps + 1] = {
      action = action,
      reason = reason,
      at = operation.client.options.clock() - operation.began,
    }
  end
end

--- Seconds until the operation's deadline.
---@param operation autopilot.Operation
---@return number
function completion.time_left(operation)
  return operation.deadline - operation.client.options.clock()
end

--- The interval after this one, and the seconds to wait now.
local function next_wait(operation, interval)
  local chance = 1 + spread * operation.client.options.random()
  return math.min(longest_interval, interval * 2), interval * chance
end

--- Waits before the next read; false when no time would be left for it. The last read comes a little
-- before the deadline, rather than never, but not before a Retry-After has passed.
local function pause(operation, seconds, retry_after)
  local left = completion.time_left(operation)
  local reserve = math.min(2, left / 10)
  local shortest = math.max(first_interval, retry_after or 0)
  if left <= 0 or (seconds > left - reserve and left - reserve < shortest) then
    return false
  end
  attempts.sleep(operation, math.min(seconds, left - reserve))
  return not operation.client.is_closed and completion.time_left(operation) > 0
end

local function is_bearable(answer, state)
  if answer.is_transient then
    return true
  elseif answer.outcome == "token_error" or answer.outcome == "unauthenticated" then
    state.token_errors = state.token_errors + 1
    return state.has_read and state.token_errors <= most_token_errors
  end
  return transient[answer.outcome] or false
end

--- What the record says of the sync that is waited for: an outcome, or nil while it says nothing.
local function judge(client, record, since, state)
  local trigger = client.memory:covering_trigger(record, since)
  state.trigger = state.trigger or trigger -- a later one may follow before we see this one end
  local memory = client.memory
  return state.trigger and memory:ending(record, state.trigger) == "completed" and "completed"
    or trigger and memory:ending(record, trigger)
    or nil
end

local hint_of_none = "No such sync was triggered, as far as the record tells: ask for one with "
  .. "sync or ensure."

--- The answer when the time is over, or the client was closed.
local function timed_out(operation, answer, state)
  answer = state.last_read or answer or {}
  answer.outcome = "timed_out"
  answer.gave_up = operation.client.is_closed and "not_retryable" or "deadline"
  answer.hint = state.shows_none and hint_of_none or nil
  return answer
end

--- Notes what a read showed, where that is something else than the read before.
local function note_read(operation, record, state)
  local shown = record.sync_status or "no state"
  local trigger = record.last_manual_trigger
  if shown ~= state.shown or trigger ~= state.shown_trigger then
    state.shown, state.shown_trigger = shown, trigger
    completion.note(operation, "read", "the status is " .. shown)
  end
end

--- Waits until a sync triggered at or after `since` has completed.
---@param operation autopilot.Operation with a deadline
---@param since autopilot.Since? nil: the last one that was triggered
---@param first_wait number? seconds before the first read
---@param last_read table? an answer from before, which tells the status while no other does
---@return table answer with outcome `completed`, `sync_failed`, `timed_out` or a read's failure
function completion.await(operation, since, first_wait, last_read)
  local client = operation.client
  local state = { has_read = false, token_errors = 0, last_read = last_read }
  local interval = first_interval
  local answer
  if first_wait then
    interval = math.min(longest_interval, first_wait * 2)
    if not pause(operation, first_wait) then
      return timed_out(operation, nil, state)
    end
  end
  while true do
    local record
    record, answer = reading.read_once(operation)
    if record then
      state.has_read, state.token_errors, state.last_read = true, 0, answer
      state.shows_none = client.memory:shows_none(record, since)
      note_read(operation, record, state)
      answer.outcome = judge(client, record, since, state)
      if answer.outcome then
        return answer
      end
    elseif client.is_closed then
      return timed_out(operation, answer, state)
    elseif answer.mistake or not is_bearable(answer, state) then
      local is_over = completion.time_left(operation) <= 0
      return is_over and timed_out(operation, answer, state) or answer
    end
    local seconds
    interval, seconds = next_wait(operation, interval)
    seconds = math.max(seconds, answer.retry_after or 0)
    last_read = state.last_read
    completion.tell(operation, {
      state = "waiting",
      sync_status = last_read and last_read.sync_status,
      last_sync = last_read and last_read.last_sync,
      last_manual_trigger = last_read and last_read.last_manual_trigger,
      next_read = seconds,
    })
    if not pause(operation, seconds, answer.retry_after) then
      return timed_out(operation, answer, state)
    end
  end
end

--- Goes on after a sync was started: waits for it, and keeps what is known of its start.
---@param operation autopilot.Operation
---@param started table the answer that tells of the start
---@return table answer
function completion.after_start(operation, started)
  local client = operation.client
  operation.deadline = operation.deadline or client.options.clock() + completion.default_timeout
  local answer = completion.await(operation, client.memory:since_own(), first_interval, started)
  answer.delivered, answer.confirmed_by = started.delivered, started.confirmed_by
  answer.answered_by, answer.joined = started.answered_by, started.joined
  answer.tenant = started.tenant
  return answer
end

return completion
