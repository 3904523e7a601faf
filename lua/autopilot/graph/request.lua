--- One authorised request to Microsoft Graph: gets the token, sends the request, reads the answer.
--
-- The answer is a table in the shape of a report, which the caller completes. The request is repeated in one
-- case only: a refused token is refreshed once. All other retries are left to the caller.

local core = require "autopilot.core"
local dates = require "autopilot.base.dates"
local lazy = require "autopilot.base.lazy"
local provider = require "autopilot.graph.token_provider"

local answers = lazy "autopilot.graph.answer"
local foreign = lazy "autopilot.transport.foreign"
local trace = lazy "autopilot.graph.trace"

local longest_id = 200 -- characters

---@class autopilot.RequestArguments how one request is to be made
---@field deadline number? on the client's clock; the request ends before it
---@field client_request_id string? default a new one
---@field retry_attempt integer? sent as `retry-attempt` (msgraph-sdk-design); nil or 0 for the first attempt
---@field waited_until number? when the sleep before the request was to end, on the client's clock; for the token provider
---@field before (fun(self): table?)? called when there is a token; if it returns an answer, nothing is sent
---@field after (fun(self, answer: table, sent: autopilot.SentRequest?))? called with each answer, to complete it;
--- `sent` is nil where nothing was sent

---@class autopilot.SentRequest: autopilot.TransferAttempt a request that was sent
---@field at number when it was sent, on the client's clock
---@field earliest number? earliest possible time of sending, on the service's clock; nil: the answer does not show it
---@field latest number? latest possible time at which its answer had come, on the service's clock
---@field claims string? the claims that the answer demands of the next token (claims challenge)

---@class autopilot.Request shared by clients that differ in token and tenant only
local Request = {}
Request.__index = Request

---@param client autopilot.Client
---@param method "GET"|"POST"
---@param success integer the expected status
---@param inspect boolean? use a new connection; answers get its `facts`, and `headers` (`autopilot.HttpResponse`)
---@return autopilot.Request
function Request.new(client, method, url, success, inspect)
  local template = {
    method = method,
    url = url,
    headers = { ["Accept"] = "application/json" },
    facts = client.options.trace or nil,
    inspect = inspect,
  }
  local transport = client.transport
  local is_ours = type(transport) == "table" and transport.prepare
  return setmetatable({
    is_sync = method == "POST", -- needs the permission to ask for a sync, not only to read
    success = success,
    inspect = inspect,
    template = template,
    transfer = is_ours and transport:prepare(template)
      or foreign.prepare(transport, template, client.options.http.user_agent),
  }, Request)
end

--- Whether the response is the expected one. A record is JSON: a response 200 that is not JSON and has none of Graph's
-- headers (`is_marked`) is the page of a captive portal.
local function is_expected(self, response, is_marked)
  local body = response.body
  if response.status ~= self.success then
    return false
  end
  local is_trusted = self.is_sync or is_marked or response.intermediary == false
  return is_trusted or body:find "^[\239\187\191%s]*[{%[]" ~= nil or not body:find "%S"
end

--- Makes the answer from an HTTP response, and adds to `sent` what the response shows.
---@return table answer
---@return string? body when the status is the expected one
local function read_response(self, client, response, failure, sent, received_at)
  local headers = response.headers
  local request_id = client:clean(headers["request-id"], longest_id)
  local diagnostics = client:clean_repeated(headers["x-ms-ags-diagnostic"])
  local is_marked = (request_id or diagnostics) ~= nil
  local is_success = is_expected(self, response, is_marked)
  local elapsed = received_at - sent.at
  -- Repeated dates are joined, and cannot be read.
  local date = dates.read_http_date(headers["date"])
  local answer = {
    tenant_id = client.tenant_id or nil,
    status = response.status,
    http_version = response.http_version,
    answered_by = "service",
    request_id = request_id,
    client_request_id = sent.client_request_id,
    service_date = date,
    diagnostics = diagnostics,
    network = failure and answers.network(client, failure),
    sends = response.sends,
    elapsed = elapsed,
    timings = response.timings,
  }
  if not is_success then
    sent.claims = answers.complete(client, answer, response)
  end
  if headers["sunset"] then
    client:emit("sunset", { date = client:clean(headers["sunset"], longest_id) })
  end
  -- Without Graph's headers the response, and its date, may come from a proxy.
  if date and (is_marked or (is_success and self.is_sync)) then
    sent.earliest, sent.latest = client.service_clock:observe(date, elapsed, received_at)
  end
  return answer, is_success and response.body or nil
end

--- Seconds until the deadline; without one, infinity.
local function time_left(client, given)
  return given.deadline and given.deadline - client.options.clock() or math.huge
end

local late = "the deadline passed before the request could be sent"

--- Sends the request once, with the token; without a token if it is nil.
---@param client autopilot.Client
---@param given autopilot.RequestArguments
---@return table answer as of `run`
---@return autopilot.SentRequest? sent
---@return string? body when the status is the expected one
function Request:send(client, given, token)
  local options = client.options
  if time_left(client, given) <= 0 then
    return answers.kept_back(client, "DEADLINE", late)
  end
  local attempt = {
    token = token,
    client_request_id = given.client_request_id or core.uuid(),
    retry_attempt = given.retry_attempt or 0,
  }
  if token and client.secrets[1] ~= token then
    client:hide(token)
  end
  local secrets, tenant_id = client.secrets, client.tenant_id
  if client.on_event then
    client:emit("attempt", {
      method = self.template.method,
      retry_attempt = attempt.retry_attempt,
      client_request_id = attempt.client_request_id,
    })
  end
  local ended = options.trace and trace.begin(client, foreign.request_of(self.template, attempt))
  if client.is_closed then -- by an event handler
    return answers.closed(client)
  end
  local left, timeout = time_left(client, given), options.timeout -- the event handlers may have taken their time
  if left <= 0 then
    return answers.kept_back(client, "DEADLINE", late)
  end
  attempt.connect, attempt.total = math.min(timeout.connect, left), math.min(timeout.total, left)
  attempt.at = options.clock() -- the time of the event handlers does not count
  local response, failure, complaint = self.transfer(attempt)
  local received_at = options.clock()
  if client.secrets ~= secrets then -- another call has sent another token, or the client was closed
    client:restore_secrets(secrets, tenant_id)
  end
  if complaint then
    return { outcome = "unexpected", mistake = "the transport " .. complaint }
  end
  local answer, body
  if response then
    answer, body = read_response(self, client, response, failure, attempt, received_at)
  else
    answer = answers.of_network(client, failure, attempt, received_at)
  end
  if ended then -- after the answer was read: an event handler may send another token
    ended(response, failure)
  end
  if self.inspect then
    answer.facts, answer.headers = (response or failure).facts, response and response.headers
  end
  return answer, attempt, body
end

--- Gets a token, and sends the request with it. If the service refuses the token and the provider has another one,
-- sends the request again with that one.
---@param client autopilot.Client whose token is sent
---@param given autopilot.RequestArguments
---@param refused autopilot.SentRequest? the request whose token the service has just refused: another token is needed
---@return table? answer in the shape of a report, without `ok` and `operation`; without `outcome` where it has the
-- expected status; nil if the provider has no other token
---@return string? body the last answer's, when it has the expected status
function Request:run(client, given, refused)
  local token, answer = provider.obtain(client, given, self.is_sync, refused)
  local sent, body
  if token then
    local instead = given.before and given:before()
    if instead then
      return instead
    elseif client.is_closed then
      answer = answers.closed(client)
    else
      answer, sent, body = self:send(client, given, token)
    end
  end
  if answer and given.after and not answer.mistake then
    given:after(answer, sent)
  end
  if sent and client.on_event then
    client:emit("response", {
      status = answer.status,
      outcome = answer.outcome,
      client_request_id = answer.client_request_id,
      elapsed = answer.elapsed,
    })
  end
  if sent and answer.outcome == "unauthenticated" and not refused and not answer.retry_after then
    return provider.try_newer(self, client, given, answer, sent)
  end
  return answer, body
end

return Request
