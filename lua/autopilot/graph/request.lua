--- One authorised request to Microsoft Graph, once: get the token, send, say what came of it.
--
-- What came of it is a table in the shape of a report, which the caller completes. A request is repeated in
-- one case only: a refused token is refreshed once. All other repeating is left to the caller.

local answers = require "autopilot.graph.answer"
local bearer = require "autopilot.graph.bearer"
local claims = require("autopilot.base.lazy") "autopilot.base.claims"
local core = require "autopilot.core"
local dates = require "autopilot.base.dates"
local foreign = require "autopilot.transport.foreign"
local graph_error = require("autopilot.base.lazy") "autopilot.graph.error"

local longest_id = 200 -- characters

---@class autopilot.RequestArguments how one request is to be made
---@field deadline number? on the client's clock; the request ends before it
---@field client_request_id string? for the first time it is sent; default a new one each time
---@field retry_attempt integer? sent as `retry-attempt` (msgraph-sdk-design); nil or 0 for the first attempt
---@field waited_until number? when the sleep before the request was to end, Unix time; for the token provider
---@field before (fun(): table?)? called with the token at hand; what it returns is the answer, and nothing is sent
---@field after fun(answer: table, sent: autopilot.SentRequest?)? called with each answer, to complete it; `sent` is nil
--- where nothing was sent

---@class autopilot.SentRequest what is known of a request that was sent
---@field is_hoped_for boolean the answer has the status hoped for
---@field is_second boolean it was sent a second time, with another token
---@field sends integer how often it may have been put on the wire
---@field at number when it was sent, Unix time
---@field clock number the same on the client's monotonic clock
---@field received_at number when its answer had come, Unix time
---@field earliest number? when it was sent, at the earliest, on the service's clock; nil: the answer does not tell
---@field latest number? when its answer had come, at the latest, on the service's clock
---@field claims string? what a claims challenge in the answer wants to see in the next token

---@class autopilot.Request belongs to a client and to all that differ from it in token and tenant only
local Request = {}
Request.__index = Request

---@param client autopilot.Client
---@param method "GET"|"POST"
---@param url string
---@param success integer the status hoped for
---@return autopilot.Request
function Request.new(client, method, url, success)
  local template = { method = method, url = url, headers = { ["Accept"] = "application/json" } }
  local user_agent = client.options.http.user_agent
  return setmetatable({
    is_sync = method == "POST", -- needs the permission to ask for a sync, not only to read
    success = success,
    send = foreign.prepare(client.transport, template, user_agent),
  }, Request)
end

--- The failure of the network, its texts made safe.
local function network_of(client, failure)
  local unsent = failure.delivered == "no"
  return {
    stage = client:clean(failure.stage, longest_id) or (unsent and "connect" or "receive"),
    name = client:clean(failure.name, longest_id),
    message = type(failure.message) == "string" and client:clean(failure.message) or "",
    timeout = failure.timeout or false,
    delivered = unsent and "no" or "unknown",
  }
end

local function of_network_failure(client, network, id, elapsed)
  local unsent = network.delivered == "no"
  return {
    outcome = unsent and "unreachable" or "interrupted",
    tenant = client.tenant or nil,
    delivered = network.delivered,
    answered_by = unsent and "client" or nil,
    client_request_id = id,
    network = network,
    elapsed = elapsed,
  }
end

--- The error in the body, its texts made safe.
local function parse_error(client, body, content_type)
  local service_error, is_json, page = graph_error.parse(body, content_type)
  for name, value in pairs(service_error) do
    service_error[name] = client:clean(value)
  end
  return service_error, is_json, page
end

--- Whether Graph itself gave the answer: then it carries an id, diagnostics or an error in JSON. A transport
-- for tests may say itself whether its answers are Graph's.
local function is_of_graph(response, answer, is_json)
  if response.intermediary ~= nil then
    return not response.intermediary
  end
  return answer.request_id or answer.diagnostics or response.headers["client-request-id"] or is_json
end

--- Completes the answer where it is not the one hoped for: error, Retry-After, outcome, who answered.
local function read_failure(client, answer, response, received)
  local headers = response.headers
  local content_type = headers["content-type"]
  local service_error, is_json, page = parse_error(client, response.body, content_type)
  -- Relative to the date of the answer, so that a wrong clock here does not matter.
  local seconds = dates.read_retry_after(headers["retry-after"], answer.service_date or received)
    or service_error.retry_after
  local is_intermediary = not is_of_graph(response, answer, is_json)
  if is_intermediary then
    answer.answered_by, answer.service_date = "intermediary", nil
  end
  answer.outcome = answers.outcome(answer.status, service_error, is_intermediary)
  answer.delivered = answers.delivered(answer.status, is_intermediary)
  answer.retry_after = seconds
  answer.retry_at = seconds and received + seconds
  answer.activity_id = service_error.activity_id
  answer.request_id = answer.request_id or service_error.request_id
  if service_error.code or service_error.message then
    answer.error = {
      code = service_error.code,
      message = service_error.message,
      reason = service_error.reason,
    }
  end
  answer.hint = client:clean(answers.hint(answer.outcome, service_error, nil, {
    status = answer.status,
    content_type = content_type,
    page = page,
    location = headers["location"],
    is_intermediary = is_intermediary,
  }))
end

--- Whether the answer is the one hoped for. A record is JSON: anything else under the status 200, without
-- a sign of Graph, is the page of a portal.
local function is_hoped_for(self, response, is_marked)
  local body = response.body
  if response.status ~= self.success then
    return false
  end
  local is_trusted = self.is_sync or is_marked or response.intermediary == false
  return is_trusted or body:find "^[\239\187\191%s]*[{%[]" ~= nil or not body:find "%S"
end

--- The answer for what came back; `sent` is completed.
---@return table answer
---@return string? body when the status is the one hoped for
local function read_result(self, client, response, failure, id, sent, elapsed)
  local network = failure and network_of(client, failure)
  if not response then
    sent.sends = failure.sends or (failure.delivered == "no" and 0 or 1)
    return of_network_failure(client, network, id, elapsed)
  end
  sent.sends = response.sends
  local headers = response.headers
  local date = dates.read_http_date(headers["date"], sent.received_at) -- repeated dates are joined, and unreadable
  local request_id = client:clean(headers["request-id"], longest_id)
  local diagnostics = client:clean(headers["x-ms-ags-diagnostic"])
  sent.is_hoped_for = is_hoped_for(self, response, request_id or diagnostics)
  local answer = {
    tenant = client.tenant or client.tenant_id or nil,
    tenant_id = client.tenant_id or nil,
    status = response.status,
    http_version = response.http_version,
    answered_by = "service",
    request_id = request_id,
    client_request_id = id,
    service_date = date,
    diagnostics = diagnostics,
    network = network,
    elapsed = elapsed,
    timings = response.timings,
  }
  if not sent.is_hoped_for then
    read_failure(client, answer, response, sent.received_at)
  end
  sent.claims = response.status == 401 and claims.of_header(headers["www-authenticate"]) or nil
  if headers["sunset"] then
    client:emit("sunset", { date = client:clean(headers["sunset"], longest_id) })
  end
  -- Without a sign of Graph the date may be that of something in between.
  local is_services = request_id or diagnostics or (sent.is_hoped_for and self.is_sync)
  if date and is_services then
    sent.earliest, sent.latest =
      client.service_clock:observe(date, elapsed, sent.received_at, sent.clock + elapsed)
  end
  return answer, sent.is_hoped_for and response.body or nil
end

--- The seconds that connecting and the whole request may take; nil when the deadline has passed.
local function time_limits(timeout, deadline, now)
  local remaining = deadline and deadline - now or math.huge
  if remaining > 0 then
    return math.min(timeout.connect, remaining), math.min(timeout.total, remaining)
  end
end

--- Sends once with this token.
---@return table answer
---@return autopilot.SentRequest? sent
---@return string? body when the status is the one hoped for
local function send(self, client, given, token, is_second)
  local options = client.options
  local began = options.clock()
  local connect, total = time_limits(options.timeout, given.deadline, began)
  if not connect then
    local message = "the deadline passed before the request could be sent"
    return answers.kept_back(client, "DEADLINE", message)
  end
  local id = not is_second and given.client_request_id or core.uuid()
  local retry_attempt = given.retry_attempt or 0
  if client.on_event then
    client:emit("attempt", { retry_attempt = retry_attempt, client_request_id = id })
  end
  if client.secrets[1] ~= token then
    client:hide(token)
  end
  began = options.clock() -- the time that an observer takes is not the answer's travel
  local sent = { at = options.now(), clock = began, is_hoped_for = false, is_second = is_second }
  local response, failure, complaint = self.send {
    connect = connect,
    total = total,
    token = token,
    client_request_id = id,
    retry_attempt = retry_attempt,
  }
  sent.received_at = options.now()
  local elapsed = options.clock() - began
  if complaint then
    return { outcome = "unexpected", mistake = "the transport " .. complaint }
  end
  local answer, body = read_result(self, client, response, failure, id, sent, elapsed)
  answer.sends = sent.sends
  return answer, sent, body
end

--- Gets a token of the provider's and sends once with it. After a refusal: with another than the refused
-- one, or nil.
---@return table? answer
---@return string? body when the status is the one hoped for
---@return autopilot.RefusedToken? used the token that was sent
local function try(self, client, given, refused)
  local token, answer = bearer.obtain(client, given, self.is_sync, refused)
  local sent, body
  if token then
    local instead = given.before and given.before()
    if instead then
      return instead
    end
    answer, sent, body = send(self, client, given, token, refused ~= nil)
  end
  if answer and given.after and not answer.mistake then
    given.after(answer, sent)
  end
  if sent and client.on_event then
    client:emit("response", {
      status = answer.status,
      outcome = answer.outcome,
      client_request_id = answer.client_request_id,
      elapsed = answer.elapsed,
    })
  end
  return answer, body, sent and { token = token, claims = sent.claims }
end

--- Sends the request; when the token is refused and the provider has another, once more with that.
---@param client autopilot.Client whose token is sent
---@param given autopilot.RequestArguments
---@return table answer in the shape of a report, without `ok` and `operation`; without `outcome` where it has
-- the status hoped for
---@return string? body the last answer's, when it has the status hoped for
function Request:run(client, given)
  local answer, body, used = try(self, client, given)
  if answer.outcome ~= "unauthenticated" or not used or answer.retry_after then
    return answer, body
  end
  local again, body_again = try(self, client, given, used)
  if not again then
    return answer
  elseif again.outcome == "token_error" and not again.mistake then
    -- The refusal of the token that was sent stands. The provider's failure goes into the hint.
    answer.hint = "The service refused the token, and no other could be had: "
      .. again.error.message
    answer.is_transient, answer.retry_after = again.is_transient, again.retry_after
    return answer
  end
  return again, body_again
end

return Request
