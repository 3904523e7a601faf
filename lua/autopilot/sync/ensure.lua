--- `client:ensure`: makes sure that a sync that was triggered at a given time or later has been started and,
-- with `wait`, completed. It reads the record first, and asks for a sync only if none counts.
--
-- This is a loop: the record decides the next step, and after each step the record is read again, because
-- another client may have asked for a sync in the meantime.

local Call = require "autopilot.sync.call"
local lazy = require "autopilot.base.lazy"
local options = require "autopilot.base.options"
local outcome = require "autopilot.sync.outcome"
local record = require "autopilot.sync.record"
local sync = require "autopilot.sync.sync"
local wait = require "autopilot.sync.wait"

local answers = lazy "autopilot.graph.answer"
local recover = lazy "autopilot.sync.recover"

local ensure = {}

local rules = {
  max_age = { type = "number", min = 0 },
  wait = { type = "boolean", default = true },
}
for name, rule in pairs(wait.rules) do
  rules[name] = rule
end

-- Seconds: progress is told at least so often while a cooldown is waited out.
local longest_silence = 5

-- Seconds between looks at a sync that has to end before another can be asked for.
local first_look, longest_look = 2, 30

---@class autopilot.Ensuring one call of `ensure`
---@field call autopilot.Call
---@field requests autopilot.SyncRequests
---@field look number? seconds of the last pause between looks
---@field why string? why a sync is asked for, where one that counts was triggered
---@field has_joined boolean? it has waited for a sync that it did not ask for

--- Sleeps, and tells the observer of it; false when the time does not suffice.
local function sleep(call, seconds, progress)
  local client = call.client
  if seconds >= call:time_left() then
    return false
  end
  local ends = client.options.clock() + seconds
  local slice = call.on_progress and longest_silence or seconds
  repeat
    progress.remaining, progress.next_read = seconds, seconds
    wait.report_progress(call, progress)
    call:sleep(math.min(seconds, slice))
    seconds = math.min(seconds - slice, ends - client.options.clock())
  until seconds <= 0 or client.is_closed
  return not client.is_closed and call:time_left() > 0
end

--- Completes a read's answer as the refusal that a request would meet.
local function refuse(call, answer, name, seconds)
  answer.outcome, answer.answered_by = name, "client"
  answers.set_retry(call.client, answer, seconds)
  answer.gave_up = not call.is_single_pass and "deadline" or nil
  return answer
end

--- Waits a little, and longer each time, before the next look; false when the time does not suffice.
local function pause(self, status)
  self.look = math.min(longest_look, (self.look or first_look / 2) * 2)
  local seconds = self.look * (1 + 0.25 * self.call.client.options.random())
  return sleep(self.call, seconds, { state = "waiting", sync_status = status })
end

--- Waits while a sync is in progress that does not count: it has to end first.
local function wait_for_the_other(self, answer)
  local call = self.call
  if not call.is_single_pass then
    wait.note(call, "wait", "a sync is in progress that was triggered before")
    if pause(self, "in_progress") then
      return nil
    end
  end
  return refuse(call, answer, "in_progress", call.client.memory:cooldown_left(call:now()))
end

--- Waits until a cooldown or a Retry-After has passed.
local function wait_out(call, answer, name, remaining)
  if call.is_single_pass then
    return refuse(call, answer, name, remaining)
  end
  local ends = call:now() + remaining
  -- Made longer by chance, never shorter: a request that comes too early is refused, and may start the wait
  -- again.
  local seconds = remaining + math.min(5, remaining / 20) * call.client.options.random()
  seconds = math.min(seconds, math.max(remaining, call:time_left() - 1))
  wait.note(call, "wait", ("%s for %d s"):format(name, math.ceil(remaining)))
  if not sleep(call, seconds, { state = "cooldown" }) then
    return refuse(call, answer, name, math.max(0, ends - call:now()))
  end
end

--- Adds to a cooldown without a known end the latest end that it can have: a scheduler needs one.
local function with_end(call, answer)
  local left = answer.outcome == "cooldown" and call.client.memory:cooldown_left(call:now())
  if left and not answer.retry_at then
    answers.set_retry(call.client, answer, left)
  end
  return answer
end

--- Asks for a sync.
local function ask(self)
  local call, requests = self.call, self.requests
  wait.note(call, "sync", self.why or "no sync was triggered since then")
  local answer = sync.request(requests)
  if answer.outcome ~= "started" then
    -- The next look may show that it is done, or how to go on.
    local may_go_on = not call.is_single_pass
      and (outcome.of(answer).look_again or requests.is_unreadable or answer.retry_at)
      and (answer.retry_after or 0) < call:time_left()
    if may_go_on and pause(self) then
      wait.note(call, "look", "the request was answered: " .. answer.outcome)
      return nil
    end
    return with_end(call, answer)
  end
  wait.note(call, "started", "confirmed by the " .. answer.confirmed_by)
  if call.is_single_pass then
    return answer
  end
  local settled = wait.after_start(call, answer)
  if settled.outcome == "sync_failed" then
    requests.last_answer = settled
    return nil -- the next look sees it too
  end
  return settled
end

--- Says that the sync which counts has failed, so that another is asked for.
local function note_failure(self)
  self.why = "the sync failed"
  wait.note(self.call, "look", self.why)
end

--- Called when a sync that counts has been triggered. Waits until it has ended, if it has not.
---@return table? answer nil: the sync failed
---@return table? failed after a wait for a sync that failed: the answer that says so
local function join(self, found, answer, trigger)
  local call = self.call
  local ending = record.ending(found, trigger, call.client.memory)
  if ending == "sync_failed" then
    note_failure(self)
    return nil
  elseif call.is_single_pass or ending then
    wait.note(call, "none", "a sync that counts was triggered already")
    local is_fresh = not self.requests.attempts[1] and not self.has_joined
    answer.outcome = is_fresh and "fresh" or "completed"
    return answer
  end
  wait.note(call, "join", "a sync that counts is in progress")
  self.has_joined = true
  local settled = wait.await(call, call.since, 1, answer)
  if settled.outcome == "sync_failed" then
    note_failure(self)
    return nil, settled
  end
  return settled
end

--- One look at the record and the step that follows from it; an answer ends the call.
local function step(self)
  local call, requests = self.call, self.requests
  local client = call.client
  local memory = client.memory
  local held_for = memory:held_for(call:now())
  if held_for then -- not even the record may be read
    return wait_out(call, {}, memory.held_as, held_for)
  end
  local found, answer = record.read(call)
  if not found then
    return answer
  end
  if requests.open then
    local _
    _, found, answer = recover.settle(requests, found, answer)
  end
  local trigger = record.covering_trigger(found, call.since, memory)
  if trigger then
    local settled, failed = join(self, found, answer, trigger)
    if settled then
      return settled
    end
    answer = failed or answer
    answer.outcome = "sync_failed"
    requests.last_answer = requests.last_answer and answer -- it tells of a later moment
  elseif found.sync_status == "in_progress" then
    return wait_for_the_other(self, answer)
  end
  local name, seconds = memory:refusal(call:now())
  if name then
    local ended = wait_out(call, answer, name, seconds)
    if ended and trigger then
      ended.outcome = "sync_failed" -- there is no time, or no wish, to wait for another
    end
    return ended
  end
  return ask(self)
end

--- Without `since` and `max_age` the moment is the call itself.
---@param client autopilot.Client
---@param given { since: number?, max_age: number?, wait: boolean?, timeout: number?, on_progress: function? }?
---@return autopilot.Report? report
---@return autopilot.Report? failure
function ensure.call(client, given)
  client:check_open "ensure"
  local wanted = options.check("client:ensure", rules, given)
  wanted.since = wanted.since and wait.since(client, "ensure", wanted.since)
  if wanted.since and wanted.max_age then
    error("client:ensure: options 'since' and 'max_age' exclude each other", 2)
  end
  wanted.since = wanted.since or client.options.clock() - (wanted.max_age or 0)
  wanted.is_single_pass, wanted.steps = not wanted.wait, {}
  local call = Call.new(client, "ensure", wanted)
  local self = { call = call, requests = sync.new(call) }
  local answer
  repeat
    answer = step(self)
  until answer
  call:raise_mistake(answer)
  return sync.report(self.requests, answer)
end

return ensure
