--- `client:sync`, and the sync requests that one call of `sync` or `ensure` sends: one attempt, the retries,
-- and the answer that results from all attempts.
--
-- The retry loop is in `call`, the HTTP request in `autopilot.graph.request`, and the handling of a lost
-- answer in `recover`.

local Call = require "autopilot.sync.call"
local lazy = require "autopilot.base.lazy"
local options = require "autopilot.base.options"
local outcome = require "autopilot.sync.outcome"
local report = require "autopilot.sync.report"

local answers = lazy "autopilot.graph.answer"
local completion = lazy "autopilot.sync.wait"
local merged = lazy "autopilot.base.merged"
local recover = lazy "autopilot.sync.recover"

local sync = {}

---@class autopilot.Posting: autopilot.RequestArguments the state of a call's sync requests, and the parameters of
--- the next one
---@field call autopilot.Call
---@field attempts autopilot.Attempt[] one for each attempt to send a request
---@field client_request_id string? for the next request
---@field delay number seconds waited before the next one
---@field sent autopilot.SentRequest? the last request sent
---@field last_answer table? the answer to it
---@field delivered "yes"|"no"|"unknown" whether the service received any of the requests
---@field has_posted boolean? a request was sent
---@field unsettled autopilot.Unsettled? the requests that may have started a sync
---@field is_unread boolean? the record was not read since the last `unsettled` request
---@field is_blind boolean? the last request's answer was lost, and the record could not be read
---@field lease autopilot.Lease? its claim on the tenant, if a store is shared
---@field instead table? the answer used in place of a request of this call: another call's, or a known refusal, or that
--- another request is under way
---@field joined_attempts integer? number of attempts of the other call whose answer was used

local Posting = {}
Posting.__index = Posting

---@param call autopilot.Call
---@return autopilot.Posting
function sync.new(call)
  return setmetatable({
    call = call,
    attempts = {},
    delivered = "no",
    client_request_id = call.client_request_id,
    deadline = call.deadline,
    delay = 0,
  }, Posting)
end

-- ---- One attempt -------------------------------------------------------------------------------------

--- The refusal that the service would send, as far as the client knows; nil if a request may succeed.
---@param posting autopilot.Posting
---@return table? answer
function sync.known_refusal(posting)
  local client = posting.call.client
  local name, seconds = client.memory:refusal(posting.call:now())
  return name and answers.not_sent(client, name, { retry_after = seconds })
end

--- Sets the outcome of an answer to a sync request, for which 204, 409 and a 429 without Retry-After have a
-- meaning of their own.
local function interpret(client, answer, sent)
  if not answer.outcome then -- the expected status
    answer.outcome, answer.delivered, answer.confirmed_by = "started", "yes", "response"
    client.memory:note_started(sent.at, sent.received_at, sent.earliest, sent.latest)
  elseif answer.status == 409 and answer.outcome == "rejected" then
    answer.outcome, answer.hint = "in_progress", nil
  elseif answer.outcome == "throttled" and not answer.retry_after then
    answer.outcome = "cooldown"
  end
end

local rank = { no = 1, unknown = 2, yes = 3 }

--- Combines two values of `delivered`: yes has priority over unknown, and unknown over no.
local function stronger(one, other)
  return rank[other] > rank[one] and other or one
end

--- Returns an answer if no request is to be sent: with a store only the claim's holder sends one.
---@return table? answer
function Posting:before()
  local shared = self.call.client.shared
  self.instead = shared and shared.claim.gate(self) or nil
  return self.instead
end

--- Completes the answer to a request, and adds it to the list of attempts.
---@param answer table
---@param sent autopilot.SentRequest? nil where nothing was sent
function Posting:after(answer, sent)
  if sent then
    self.sent, self.client_request_id = sent, nil
    interpret(self.call.client, answer, sent)
  end
  self.delivered = stronger(self.delivered, answer.delivered)
  if answer.sends > 0 then
    self.last_answer, self.has_posted = answer, true
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

--- Adds the end of the cooldown to a 429 without Retry-After, if an earlier answer or the record shows it.
local function add_cooldown_end(call, answer)
  local now, memory = call.client.options.clock(), call.client.memory
  local left = answer.outcome == "cooldown" and memory:cooldown_left(now)
  if left and memory:known_end() > now then
    answers.set_retry(call.client, answer, left)
  end
end

--- The report of a failed attempt for the retry policy. A refusal without Retry-After gets the time for which the
-- client expects requests to be refused. Any other failure stays as it is: the next attempt finds out by itself
-- what has become known.
local function with_expected_refusal(call, judged)
  local is_refusal = outcome.of(judged).source == "tenant" and not judged.retry_at
  if not is_refusal or call.force then
    return judged
  end
  local _, seconds = call.client.memory:refusal(call:now())
  return merged(judged, { retry_after = seconds })
end

--- Remembers what a failed request shows about the tenant, and finds out whether it started a sync after all.
---@param seen number? the latest trigger's stamp that was known before it
---@return table? judged
local function after_failure(posting, answer, seen)
  local call = posting.call
  local client = call.client
  if answer.status then
    -- The cooldown is over after the call has slept for it, even if the sleep ended slightly early.
    local received_at = math.max(posting.sent.received_at, call.slept_until or -math.huge)
    local seconds = answer.retry_at and answer.retry_after -- without retry_at: a token endpoint's
    client.memory:note_refused(answer.outcome, seconds, received_at)
  end
  if client.shared then
    client.shared:tell()
    client.shared.claim.settle(posting)
  end
  local judged = recover.run(posting, answer, seen)
  if judged then
    add_cooldown_end(call, answer)
  end
  return judged
end

--- Handles an answer without a request of this call: another call's answer, or an expected refusal.
local function in_place_of_request(posting, answer)
  local is_blind = answer.unread
  posting.is_blind = is_blind or posting.is_blind
  answer.unread = nil
  if answer.outcome == "started" or answer.gave_up then
    return answer
  end
  return answer, is_blind and recover.unread or answer
end

--- Sends a sync request, unless the client knows that it would be refused.
---@return table answer
---@return table? judged
local function send(posting, number, delay)
  local call = posting.call
  local client = call.client
  local memory, shared = client.memory, client.shared
  if shared then
    shared:learn()
  end
  local refusal = not call.force and sync.known_refusal(posting)
  if refusal then
    return refusal, refusal
  end
  local seen = memory.newest_trigger
  posting.delay, posting.retry_attempt, posting.waited_until = delay, number - 1, call.slept_until
  posting.instead = nil
  local before = posting.last_answer
  local answer = client.sync_request:run(client, posting)
  local last = posting.last_answer
  if answer == posting.instead then
    return in_place_of_request(posting, answer)
  elseif answer.outcome == "unreachable" and last ~= before and call:time_left() <= 0 then
    -- The time was over between a 401 and the request with a newer token.
    last.gave_up = "deadline"
    return last
  elseif answer.outcome == "started" or answer.mistake then
    return answer
  end
  return answer, after_failure(posting, answer, seen)
end

--- One attempt.
---@return table answer
---@return table? judged the report for the retry policy; nil: no retry
---@return integer? counts_as the number of attempts of the other call whose answer was used
local function try(posting, number, delay)
  local answer, judged = send(posting, number, delay)
  return answer, judged and with_expected_refusal(posting.call, judged), posting.joined_attempts
end

--- Called before the call waits for its next attempt.
local function before_wait(posting, answer, seconds)
  local shared = posting.call.client.shared
  if shared then
    shared.claim.pause(posting, answer, seconds)
  else
    posting.sent = nil -- saves memory: thousands may sleep
  end
end

-- ---- All attempts ------------------------------------------------------------------------------------

--- Completes the last attempt's answer by those before it. If the last request could not be sent, but an
-- earlier one was delivered, returns the earlier answer; if one may have been, the outcome is `interrupted`.
local function sum_up(posting, answer)
  if answer.confirmed_by == "response" then
    return answer -- earlier attempts make no difference
  end
  -- Not "no" if any request may have arrived.
  answer.delivered = stronger(posting.delivered, answer.joined and answer.delivered or "no")
  local last = posting.last_answer
  if answer.outcome ~= "unreachable" or answer.delivered == "no" then
    return answer
  elseif last and answer.delivered == "yes" then
    last.delivered, last.gave_up = "yes", answer.gave_up
    posting.call:refresh(last)
    return last
  end
  answer.outcome, answer.answered_by, answer.hint = "interrupted", nil, nil
  return answer
end

--- Sends sync requests, as often as the retry policy allows; with `is_single_pass` one at most.
---@param posting autopilot.Posting
---@return table answer in the shape of a report
function sync.request(posting)
  local client = posting.call.client
  local answer = sum_up(posting, posting.call:attempt(posting, try, before_wait))
  if client.shared then
    client.shared.claim.finish(posting, answer)
  end
  return answer
end

local hint_of_late = "The time was over before the request could be sent: allow more."

--- Adds the end of a refusal that the call was not to wait for, if the client knows it and the answer does not
-- contain it.
local function add_known_end(call, answer)
  if answer.gave_up == "retry_after" and not answer.retry_after then
    local _, seconds = call.client.memory:refusal(call:now())
    answers.set_retry(call.client, answer, seconds)
  end
end

--- Turns the answer, which may be that of a read, into the report of the whole call.
---@param posting autopilot.Posting
---@param answer table
---@return autopilot.Report? report
---@return autopilot.Report? failure
function sync.report(posting, answer)
  if answer.confirmed_by ~= "response" then
    answer = sum_up(posting, answer)
    add_known_end(posting.call, answer)
    local network = answer.network
    local is_late = answer.outcome == "unreachable" and network and network.name == "DEADLINE"
    if is_late and posting.call.name == "ensure" then
      answer.outcome, answer.hint = "timed_out", hint_of_late -- nothing is wrong with the network
    end
    if not posting.attempts[1] and outcome.of(answer).source == "record" then
      answer.answered_by = "client"
    elseif answer.answered_by == "client" and not answer.joined and posting.has_posted then
      answer.answered_by = nil
    end
  end
  return report.finish(posting.call, answer, posting.attempts)
end

-- ---- The method -------------------------------------------------------------------------------------

local rules = {
  deadline = { type = "number", above = 0 },
  wait = { type = "boolean" },
  force = { type = "boolean" },
  on_progress = { type = "function" },
  client_request_id = {
    type = "string",
    secret = true, -- error messages never quote a header
    check = function(value)
      return (#value > 128 or not value:match "^[%w%-]+$")
          and "must consist of at most 128 letters, digits and '-'"
        or nil
    end,
  },
}

---@param client autopilot.Client
---@param given { deadline: number?, wait: boolean?, force: boolean?, client_request_id: string?, on_progress: function? }?
---@return autopilot.Report? report
---@return autopilot.Report? failure
function sync.call(client, given)
  client:check_open "sync"
  local wanted = given == nil and {} or options.check("client:sync", rules, given)
  local call = Call.new(client, "sync", wanted)
  local posting = sync.new(call)
  local answer = sync.request(posting)
  if call.wait and answer.outcome == "started" then
    answer = completion.after_start(call, answer)
  end
  call:raise_mistake(answer)
  return sync.report(posting, answer)
end

return sync
