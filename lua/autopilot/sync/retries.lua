--- The attempts of a call after the first one has failed: asks the retry policy, waits, and tries again.

local answers = require "autopilot.graph.answer"
local policies = require "autopilot.retry.policy"

local retries = {}

--- Updates the Retry-After of an answer received earlier; removes it if it has passed.
---@param client autopilot.Client
---@param answer table
function retries.refresh(client, answer)
  local rest = answer.free_at and answer.free_at - client.options.clock()
  answers.set_retry(client, answer, rest and rest > 0 and rest or nil)
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
  local options = client.options
  local now = options.clock()
  return policies.ask(policy_of(client), {
    attempt = number,
    elapsed = now - call.began,
    previous_delay = delay,
    remaining = call.deadline and call.deadline - now,
    report = judged,
    random = options.random,
    clock = options.clock,
    now = options.now,
  })
end

--- Repeats the attempt of a call until it succeeds or the retry policy ends the call.
---@param call autopilot.Call
---@param task autopilot.Attempted
---@param answer table of the first attempt
---@param judged table? the report of the first attempt for the policy; nil: no retry
---@param counts_as integer? the number of attempts that the first one counts as
---@return table answer the last one, as for `Call:attempt`
function retries.run(call, task, answer, judged, counts_as)
  local client = call.client
  local number, delay, previous = 1, 0, nil
  while judged and not answer.mistake and not answer.gave_up and not call.is_single_pass do
    local reason
    number = math.max(number, counts_as or 0)
    delay, reason = decide(call, number, delay, judged)
    if not delay then
      answer.gave_up = reason
      client:emit("gave_up", { reason = reason, outcome = answer.outcome, attempts = number })
      return answer
    end
    client:emit("retry", { number = number + 1, delay = delay, outcome = answer.outcome })
    if task.before_wait then
      task:before_wait(answer, delay)
    end
    previous = (not previous or not was_not_sent(answer)) and answer or previous
    answer, judged = nil, nil -- luacheck: ignore 311 (saves memory: thousands may sleep)
    call:sleep(delay)
    number = number + 1
    if client.is_closed then
      reason = "not_retryable"
    else
      answer, judged, counts_as = task:try(number, delay)
      reason = is_too_late(call, answer) and "deadline"
    end
    if reason then -- nothing was sent: the previous answer says more
      retries.refresh(client, previous)
      previous.gave_up = reason
      return previous
    end
  end
  return answer
end

return retries
