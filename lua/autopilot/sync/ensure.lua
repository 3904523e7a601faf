--- `client:ensure`: makes true that a sync triggered at or after a moment has been started and, with
-- `wait`, completed. It looks first, and asks only as needed.
--
-- A loop over the record: whatever it says decides one step, and after each step it is read again, for
-- anybody may have asked for a sync in the meantime.

local attempts = require "autopilot.sync.attempts"
local completion = require "autopilot.sync.completion"
local options = require "autopilot.base.options"
local reading = require "autopilot.sync.read"
local recover = require "autopilot.sync.recover"
local since_options = require "autopilot.sync.since"
local sync = require "autopilot.sync.sync"

local ensure = {}

local rules = {
  max_age = { type = "number", min = 0 },
  wait = { type = "boolean", default = true },
}
for name, rule in pairs(since_options.rules) do
  rules[name] = rule
end

-- Progress is told at least so often while a cooldown is waited out.
local longest_silence = 5

-- Seconds between looks at a sync that has to end before another can be asked for.
local first_look, longest_look = 2, 30

-- Outcomes of a request after which another look may show that it is done, or how to go on; as may one
-- after any that told when to ask again.
local passing = { in_progress = true, cooldown = true, interrupted = true }

local note = completion.note

--- Sleeps, telling of it; false when the time does not suffice.
local function sleep(operation, seconds, progress)
  local client = operation.client
  if seconds >= completion.time_left(operation) then
    return false
  end
  local ends = client.options.clock() + seconds
  local slice = operation.on_progress and longest_silence or seconds
  repeat
    progress.remaining = seconds
    progress.next_read = seconds
    completion.tell(operation, progress)
    attempts.sleep(operation, math.min(seconds, slice))
    seconds = math.min(seconds - slice, ends - client.options.clock())
  until seconds <= 0 or client.is_closed
  return not client.is_closed and completion.time_left(operation) > 0
end

local function refuse(operation, answer, outcome, retry_at)
  local now = operation.client.options.now()
  answer.outcome = outcome
  answer.answered_by = "client"
  answer.retry_at = retry_at
  answer.retry_after = retry_at and math.max(0, retry_at - now)
  answer.gave_up = operation.wants_wait and "deadline" or nil
  return answer
end

--- Waits a little, and longer each time, before the next look; false when the time does not suffice.
local function pause(operation, status)
  operation.look = math.min(longest_look, (operation.look or first_look / 2) * 2)
  local seconds = operation.look * (1 + 0.25 * operation.client.options.random())
  return sleep(operation, seconds, { state = "waiting", sync_status = status })
end

--- A sync runs that does not count: it has to end first.
local function wait_for_the_other(operation, answer)
  local client = operation.client
  if operation.wants_wait then
    note(operation, "wait", "a sync is in progress that was triggered before")
    if pause(operation, "in_progress") then
      return nil
    end
  end
  return refuse(operation, answer, "in_progress", client.memory:cooldown_end(client.options.now()))
end

--- The cooldown has to end first.
local function wait_out(operation, answer, outcome, retry_at)
  local client = operation.client
  if not operation.wants_wait then
    return refuse(operation, answer, outcome, retry_at)
  end
  local remaining = retry_at - attempts.now(operation)
  -- Upwards only: a request that comes too early is refused, and may start the wait again.
  local seconds = remaining + math.min(5, remaining / 20) * client.options.random()
  seconds = math.min(seconds, math.max(remaining, completion.time_left(operation) - 1))
  note(operation, "wait", ("%s for %d s"):format(outcome, math.ceil(remaining)))
  if not sleep(operation, seconds, { state = "cooldown" }) then
    return refuse(operation, answer, outcome, retry_at)
  end
end

--- Adds to a refusal that names no end the latest that it can have: a scheduler needs one.
local function with_end(operation, answer)
  local now = operation.client.options.now()
  local ends = answer.outcome == "cooldown" and operation.client.memory:cooldown_end(now)
  if ends and not answer.retry_at then
    answer.retry_at, answer.retry_after = ends, ends - now
  end
  return answer
end

--- Asks for a sync.
local function post(operation)
  note(operation, "sync", operation.why or "no sync was triggered since")
  local answer = operation.wants_wait and sync.request(operation) or sync.request_once(operation)
  if answer.outcome ~= "started" then
    local may_go_on = operation.wants_wait
      and (passing[answer.outcome] or operation.is_blind or answer.retry_at)
      and (answer.retry_after or 0) < completion.time_left(operation)
    if may_go_on and pause(operation) then
      note(operation, "look", "the request was answered: " .. answer.outcome)
      return nil
    end
    return with_end(operation, answer)
  end
  note(operation, "started", "confirmed by the " .. answer.confirmed_by)
  if not operation.wants_wait then
    return answer
  end
  local settled = completion.after_start(operation, answer)
  if settled.outcome == "sync_failed" then
    operation.last_told = settled
    return nil -- the next look sees it too
  end
  return settled
end

--- A sync that counts has been triggered: has it ended?
local function join(operation, record, answer, trigger)
  local ending = operation.client.memory:ending(record, trigger)
  if ending == "sync_failed" then
    operation.why = "the sync failed"
    note(operation, "look", operation.why)
    return nil
  elseif not operation.wants_wait or ending then
    note(operation, "none", "a sync that was triggered since is known")
    local is_fresh = not operation.attempts[1] and not operation.joined
    answer.outcome = is_fresh and "fresh" or "completed"
    return answer
  end
  note(operation, "join", "a sync that was triggered since is in progress")
  operation.joined = true
  local settled = completion.await(operation, operation.since, 1, answer)
  if settled.outcome == "sync_failed" then
    operation.why = "the sync failed"
    note(operation, "look", operation.why)
    return nil, settled
  end
  return settled
end

--- One look at the record and the step that follows from it; an answer ends the operation.
local function step(operation)
  local client = operation.client
  local memory = client.memory
  local held_until = memory:held_until(attempts.now(operation))
  if held_until then -- not even the record may be read
    return wait_out(operation, { tenant = client.tenant or nil }, memory.held_as, held_until)
  end
  local record, answer
  if operation.wants_wait then
    record, answer = reading.read(operation)
  else
    record, answer = reading.read_once(operation)
  end
  if not record then
    return answer
  end
  local _
  _, record, answer = recover.settle(operation, record, answer)
  local trigger = memory:covering_trigger(record, operation.since)
  if trigger then
    local settled, failed = join(operation, record, answer, trigger)
    if settled then
      return settled
    end
    answer = failed or answer
    answer.outcome = "sync_failed"
    operation.last_told = operation.last_told and answer -- it tells of a later moment
  end
  if record.sync_status == "in_progress" and not trigger then
    return wait_for_the_other(operation, answer)
  end
  local outcome, retry_at = memory:refusal(attempts.now(operation))
  if outcome then
    local ended = wait_out(operation, answer, outcome, retry_at)
    if ended and trigger then
      ended.outcome = "sync_failed" -- there is no time, or no wish, to wait for another
    end
    return ended
  end
  return post(operation)
end

--- The moment that is meant.
---@return autopilot.Since
local function begin_of(client, wanted)
  if wanted.since then
    return since_options.of(client, wanted.since)
  end
  local clocks, age = client.options, wanted.max_age or 0
  return { at = clocks.now() - age, clock = clocks.clock() - age }
end

--- Without `since` and `max_age` the moment is the call itself.
---@param client autopilot.Client
---@param given { since: number?, max_age: number?, wait: boolean?, timeout: number?, on_progress: fun(progress: autopilot.Progress)? }?
---@return autopilot.Report? report
---@return autopilot.Report? failure
function ensure.call(client, given)
  client:check_open "ensure"
  local wanted = options.check("client:ensure", rules, given)
  since_options.check("ensure", client, wanted.since)
  if wanted.since and wanted.max_age then
    error("client:ensure: options 'since' and 'max_age' exclude each other", 2)
  end
  local timeout = wanted.timeout or completion.default_timeout
  local operation = attempts.begin(client, "ensure", timeout)
  operation.attempts = {}
  operation.since = begin_of(client, wanted)
  operation.wants_wait = wanted.wait
  operation.on_progress = wanted.on_progress
  operation.steps = {}
  local answer
  repeat
    answer = step(operation)
  until answer
  if answer.mistake then
    error("client:ensure: " .. answer.mistake, 2)
  end
  return sync.deliver(operation, answer)
end

return ensure
