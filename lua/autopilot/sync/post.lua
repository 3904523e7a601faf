--- The requests for a sync that one call makes: one attempt, all attempts, and what is known of all of them
-- together.
--
-- The retry loop is in `attempts`, one request in `autopilot.graph.request`, and what follows after a lost
-- answer in `recover`.

local attempts = require "autopilot.sync.attempts"
local lazy = require "autopilot.base.lazy"
local outcome = require "autopilot.sync.outcome"
local report = require "autopilot.sync.report"

local answers = lazy "autopilot.graph.answer"
local recover = lazy "autopilot.sync.recover"

local post = {}

---@class autopilot.Posting: autopilot.RequestArguments what became of a call's requests for a sync, and how the next
--- one is to be made
---@field call autopilot.Call
---@field attempts autopilot.Attempt[] one for each time that a request was to be sent
---@field client_request_id string? for the first request that is sent; nil: a new id for each
---@field delay number seconds waited before the next one
---@field sent autopilot.SentRequest? the last request that was sent
---@field last_answer table? the answer to it
---@field has_arrived boolean? the record shows that one of them has arrived
---@field unsettled autopilot.Unsettled? those of which it is not known whether they started a sync
---@field is_unread boolean? the record was not read since the last of those
---@field is_blind boolean? the record could not be read after the last request, whose answer was lost
---@field lease autopilot.Lease? its claim of the tenant, where a store is shared
---@field joined_attempts integer? how many another call had made, whose answer was taken

local Posting = {}
Posting.__index = Posting

---@param call autopilot.Call
---@param client_request_id string?
---@return autopilot.Posting
function post.new(call, client_request_id)
  return setmetatable({
    call = call,
    attempts = {},
    client_request_id = client_request_id,
    deadline = call.deadline,
    delay = 0,
  }, Posting)
end

-- ---- One attempt -------------------------------------------------------------------------------------

--- What the service would answer, as far as the client knows, or nil when it is worth asking.
---@param posting autopilot.Posting
---@return table? answer
function post.known_refusal(posting)
  local client = posting.call.client
  local name, retry_at = client.memory:refusal(posting.call:now())
  return name and answers.not_sent(client, name, { retry_at = retry_at })
end

--- Adds what an answer means for a sync: 204, 409 and a 429 without Retry-After have a meaning of their own.
local function interpret(client, answer, sent)
  if not answer.outcome then -- the expected status
    answer.outcome, answer.delivered, answer.confirmed_by = "started", "yes", "response"
    client.memory:note_started(sent.at, sent.received_at, sent.clock, sent.earliest, sent.latest)
  elseif answer.status == 409 and answer.outcome == "rejected" then
    answer.outcome, answer.hint = "in_progress", nil
  elseif answer.outcome == "throttled" and not answer.retry_after then
    answer.outcome = "cooldown"
  end
end

--- With a store only the holder of the tenant's claim sends the request.
---@return table? answer
function Posting:before()
  local shared = self.call.client.shared
  return shared and shared.claim.gate(self) or nil
end

--- Completes the answer to a request, and adds it to the list of attempts.
---@param answer table
---@param sent autopilot.SentRequest? nil where nothing was sent
function Posting:after(answer, sent)
  if sent then
    self.sent, self.client_request_id = sent, nil
    interpret(self.call.client, answer, sent)
  end
  local list = self.attempts
  list[#list + 1] = {
    number = #list + 1,
    outcome = answer.outcome,
    status = answer.status,
    delivered = answer.delivered,
    sends = answer.sends,
    delay = self.delay,
    elapsed = answer.elapsed or 0,
    request_id = answer.request_id,
    client_request_id = answer.client_request_id,
    network = answer.network,
  }
  self.delay = 0 -- a second request with another token follows at once
end

--- Adds the end of the cooldown to a 429 without Retry-After, where an earlier answer or the record tells it.
local function add_cooldown_end(call, answer)
  local now, memory = call.client.options.now(), call.client.memory
  local ends = answer.outcome == "cooldown" and memory:cooldown_end(now)
  if ends and memory:known_end() > now then
    answer.retry_at, answer.retry_after = ends, ends - now
  end
end

--- What the policy is to judge a failed attempt by: with the time for which the client knows that
-- another would be refused, also where the answer itself names none.
local function with_known_end(call, judged)
  local name, retry_at = call.client.memory:refusal(call:now())
  if not name or judged.retry_at or call.force then
    return judged
  end
  return { outcome = judged.outcome, status = judged.status, retry_at = retry_at }
end

--- Learns from a request that started nothing, as far as is known, and finds out what became of it.
---@param seen number|false the latest trigger's stamp that was known before it
---@return table? judged
local function after_failure(posting, answer, seen)
  local call = posting.call
  local client = call.client
  if answer.status then
    -- A cooldown that was waited out is over, also where the sleep ended a moment early.
    local received_at = math.max(posting.sent.received_at, call.slept_until or 0)
    client.memory:note_refused(answer.outcome, answer.retry_at, received_at)
  end
  if client.shared then
    client.shared:tell(client.options.now())
    client.shared.claim.settle(posting)
  end
  local judged = recover.run(posting, answer, seen)
  if judged then
    add_cooldown_end(call, answer)
    judged = with_known_end(call, judged)
  end
  return judged
end

--- Takes an answer that came without a request of this call: another call's answer, or a known refusal.
local function in_place_of_request(posting, answer)
  local is_blind = answer.unread
  posting.is_blind = is_blind or posting.is_blind
  answer.unposted, answer.unread = nil, nil
  if answer.outcome == "started" or answer.gave_up then
    return answer
  end
  return answer, with_known_end(posting.call, is_blind and recover.unread or answer)
end

--- One attempt: asks the service, unless the client knows the answer.
---@return table answer
---@return table? judged what the policy is to judge by; nil: no other attempt is to be made
---@return integer? counts_as the number of attempts, where another call's answer was taken
local function try(posting, number, delay)
  local call = posting.call
  local client = call.client
  local memory, shared = client.memory, client.shared
  if shared then
    shared:learn(client.options.now())
  end
  local refusal = not call.force and post.known_refusal(posting)
  if refusal then
    return refusal, refusal, posting.joined_attempts
  end
  local seen = memory.newest_trigger
  posting.delay, posting.retry_attempt, posting.waited_until = delay, number - 1, call.slept_until
  local answer = client.sync_request:run(client, posting)
  if (answer.sends or 0) > 0 then
    posting.last_answer = answer
  end
  if answer.unposted then
    local judged
    answer, judged = in_place_of_request(posting, answer)
    return answer, judged, posting.joined_attempts
  elseif answer.outcome == "started" or answer.mistake then
    return answer
  end
  return answer, after_failure(posting, answer, seen), posting.joined_attempts
end

--- Before the call waits for its next attempt.
local function before_wait(posting, answer, seconds)
  if posting.lease then
    posting.call.client.shared.claim.pause(posting, answer, seconds)
  elseif not posting.call.client.shared then
    posting.sent = nil -- thousands may sleep, and need not keep it
  end
end

-- ---- All attempts ------------------------------------------------------------------------------------

--- Whether the service received any of the requests: one that arrived outweighs those that did not,
-- and as long as one may have arrived the answer is not "no".
local function delivered_at_all(posting, answer)
  local of_another = answer.joined and answer.delivered
  local delivered = posting.has_arrived and "yes" or of_another or "no"
  for _, attempt in ipairs(posting.attempts) do
    if attempt.delivered == "yes" then
      return "yes"
    elseif attempt.delivered == "unknown" and delivered == "no" then
      delivered = "unknown"
    end
  end
  return delivered
end

--- Completes an answer by what is known of all attempts together. Where the last request could not be sent
-- but one before it was, or may have been, that one's answer is taken.
local function sum_up(posting, answer)
  if answer.confirmed_by == "response" then
    return answer -- earlier attempts make no difference
  end
  answer.delivered = delivered_at_all(posting, answer)
  local last = posting.last_answer
  if answer.outcome ~= "unreachable" or answer.delivered == "no" then
    return answer
  elseif last and answer.delivered == "yes" then
    last.delivered, last.gave_up = "yes", answer.gave_up
    attempts.refresh(posting.call.client, last)
    return last
  end
  answer.outcome, answer.answered_by, answer.hint = "interrupted", nil, nil
  return answer
end

--- Asks for a sync, as often as the policy says; with `is_single_pass` once.
---@param posting autopilot.Posting
---@return table answer in the shape of a report
function post.request(posting)
  local call, client = posting.call, posting.call.client
  local answer = call.is_single_pass and try(posting, 1, 0)
    or attempts.run(call, posting, try, before_wait)
  answer = sum_up(posting, answer)
  if client.shared then
    client.shared.claim.finish(posting, answer)
  end
  return answer
end

local hint_of_late = "The time was over before the request could be sent: allow more."

--- Whether any request for a sync was sent.
local function has_posted(posting)
  for _, attempt in ipairs(posting.attempts) do
    if attempt.sends > 0 then
      return true
    end
  end
  return false
end

--- Makes the answer, which may be a read's, the report of the whole call.
---@param posting autopilot.Posting
---@param answer table
---@return autopilot.Report? report
---@return autopilot.Report? failure
function post.report(posting, answer)
  if answer.confirmed_by ~= "response" then
    answer = sum_up(posting, answer)
    local network = answer.network
    local is_late = answer.outcome == "unreachable" and network and network.name == "DEADLINE"
    if is_late and posting.call.name == "ensure" then
      answer.outcome, answer.hint = "timed_out", hint_of_late -- nothing is wrong with the network
    end
    if not posting.attempts[1] and outcome.of(answer).source == "record" then
      answer.answered_by = "client"
    elseif answer.answered_by == "client" and not answer.joined and has_posted(posting) then
      answer.answered_by = nil
    end
  end
  return report.finish(posting.call, answer, posting.attempts)
end

return post
