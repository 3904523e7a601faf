--- One call of a client's method: its options, its deadline and its retry loop. It remembers when its last
-- sleep is due to end. A `sync` without a deadline gets one when it begins to wait for the sync.

local lazy = require "autopilot.base.lazy"

local answers = lazy "autopilot.graph.answer"
local protected_call = lazy "autopilot.base.protected_call"

---@class autopilot.Call times are on the client's clock
---@field client autopilot.Client
---@field name "sync"|"status"|"wait"|"ensure"|"token"
---@field began number
---@field deadline number?
---@field since number? of `ensure`: a sync that was triggered before it does not count
---@field is_single_pass boolean? of `ensure` without `wait`: do not sleep, do not retry
---@field wait boolean? of `sync` and `ensure`: until the sync has completed
---@field force boolean? of `sync`: send the request even if a refusal is expected
---@field client_request_id string? of `sync`: for the first request that is sent; nil: a new id for each
---@field on_progress function?
---@field steps table[]? what was done and why, for the report
---@field slept_until number? when the last sleep was to end
local Call = {}
Call.__index = Call

--- Begins a call.
---@param client autopilot.Client
---@param name "sync"|"status"|"wait"|"ensure"|"token"
---@param wanted table? the checked options of the method, a table that becomes the call; `deadline` or `timeout` in seconds
---@return autopilot.Call
function Call.new(client, name, wanted)
  local call, began = setmetatable(wanted or {}, Call), client.options.clock()
  local seconds = call.deadline or call.timeout
  call.client, call.name, call.began = client, name, began
  call.deadline = seconds and began + seconds
  return call
end

-- ---- Time --------------------------------------------------------------------------------------------

--- Sleeps, and remembers when the sleep is due to end. Thousands of calls may sleep at the same time, so a
-- tail call saves a stack frame for each.
---@param seconds number
function Call:sleep(seconds)
  self.slept_until = self:now() + seconds
  return self.client.options.sleep(seconds)
end

--- The current time; not earlier than the due end of the last sleep, which may have returned slightly early.
---@return number
function Call:now()
  return math.max(self.client.options.clock(), self.slept_until or -math.huge)
end

--- Seconds until the deadline; without one, infinity.
---@return number
function Call:time_left()
  return (self.deadline or math.huge) - self.client.options.clock()
end

-- ---- Errors, progress and steps ----------------------------------------------------------------------

--- Raises the answer's `mistake`, if it has one, as an error at the line that called the method.
---@param answer table
function Call:raise_mistake(answer)
  if answer.mistake then
    error(("client:%s: %s"):format(self.name, answer.mistake), 3)
  end
end

--- Calls `on_progress`; an error in it is ignored.
---@param progress table
function Call:tell(progress)
  if self.on_progress then
    progress.elapsed = self.client.options.clock() - self.began
    protected_call(self.on_progress, progress)
  end
end

--- Adds a step to the report, unless it is the same as the last one.
---@param action string
---@param reason string
function Call:note(action, reason)
  local steps = self.steps
  local last = steps and steps[#steps]
  if steps and not (last and last.action == action and last.reason == reason) then
    local at = self.client.options.clock() - self.began
    steps[#steps + 1] = { action = action, reason = reason, at = at }
  end
end

-- ---- The retry loop ----------------------------------------------------------------------------------

--- Updates the Retry-After of an answer received earlier; removes it if it has passed.
---@param answer table
function Call:refresh(answer)
  local rest = answer.free_at and answer.free_at - self.client.options.clock()
  answers.set_retry(self.client, answer, rest and rest > 0 and rest or nil)
end

--- Whether the answer means that no request was sent.
local function was_not_sent(answer)
  return answer.outcome == "unreachable" or answer.outcome == "token_error"
end

--- Whether the answer means that no request was sent because the call's deadline had passed.
local function is_too_late(call, answer)
  local network = answer.network
  return call.deadline
    and was_not_sent(answer)
    and not answer.mistake
    and (call:time_left() <= 0 or (network and network.name == "DEADLINE"))
end

--- Seconds to wait before the next attempt; nil and the reason if there is to be none.
local function decide(call, number, delay, judged)
  local client = call.client
  if client.is_closed then
    return nil, "not_retryable"
  end
  local options, policy = client.options, client:retry_policy()
  local clock = options.clock()
  local next_delay, reason = policy:decide {
    attempt = number,
    elapsed = clock - call.began,
    previous_delay = delay,
    remaining = call.deadline and call.deadline - clock,
    report = judged,
    random = options.random,
    clock = options.clock,
    now = options.now,
  }
  if next_delay and policy.budget and not policy.budget:take(options.clock()) then
    return nil, "budget"
  end
  return next_delay, reason
end

--- Calls `try(state, number, delay)` until it succeeds or the retry policy ends the loop. `delay` is the wait
-- before the attempt, in seconds. `try` returns the answer. After a failure that may be retried it also
-- returns the report for the policy, and optionally a higher number for the attempt.
---@generic State
---@param state State
---@param try fun(state: State, number: integer, delay: number): table, table?, integer?
---@param before_wait fun(state: State, answer: table, seconds: number)?
---@return table answer the last one; `gave_up` is the reason why no other attempt was made
function Call:attempt(state, try, before_wait)
  local client = self.client
  local number, delay, before = 0, 0, nil
  while true do
    number = number + 1
    local answer, judged, counts_as
    local reason = before and client.is_closed and "not_retryable"
    if not reason then
      answer, judged, counts_as = try(state, number, delay)
      reason = before and is_too_late(self, answer) and "deadline"
    end
    if reason then -- return the answer of the earlier attempt
      self:refresh(before)
      before.gave_up = reason
      return before
    elseif not judged or answer.mistake or self.is_single_pass then
      return answer
    end
    number = math.max(number, counts_as or 0)
    delay, reason = decide(self, number, delay, judged)
    if not delay then
      answer.gave_up = reason
      client:emit("gave_up", { reason = reason, outcome = answer.outcome, attempts = number })
      return answer
    end
    client:emit("retry", { number = number + 1, delay = delay, outcome = answer.outcome })
    if before_wait then
      before_wait(state, answer, delay)
    end
    before = (not before or not was_not_sent(answer)) and answer or before
    answer, judged = nil, nil -- luacheck: ignore 311 (saves memory: thousands may sleep)
    self:sleep(delay)
  end
end

return Call
