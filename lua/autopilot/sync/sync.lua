--- `client:sync`: asks the service for a sync.
--
-- The loop is in `attempts`, one request in `exchange`, lost answers in `recover`; here is what is
-- particular to this action: not asking in vain, and one report of all attempts.

local attempts = require "autopilot.sync.attempts"
local options = require "autopilot.base.options"
local report = require "autopilot.sync.report"

local sync = {}

local rules = {
  deadline = { type = "number", above = 0 },
  wait = { type = "boolean" },
  force = { type = "boolean" },
  on_progress = { type = "function" },
  client_request_id = {
    type = "string",
    secret = true, -- a header's value is never quoted
    check = function(value)
      return (#value > 128 or not value:match "^[%w%-]+$")
          and "must consist of at most 128 letters, digits and '-'"
        or nil
    end,
  },
}

--- What the service would answer, as far as the client knows, or nil when it is worth asking.
local function known_refusal(operation)
  local client = operation.client
  local outcome, retry_at = client.memory:refusal(attempts.now(operation))
  if not outcome then
    return nil
  end
  operation.attempts = operation.attempts or {} -- nothing is posted for it
  return {
    outcome = outcome,
    tenant = client.tenant or nil,
    delivered = "no",
    answered_by = "client",
    retry_at = retry_at,
    retry_after = retry_at - client.options.now(),
  }
end

--- Adds the end of the cooldown to a bare 429, where an earlier answer or the record tells it.
local function tell_end(operation, answer)
  if answer.outcome ~= "cooldown" then
    return
  end
  local now, memory = operation.client.options.now(), operation.client.memory
  local ends = memory:cooldown_end(now)
  if ends and memory:known_end() > now then
    answer.retry_at, answer.retry_after = ends, ends - now
  end
end

--- What the policy is to judge a failed attempt by: with the time for which the client knows that
-- another would be refused, also where the answer itself named none.
local function with_known_end(operation, judged)
  local outcome, retry_at = operation.client.memory:refusal(attempts.now(operation))
  if not outcome or judged.retry_at or operation.force then
    return judged
  end
  return { outcome = judged.outcome, status = judged.status, retry_at = retry_at }
end

--- What there is to do after a request that started nothing, as far as is known.
---@return table answer
---@return table? judged
local function after_failure(operation, answer, seen)
  local client = operation.client
  if answer.status then
    -- A cooldown that was waited out is over, also where the sleep ended a moment early.
    local received_at = math.max(operation.received_at, operation.waited_until or 0)
    client.memory:note_refused(answer.outcome, answer.retry_at, received_at)
  end
  if client.shared then
    client.shared:tell(client.options.now())
    client.shared.claim.settle(operation)
  end
  local judged = require("autopilot.sync.recover").run(operation, answer, seen)
  if judged then
    tell_end(operation, answer)
    judged = with_known_end(operation, judged)
  end
  return answer, judged
end

--- Goes on with what there is instead of a request: the answer to another call's, or a refusal.
local function in_place_of_request(operation, answer)
  operation.attempts = operation.attempts or {}
  local is_blind = answer.unread
  operation.is_blind = is_blind or operation.is_blind
  answer.unposted, answer.unread = nil, nil
  if answer.outcome == "started" or answer.gave_up then
    return answer
  end
  local judged = is_blind and require("autopilot.sync.recover").unread or answer
  return answer, with_known_end(operation, judged)
end

--- One attempt: asks the service, unless the client knows the answer.
local function try(operation)
  local client = operation.client
  local memory, shared = client.memory, client.shared
  if shared then
    shared:learn(client.options.now())
  end
  local refusal = not operation.force
    and (shared or not memory.is_blank)
    and known_refusal(operation)
  if refusal then
    return refusal, refusal
  end
  local seen = memory.newest_trigger
  local answer = client.sync_request:run(client, operation)
  if (answer.sends or 0) > 0 then
    operation.last_told = answer
  end
  if shared and answer.unposted then
    return in_place_of_request(operation, answer)
  elseif answer.outcome == "started" or answer.mistake then
    return answer
  end
  return after_failure(operation, answer, seen)
end

--- Whether the service received any of the requests: one that arrived outweighs those that did not,
-- and as long as one may have arrived the answer is not "no".
local function delivered_at_all(operation, answer)
  local of_another = answer.joined and answer.delivered
  local delivered = operation.has_arrived and "yes" or of_another or "no"
  for _, attempt in ipairs(operation.attempts or {}) do
    if attempt.delivered == "yes" then
      return "yes"
    elseif attempt.delivered == "unknown" and delivered == "no" then
      delivered = "unknown"
    end
  end
  return delivered
end

--- The answer where the last request could not be sent but one before it was, or may have been: that one
-- counts.
local function of_those_sent(operation, answer)
  local last = operation.last_told
  if answer.outcome ~= "unreachable" or answer.delivered == "no" then
    return answer
  elseif last and answer.delivered == "yes" then
    last.delivered, last.gave_up = "yes", answer.gave_up
    attempts.refresh(operation.client, last)
    return last
  end
  answer.outcome, answer.answered_by, answer.hint = "interrupted", nil, nil
  return answer
end

--- What is known of all attempts together, told in the last one's answer. Where that is a response which
-- says that a sync was started, nothing that came before makes a difference.
local function sum_up(operation, answer)
  answer.delivered = delivered_at_all(operation, answer)
  answer = of_those_sent(operation, answer)
  answer.sends = nil -- told for each attempt
  return answer
end

--- Asks by `run`. Of all calls that share the client's store one at a time asks for the tenant, and those
-- that waited get its answer.
local function request(operation, run)
  local shared = operation.client.shared
  if shared then
    operation.known_refusal, operation.gate = known_refusal, shared.claim.gate
  end
  local answer = run(operation, try)
  if shared or answer.confirmed_by ~= "response" then
    answer = sum_up(operation, answer)
  end
  if shared then
    shared.claim.finish(operation, answer)
  end
  return answer
end

--- Asks for a sync, as often as the policy says.
---@param operation autopilot.Operation
---@return table answer in the shape of a report
function sync.request(operation)
  return request(operation, attempts.run)
end

--- Asks for a sync once.
---@param operation autopilot.Operation
---@return table answer in the shape of a report
function sync.request_once(operation)
  return request(operation, function()
    return (try(operation))
  end)
end

-- What follows from the record, and is no answer to a request that was posted.
local of_the_record = { fresh = true, completed = true, sync_failed = true, timed_out = true }

local hint_of_late = "The time was over before the request could be sent: allow more."

local function is_end(network)
  return network ~= nil and network.name == "DEADLINE"
end

--- Whether any request for a sync was sent.
local function has_posted(operation)
  for _, attempt in ipairs(operation.attempts) do
    if attempt.sends > 0 then
      return true
    end
  end
  return false
end

--- Says what is known of the sync requests, also where the answer is a read's.
local function add_delivery(operation, answer)
  answer.delivered = delivered_at_all(operation, answer)
  answer = of_those_sent(operation, answer)
  if operation.name == "ensure" and answer.outcome == "unreachable" and is_end(answer.network) then
    answer.outcome, answer.hint = "timed_out", hint_of_late -- nothing is wrong with the network
  end
  if not operation.attempts[1] and of_the_record[answer.outcome] then
    answer.answered_by = "client"
  elseif answer.answered_by == "client" and not answer.joined and has_posted(operation) then
    answer.answered_by = nil
  end
  return answer
end

--- Returns the answer as the report of the whole operation, in the way that methods do.
---@param operation autopilot.Operation
---@param answer table
---@return autopilot.Report? report
---@return autopilot.Report? failure
function sync.deliver(operation, answer)
  if operation.attempts and answer.confirmed_by ~= "response" then
    answer = add_delivery(operation, answer)
  end
  answer.operation, answer.is_transient = operation.name, nil
  answer.attempts = operation.attempts
  if operation.steps then
    answer.steps = operation.steps
  end
  answer.elapsed = operation.client.options.clock() - operation.began
  local sealed = report.seal(answer, operation.client.tenant_id)
  if sealed.ok then
    return sealed
  end
  return nil, sealed
end

--- Asks for a sync; with `wait` goes on until it has completed.
---@param client autopilot.Client
---@param given { deadline: number?, wait: boolean?, force: boolean?, client_request_id: string?, on_progress: function? }?
---@return autopilot.Report? report
---@return autopilot.Report? failure
function sync.call(client, given)
  if client.is_closed then
    client:check_open "sync"
  end
  local wanted = given ~= nil and options.check("client:sync", rules, given) or nil
  local operation = attempts.begin(client, "sync", wanted and wanted.deadline)
  if wanted then
    operation.client_request_id, operation.force = wanted.client_request_id, wanted.force
  end
  local answer = sync.request(operation)
  if answer.mistake then
    error("client:sync: " .. answer.mistake, 2)
  end
  if wanted and wanted.wait and answer.outcome == "started" then
    operation.on_progress = wanted.on_progress
    answer = require("autopilot.sync.completion").after_start(operation, answer)
    if answer.mistake then
      error("client:sync: " .. answer.mistake, 2)
    end
  end
  return sync.deliver(operation, answer)
end

return sync
