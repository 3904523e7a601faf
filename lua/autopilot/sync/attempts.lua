--- The one retry loop: ask, let the policy decide, wait, ask again.
--
-- What is asked, and what a failure of it means for the next attempt, is the operation's.

local attempts = {}

---@class autopilot.Operation: autopilot.ExchangeContext one call of a method
---@field client autopilot.Client
---@field name "sync"|"status"|"wait"|"ensure"
---@field began number on the client's clock
---@field deadline number? on the client's clock
---@field delay number? seconds waited before the current attempt; nil for the first
---@field waited_until number? when the last sleep was to end, Unix time
---@field waited_clock number? the same on the client's clock
---@field lease autopilot.Lease? its claim of the tenant, where a store is shared
---@field gate fun(operation: autopilot.Operation): table? asked before a sync request is sent
---@field joined_attempts integer? how many another call had made, whose answer was taken
---@field last_told table? the answer to the last request for a sync that was sent
---@field is_blind true? what the last request came to is open, for the record could not be read
---@field attempts autopilot.Attempt[]? one for each sync request; nil before the first

--- Begins an operation.
---@param client autopilot.Client
---@param name "sync"|"status"|"wait"|"ensure"
---@param seconds number? until its deadline
---@return autopilot.Operation
function attempts.begin(client, name, seconds)
  local began = client.options.clock()
  return {
    client = client,
    name = name,
    began = began,
    deadline = seconds and began + seconds,
    attempts = nil, -- named, so that the table is made in its final size
  }
end

--- Tells anew when to ask again, for an answer that came some time ago.
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

--- Sleeps, and keeps in mind until when. Thousands may do so at a time: no frame of ours waits with them.
---@param operation autopilot.Operation
---@param seconds number
function attempts.sleep(operation, seconds)
  local options = operation.client.options
  operation.waited_until = options.now() + seconds
  operation.waited_clock = options.clock() + seconds
  return options.sleep(seconds)
end

--- What time it is at least: a wait that is over stays over, also where the sleep ended a moment early
-- or a clock was set back.
---@param operation autopilot.Operation
---@return number now Unix time of the client's clock
---@return number clock the client's monotonic clock
function attempts.now(operation)
  local options = operation.client.options
  return math.max(options.now(), operation.waited_until or 0),
    math.max(options.clock(), operation.waited_clock or 0)
end

--- Whether nothing was sent for this answer.
local function was_not_sent(answer)
  return answer.outcome == "unreachable" or answer.outcome == "token_error"
end

--- Whether nothing was sent for this answer because the operation's time was over.
local function is_too_late(operation, answer)
  local deadline, network = operation.deadline, answer.network
  return deadline
    and was_not_sent(answer)
    and not answer.mistake
    and (operation.client.options.clock() >= deadline or (network and network.name == "DEADLINE"))
end

--- The answer of the attempt before as the last one.
local function as_before(operation, before, reason)
  attempts.refresh(operation.client, before)
  before.gave_up = reason
  return before
end

local function decide(operation, number, judged)
  local client = operation.client
  if client.is_closed then
    return nil, "not_retryable"
  end
  local options, policy = client.options, client:retry_policy()
  local clock = options.clock()
  local delay, reason = policy:decide {
    attempt = number,
    elapsed = clock - operation.began,
    previous_delay = operation.delay or 0,
    remaining = operation.deadline and operation.deadline - clock,
    report = judged,
    random = options.random,
    clock = options.clock,
    now = options.now,
  }
  if delay and policy.budget and not policy.budget:take(options.clock()) then
    return nil, "budget"
  end
  return delay, reason
end

--- Calls `try(operation, number)` until it is content or there is a reason to stop. It returns its
-- answer and, when another try may be worth while, what the policy is to judge by.
---@param operation autopilot.Operation
---@param try fun(operation: autopilot.Operation, number: integer): table, table?
---@return table answer the last one; `gave_up` says why it is the last
function attempts.run(operation, try)
  local client = operation.client
  local number, before = 0, nil
  if operation.delay then
    operation.delay, operation.retry_attempt = nil, nil -- it is not the first run
  end
  while true do
    number = number + 1
    if before and client.is_closed then
      return as_before(operation, before, "not_retryable")
    end
    local answer, judged = try(operation, number)
    if before and is_too_late(operation, answer) then
      return as_before(operation, before, "deadline")
    elseif not judged or answer.mistake then
      return answer
    end
    number = math.max(number, operation.joined_attempts or 0)
    local delay, reason = decide(operation, number, judged)
    if not delay then
      answer.gave_up = reason
      if client.on_event then
        client:emit("gave_up", { reason = reason, outcome = answer.outcome, attempts = number })
      end
      return answer
    end
    if client.on_event then
      client:emit("retry", { number = number + 1, delay = delay, outcome = answer.outcome })
    end
    if operation.lease then
      client.shared.claim.pause(operation, answer, delay)
    end
    before = (not before or not was_not_sent(answer)) and answer or before
    answer, judged = nil, nil -- luacheck: ignore 311 (thousands may sleep, and need not keep them)
    attempts.sleep(operation, delay)
    operation.delay, operation.retry_attempt = delay, number
  end
end

return attempts
