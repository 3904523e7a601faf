--- `client:ensure`: makes sure that a sync that was triggered at a given time or later has been started and,
-- with `wait`, completed. It reads the record first, and asks for a sync only if none counts.
--
-- This is a loop: the record decides the next step, and after each step the record is read again, because
-- another client may have asked for a sync in the meantime.

local lazy = require "autopilot.base.lazy"
local outcome = require "autopilot.sync.outcome"
local record = require "autopilot.sync.record"
local sync = require "autopilot.sync.sync"
local wait = require "autopilot.sync.wait"

local failure = lazy "autopilot.sync.failure"

---@type autopilot.Operation
local ensure = {
  rules = {
    since = wait.rules.since,
    max_age = { type = "number", min = 0 },
    wait = { type = "boolean", default = true },
    timeout = wait.rules.timeout,
    on_progress = wait.rules.on_progress,
  },
  has_defaults = true,
}

-- Seconds: progress is told at least so often while a cooldown is waited out.
local longest_silence = 5

-- Seconds between looks at a sync that has to end before another can be asked for.
local first_look, longest_look = 2, 30

---@class autopilot.Ensuring one call of `ensure`
---@field call autopilot.Call
---@field requests autopilot.SyncRequests
---@field look number? seconds of the last pause between looks
---@field has_joined boolean? it has waited for a sync that it did not ask for
---@field read table? the record that shows how that sync failed, already noted

--- Sleeps, and reports that to `on_progress`; false when there is not enough time.
---@param read table as for `wait.report_progress`
local function sleep(call, seconds, state, read)
  local client = call.client
  if client.is_closed or seconds >= call:time_left() then
    return false
  end
  local ends = client.options.clock() + seconds
  local slice = call.on_progress and longest_silence or seconds
  repeat
    wait.report_progress(call, state, seconds, read)
    call:sleep(math.min(seconds, slice))
    seconds = math.min(seconds - slice, ends - client.options.clock())
  until seconds <= 0 or client.is_closed
  return not client.is_closed and call:time_left() > 0
end

--- Completes a read's answer as the refusal that a request would meet, or as the failed sync that it shows.
local function refuse(call, answer, name, seconds)
  answer.outcome, answer.answered_by = answer.outcome or name, "client"
  call.client:set_retry(answer, seconds)
  local why = call.client.is_closed and "not_retryable" or "deadline"
  answer.gave_up = not call.is_single_pass and why or nil
  return answer
end

--- Waits a little, and longer each time, before the next read; false when there is not enough time.
local function pause(self, read)
  self.look = math.min(longest_look, (self.look or first_look / 2) * 2)
  local seconds = self.look * (1 + 0.25 * self.call.client.options.random())
  return sleep(self.call, seconds, "waiting", read)
end

---@class autopilot.EnsurePlan what `ensure` does next; `action` is that of the step in the report
---@field action "none"|"join"|"wait"|"sync"
---@field outcome autopilot.Outcome? of `wait`: the refusal that a request would meet now
---@field seconds number? of `wait`: for how long requests would be refused; nil: it is not known
---@field has_failed boolean? a sync that counts was triggered, and failed

--- Decides by the record, and by the client's knowledge of the tenant, what to do next.
---@param found autopilot.SettingsRecord already noted
---@return autopilot.EnsurePlan
function ensure.plan(call, found)
  local memory = call.client.memory
  local trigger = record.covering_trigger(found, call.since, memory)
  local ending = trigger and record.ending(found, trigger, memory)
  local has_failed = ending == "sync_failed"
  if trigger and not has_failed then
    return { action = (ending or call.is_single_pass) and "none" or "join" }
  elseif not has_failed and found.sync_status == "in_progress" then
    local seconds = memory:cooldown_left(call:now())
    return { action = "wait", outcome = "in_progress", seconds = seconds }
  end
  local name, seconds = memory:refusal(call:now())
  return {
    action = name and "wait" or "sync",
    outcome = name,
    seconds = seconds,
    has_failed = has_failed,
  }
end

--- Waits until the refusal that a request would meet has passed, or a little while a sync is in progress that does not
-- count: it has to end first. Returns that refusal if the call may not wait, or has not enough time.
---@param answer table to the last read; an empty one if there was no read
---@param plan autopilot.EnsurePlan
local function wait_out(self, answer, plan)
  local call, name, seconds = self.call, plan.outcome, plan.seconds
  if call.is_single_pass then
    return refuse(call, answer, name, seconds)
  end
  local is_over
  if name == "in_progress" and answer.sync_status == name then
    wait.note(call, "wait", "a sync is in progress that was triggered before")
    is_over = pause(self, answer)
  else
    wait.note(call, "wait", ("%s for %d s"):format(name, math.ceil(seconds)))
    -- Made longer by chance, never shorter: a request that comes too early is refused, and may start the wait again.
    local longer = seconds + math.min(5, seconds / 20) * call.client.options.random()
    longer = math.min(longer, math.max(seconds, call:time_left() - 1))
    is_over = sleep(call, longer, "cooldown", answer)
  end
  if not is_over then
    local memory, now = call.client.memory, call:now()
    local _, left = memory:refusal(now)
    -- A record that was not read yet may show that no request is needed.
    return refuse(call, answer, name, answer.status and left or memory:held_for(now))
  end
end

--- Asks for a sync, and waits for its end unless the call is a single pass. Returns the answer that ends the call; nil:
-- the next step reads the record again.
local function ask(self, why)
  local call, requests = self.call, self.requests
  wait.note(call, "sync", why)
  local answer = sync.request(requests)
  if answer.outcome ~= "started" then
    -- The next read may show that it is done, or what to do.
    local is_passing = outcome.of(answer).source == "tenant"
      or answer.outcome == "interrupted"
      or answer.unread
      or answer.retry_at
    local may_go_on = is_passing
      and not call.is_single_pass
      and answer.outcome ~= "token_error" -- its Retry-After is the token endpoint's
      and (call.client.memory:held_for(call:now()) or 0) < call:time_left()
    if may_go_on and pause(self, answer) then
      wait.note(call, "look", "the request was answered: " .. answer.outcome)
      return nil
    end
    if answer.outcome == "cooldown" and not answer.retry_at then
      -- Its end is not known. The latest possible one is told: a scheduler needs one.
      call.client:set_retry(answer, call.client.memory:cooldown_left(call:now()))
    end
    return answer
  end
  wait.note(call, "started", "confirmed by the " .. answer.confirmed_by)
  if call.is_single_pass then
    return answer
  end
  local settled = wait.after_start(call, answer)
  if settled.outcome == "sync_failed" then
    requests.last_answer = requests.last_answer and settled
    return nil -- the next look sees it too
  end
  return settled
end

--- Waits until a sync that counts has ended, if it has not. If it failed, returns nil, and keeps the record for
-- the next step, which decides what to do.
local function join(self, answer, action)
  local call = self.call
  if action == "none" then
    wait.note(call, action, "a sync that counts was triggered already")
    local is_fresh = not self.requests.attempts[1] and not self.has_joined
    answer.outcome = is_fresh and "fresh" or "completed"
    return answer
  end
  wait.note(call, action, "a sync that counts is in progress")
  self.has_joined = true
  answer = wait.await(call, call.since, answer)
  if answer.outcome == "sync_failed" then
    self.read, answer.outcome = answer, nil
    return nil
  end
  return answer
end

--- Reads the record, and finds out by it whether requests with lost answers started a sync.
local function read_record(self)
  local answer = record.read(self.call)
  if self.requests.open and not answer.outcome then
    answer = failure.settle(self.requests, answer)
  end
  return answer
end

--- Takes the step that follows from the record, which it reads unless `self.read` has it or a Retry-After has not
-- passed yet. Returns the answer that ends the call; nil: another step follows.
local function step(self)
  local call, requests, answer = self.call, self.requests, self.read
  local memory = call.client.memory
  local held_for = not answer and memory:held_for(call:now())
  if held_for then -- not even the record may be read
    return wait_out(self, {}, { outcome = memory.held_as, seconds = held_for })
  end
  answer, self.read = answer or read_record(self), nil
  if answer.outcome then
    return answer
  end
  local plan, why = ensure.plan(call, answer), "no sync was triggered since then"
  if plan.action == "none" or plan.action == "join" then
    return join(self, answer, plan.action)
  elseif plan.has_failed then
    why = "the last sync failed"
    wait.note(call, "look", why)
    answer.outcome = "sync_failed"
    requests.last_answer = requests.last_answer and answer -- it tells of a later moment
  end
  if plan.action == "sync" then
    -- Where a request may have started a sync, and the record does not tell, another may start a second one.
    return requests.open and not answer.trigger_known and requests.last_answer or ask(self, why)
  end
  return wait_out(self, answer, plan)
end

--- Completes the call by the options. Without `since` and `max_age`, the time of the call counts as `since`.
function ensure.prepare(call, wanted)
  local since, mistake = wait.moment_of(call.client, wanted.since)
  if since and wanted.max_age then
    mistake = "options 'since' and 'max_age' exclude each other"
  end
  call.since = since or call.began - (wanted.max_age or 0)
  call.is_single_pass, call.steps = not wanted.wait, {}
  return mistake
end

--- Makes sure that a sync that meets the options has been started or has completed.
function ensure.run(call, wanted)
  local mistake = ensure.prepare(call, wanted)
  if mistake then
    return { mistake = mistake }
  end
  local self = { call = call, requests = sync.requests(call) }
  local answer
  repeat
    answer = step(self)
  until answer
  return sync.result(self.requests, answer)
end

return ensure
