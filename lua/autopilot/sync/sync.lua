--- `client:sync`, and the sync requests that one call of `sync` or `ensure` sends.
--
-- The HTTP request is in `autopilot.graph.request`, what follows from any answer but the expected one in
-- `failure`, and the retry loop in `call`.

local lazy = require "autopilot.base.lazy"

local answers = lazy "autopilot.graph.answer"
local completion = lazy "autopilot.sync.wait"
local failure = lazy "autopilot.sync.failure"

---@type autopilot.Operation
local sync = {
  rules = {
    deadline = { type = "number", above = 0 },
    wait = { type = "boolean" },
    force = { type = "boolean" },
    on_progress = { type = "function" },
    client_request_id = {
      type = "string",
      secret = true, -- error messages never quote a header
      check = function(value)
        local is_right = #value <= 128 and value:find "^[%w%-]+$"
        return not is_right and "must consist of at most 128 letters, digits and '-'" or nil
      end,
    },
  },
}

---@class autopilot.SyncRequests: autopilot.RequestArguments, autopilot.Attempted the sync requests of a call, and the parameters of the next
---@field call autopilot.Call
---@field force boolean? send a request even if a refusal is expected
---@field attempts autopilot.Attempt[] one for each attempt to send a request
---@field client_request_id string? for the first request that is sent; nil: a new id for each
---@field delay number seconds waited before the next one
---@field sent autopilot.SentRequest? the last request sent
---@field last_answer table? the answer to it, or what a later read showed of it; nil: no request was sent
---@field delivered "yes"|"no"|"unknown" whether the service received any of the requests
---@field open autopilot.OpenRequests? the requests that may have started a sync
---@field is_unread boolean? the record was not read since the last of these requests
---@field lease autopilot.Lease? the call's claim on the tenant, if a store is shared
---@field instead table? the answer that is used in place of sending a request: another call's answer, a known refusal, or that
--- another request is under way

local Requests = {}
Requests.__index = Requests

function sync.requests(call, force, client_request_id)
  return setmetatable({
    call = call,
    deadline = call.deadline,
    force = force,
    client_request_id = client_request_id,
    attempts = {},
    delivered = "no",
  }, Requests)
end

--- The refusal that the client expects from the service now, also by what the store has; nil if a request may succeed.
function sync.known_refusal(call)
  if call.client.shared then
    call.client.shared:learn()
  end
  local name, seconds = call.client.memory:refusal(call:now())
  return name and answers.not_sent(call.client, name, { retry_after = seconds })
end

-- ---- One attempt -------------------------------------------------------------------------------------

--- Returns the answer to use if no request is to be sent; else nil. With a shared store, only the call that holds the
-- claim on the tenant sends requests.
function Requests:before()
  local shared = self.call.client.shared
  self.instead = shared and shared:gate(self) or nil
  return self.instead
end

--- Completes the answer to a request, and adds it to the list of attempts.
---@param sent autopilot.SentRequest? nil where nothing was sent
function Requests:after(answer, sent)
  if sent then
    self.sent, self.client_request_id = sent, nil
  end
  if answer.outcome then
    failure.note(self, answer)
  else -- the expected status
    answer.outcome, answer.delivered, answer.confirmed_by = "started", "yes", "response"
    self.delivered = "yes"
    local memory, accepted_at = self.call.client.memory, sent.at + answer.elapsed
    memory:learn_from_start(sent.at, accepted_at)
    memory:note_started(sent.at, accepted_at, sent.earliest, sent.latest)
  end
  if answer.sends > 0 then
    self.last_answer = answer
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

--- Sends a sync request, unless the client knows that it would be refused.
---@return table answer
---@return table? judged the report for the retry policy; nil: no retry
function Requests:try(number, delay)
  local call = self.call
  local client = call.client
  local refusal = sync.known_refusal(call)
  if refusal and not self.force then
    return refusal, refusal
  end
  local seen = client.memory.newest_trigger
  -- An attempt that ended with a known refusal was no request, so that this one may be the first.
  self.retry_attempt = math.min(number - 1, #self.attempts)
  self.delay, self.waited_until = delay, call.slept_until
  self.instead = nil
  local answer = client.sync_request:run(client, self)
  if answer.mistake or answer.confirmed_by == "response" then
    return answer
  end
  return answer, failure.judge(self, answer, seen)
end

--- Called before the call waits for its next attempt. Keeps or releases the claim on the tenant.
function Requests:before_wait(answer, seconds)
  local shared = self.call.client.shared
  if shared then
    shared:pause(self, answer, seconds)
  else
    self.sent = nil -- saves memory: thousands may sleep
  end
end

-- ---- All attempts ------------------------------------------------------------------------------------

--- Sends sync requests, as often as the retry policy allows; with `is_single_pass` one at most.
---@return table answer in the shape of a report
function sync.request(requests)
  local client, answer = requests.call.client, requests.call:attempt(requests)
  if answer.confirmed_by ~= "response" then -- else earlier attempts make no difference
    answer = failure.sum_up(requests, answer)
  end
  if client.shared then
    client.shared:finish(requests, answer)
  end
  return answer
end

--- Completes the answer, which may be that to a read of the record, for the report of the whole call.
function sync.result(requests, answer)
  if answer.confirmed_by ~= "response" then
    answer = failure.complete(requests, answer)
  end
  return answer, requests.attempts
end

--- Requests a sync, and waits for its end if the option `wait` is true.
function sync.run(call, wanted)
  if wanted.wait then
    call.deadline = call.deadline or call.began + completion.rules.timeout.default
  end
  local requests = sync.requests(call, wanted.force, wanted.client_request_id)
  local answer = sync.request(requests)
  if wanted.wait and answer.outcome == "started" then
    answer = completion.after_start(call, answer)
  end
  return sync.result(requests, answer)
end

return sync
