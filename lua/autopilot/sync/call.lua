--- One call of a client's method: its deadline, its sleeps and its attempts, which are repeated as the client's retry
-- policy says. It remembers when its last sleep is due to end.

local lazy = require "autopilot.base.lazy"
local options = require "autopilot.base.options"
local report = require "autopilot.sync.report"

local policies = lazy "autopilot.retry.policy"

---@class autopilot.Call times are on the client's clock
---@field client autopilot.Client
---@field name "sync"|"status"|"wait"|"ensure"|"doctor"|"token"
---@field began number
---@field deadline number?
---@field on_progress fun(progress: autopilot.Progress)?
---@field since number? of `ensure`: a sync that was triggered before it does not count
---@field is_single_pass boolean? of `ensure` without `wait`: do not sleep, do not retry
---@field steps table[]? what was done and why, for the report
---@field slept_until number? when the last sleep was to end
local Call = {}
Call.__index = Call

local no_options = {}

--- Begins a call.
---@param wanted table? its checked options; a `deadline` or `timeout` is in seconds
---@return autopilot.Call
function Call.new(client, name, wanted)
  wanted = wanted or no_options
  local began, seconds = client.options.clock(), wanted.deadline or wanted.timeout
  return setmetatable({
    client = client,
    name = name,
    began = began,
    deadline = seconds and began + seconds,
    on_progress = wanted.on_progress,
  }, Call)
end

---@class autopilot.Operation what a method of the client does
---@field rules table<string, autopilot.OptionRule>
---@field has_defaults boolean? an option that is not given has a value too
--- Returns the last answer, and the attempts to send a sync request. The answer may have a `mistake` of the caller.
---@field run fun(call: autopilot.Call, wanted: table): table, autopilot.Attempt[]?

--- Makes the client's method of an operation. It raises a mistake of the caller at the caller's line.
---@return fun(client: autopilot.Client, given: table?): autopilot.Report?, autopilot.Report?
function Call.method(name, operation)
  local label = "client:" .. name
  return function(client, given)
    options.check_self(label, client, "is_closed")
    if client.is_closed then
      error(label .. ": the client is closed", 2)
    end
    local wanted = no_options
    if given ~= nil or operation.has_defaults then
      wanted = options.check(label, operation.rules, given)
    end
    local call = Call.new(client, name, wanted)
    local answer, attempts = operation.run(call, wanted)
    if answer.mistake then
      error(("%s: %s"):format(label, answer.mistake), 2)
    end
    return report.finish(call, answer, attempts)
  end
end

-- ---- Time --------------------------------------------------------------------------------------------

--- Sleeps, not beyond the deadline, and remembers when the sleep is due to end; a closed client does not sleep.
-- Thousands of calls may sleep at the same time, so a tail call saves a stack frame for each.
function Call:sleep(seconds)
  if not self.client.is_closed then
    seconds = math.max(0, math.min(seconds, self:time_left())) -- an observer may have taken its time
    self.slept_until = self:now() + seconds
    return self.client.options.sleep(seconds)
  end
end

--- The current time; not earlier than the due end of the last sleep, which may have returned slightly early. Closing the
-- client ends a sleep much earlier.
function Call:now()
  local client, slept_until = self.client, self.slept_until
  local now = client.options.clock()
  return slept_until and slept_until > now and not client.is_closed and slept_until or now
end

--- Seconds until the deadline; without one, infinity.
function Call:time_left()
  return (self.deadline or math.huge) - self.client.options.clock()
end

-- ---- Attempts ----------------------------------------------------------------------------------------

--- Whether the answer means that no request was sent.
local function was_not_sent(answer)
  return answer.outcome == "unreachable" or answer.outcome == "token_error"
end

--- Whether the answer means that no request was sent because the call's deadline had passed.
local function is_too_late(call, answer)
  local is_late = call:time_left() <= 0 or (answer.network or {}).name == "DEADLINE"
  return is_late and was_not_sent(answer)
end

--- The retry policy of a client. The default one is made at the first failure: most scripts never need it.
local function policy_of(client)
  if not client.policy then
    local preset = { options = client.options.retry == false and { attempts = 1 } or nil }
    client.policy = policies.new("autopilot.retry.policy", nil, preset)
  end
  return client.policy
end

--- Seconds to wait before the next attempt; nil and the reason if there is to be none.
local function decide(call, number, delay, judged)
  local client = call.client
  if client.is_closed then
    return nil, "not_retryable"
  end
  local world = client.options
  local now = world.clock()
  return policies.ask(policy_of(client), {
    attempt = number,
    elapsed = now - call.began,
    previous_delay = delay,
    remaining = call.deadline and call.deadline - now,
    report = judged,
    random = world.random,
    clock = world.clock,
    now = world.now,
  })
end

---@class autopilot.Attempted what is attempted, and repeated as the retry policy says
--- Makes one attempt, `delay` seconds after the one before. Returns the answer; after a failure that may be retried
--- also the report for the policy.
---@field try fun(self, number: integer, delay: number): table, table?
---@field before_wait (fun(self, answer: table, seconds: number))?
---@field joined_attempts integer? number of attempts of the other call whose answer was used

--- Tries until there is success, or the retry policy ends the attempts.
---@param task autopilot.Attempted
---@return table answer the last one; `gave_up` is the reason why no other attempt was made
function Call:attempt(task)
  local client = self.client
  local number, delay, previous = 1, 0, nil
  while true do
    local answer, judged = task:try(number, delay)
    if previous and is_too_late(self, answer) then
      previous.gave_up = "deadline" -- nothing was sent for the last attempt, so that the one before says more
      return previous
    elseif not judged or answer.mistake or answer.gave_up or self.is_single_pass then
      return answer
    end
    local reason
    number = math.max(number, task.joined_attempts or 0)
    delay, reason = decide(self, number, delay, judged)
    if not delay then
      answer.gave_up = reason
      client:emit("gave_up", { reason = reason, outcome = answer.outcome, attempts = number })
      return answer
    end
    number = number + 1
    client:emit("retry", { number = number, delay = delay, outcome = answer.outcome })
    if task.before_wait then
      task:before_wait(answer, delay)
    end
    previous = (not previous or not was_not_sent(answer)) and answer or previous
    answer, judged = nil, nil -- luacheck: ignore 311 (saves memory: thousands may sleep)
    self:sleep(delay)
    if client.is_closed then
      previous.gave_up = "not_retryable"
      return previous
    end
  end
end

return Call
