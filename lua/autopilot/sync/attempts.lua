--- The retry loop of a call: try, let the client's policy decide, wait, try again.

local attempts = {}

--- Updates `retry_after` of an answer that came some time ago; removes it and `retry_at` once that has passed.
---@param client autopilot.Client
---@param answer table
function attempts.refresh(client, answer)
  local rest = answer.retry_at and answer.retry_at - client.options.now()
  if rest and rest > 0 then
    answer.retry_after = rest
  else
    answer.retry_at, answer.retry_after = nil, nil
  end
end

--- Whether nothing was sent for this answer.
local function was_not_sent(answer)
  return answer.outcome == "unreachable" or answer.outcome == "token_error"
end

--- Whether nothing was sent for this answer because the call's time was over.
local function is_too_late(call, answer)
  local network = answer.network
  return call.deadline
    and was_not_sent(answer)
    and not answer.mistake
    and (call:time_left() <= 0 or (network and network.name == "DEADLINE"))
end

--- The reason to end with the answer of an earlier attempt, or nil.
local function reason_to_go_back(call, answer)
  if answer == nil then
    return call.client.is_closed and "not_retryable" or nil
  end
  return is_too_late(call, answer) and "deadline" or nil
end

--- Seconds to wait before the next attempt, or nil and why there is none.
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

--- Calls `try(state, number, delay)` until it succeeds or the policy ends the attempts. `delay` is the wait
-- before the attempt, in seconds. `try` returns the answer. After a failure that may be retried it also
-- returns the report that the policy decides by, and can return a higher number for the attempt.
---@generic State
---@param call autopilot.Call
---@param state State
---@param try fun(state: State, number: integer, delay: number): table, table?, integer?
---@param before_wait fun(state: State, answer: table, seconds: number)?
---@return table answer the last one; `gave_up` says why it is the last
function attempts.run(call, state, try, before_wait)
  local client = call.client
  local number, delay, before = 0, 0, nil
  while true do
    number = number + 1
    local answer, judged, counts_as
    local reason = before and reason_to_go_back(call)
    if not reason then
      answer, judged, counts_as = try(state, number, delay)
      reason = before and reason_to_go_back(call, answer)
    end
    if reason then
      attempts.refresh(client, before)
      before.gave_up = reason
      return before
    elseif not judged or answer.mistake then
      return answer
    end
    number = math.max(number, counts_as or 0)
    delay, reason = decide(call, number, delay, judged)
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
    answer, judged = nil, nil -- luacheck: ignore 311 (thousands may sleep, and need not keep them)
    call:sleep(delay)
  end
end

return attempts
