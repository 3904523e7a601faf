--- One authorised request to Microsoft Graph, once: get the token, send, say what came of it.
--
-- What came of it is a table in the shape of a report, which the operation that asked completes.
-- Repeating is left to the operations, but for one case: a refused token is refreshed once.

local authorization = require "autopilot.authorization"
local core = require "autopilot.core"
local outcome = require "autopilot.outcome"

---@class autopilot.ExchangeContext how one operation wants its requests made
---@field deadline number? on the client's clock; no request outlives it
---@field client_request_id string? for the first request; default a new one for each
---@field retry_attempt integer 0 for the first try; sent as `retry-attempt` (msgraph-sdk-design)
---@field delay number? seconds waited before this request
---@field attempts autopilot.Attempt[]? takes an entry for every request; nil for reads
---@field sent_at number? set by the last request: when it was sent, Unix time
---@field received_at number? and when its answer had come
---@field claims string? set by the last request: what a claims challenge in its answer wants

---@class autopilot.Exchange
local Exchange = {}
Exchange.__index = Exchange

--- The values of up to four headers; a transport may offer to find them without building a table.
local function headers_of(response, a, b, c, d)
  local find = response.header
  if find then
    return find(response, a, b, c, d)
  end
  local headers = response.headers or {}
  return headers[a], headers[b], c and headers[c], d and headers[d]
end

--- Says what is wrong with what somebody's own transport returned, or nil.
local function complaint_about(response, network)
  if response == nil then
    return type(network) ~= "table" and "must return a response, or nil and a network table" or nil
  end
  local status = type(response) == "table" and response.status
  if type(status) ~= "number" or not (status >= 100 and status <= 999 and status % 1 == 0) then
    return "must return a response with a status, or nil and a network table"
  elseif response.body ~= nil and type(response.body) ~= "string" then
    return "must return a body that is a string"
  elseif response.headers ~= nil and type(response.headers) ~= "table" then
    return "must return headers in a table"
  end
  for _, value in pairs(response.headers or {}) do
    if type(value) ~= "string" and type(value) ~= "number" then
      return "must return headers that are strings, repeated ones joined by ', '"
    end
  end
end

--- For a transport that does not prepare requests: makes a whole one for each attempt, and checks
-- what comes back.
local function prepare_generic(transport, template)
  return function(connect, total, token, client_request_id, retry_attempt)
    local headers = {}
    for name, value in pairs(template.headers) do
      headers[name] = value
    end
    headers["Authorization"] = "Bearer " .. token
    headers["client-request-id"] = client_request_id
    headers["retry-attempt"] = retry_attempt > 0 and ("%d"):format(retry_attempt) or nil
    local response, network = transport {
      method = template.method,
      url = template.url,
      headers = headers,
      timeout = { connect = connect, total = total },
    }
    return response, network, complaint_about(response, network)
  end
end

---@param client autopilot.Client
---@param method "GET"|"POST"
---@param url string
---@param success integer the status hoped for
---@return autopilot.Exchange
function Exchange.new(client, method, url, success)
  local transport = client.transport
  local template = { method = method, url = url, headers = { ["Accept"] = "application/json" } }
  local can_prepare = type(transport) == "table" and transport.prepare
  if not can_prepare then
    template.headers["User-Agent"] = client.options.http.user_agent
  end
  return setmetatable({
    client = client,
    is_sync_request = method == "POST",
    success = success,
    send = can_prepare and transport:prepare(template) or prepare_generic(transport, template),
  }, Exchange)
end

--- Nothing could be sent for a reason of our own.
local function not_sent(client, name, message)
  local network = {
    stage = "connect",
    name = name,
    message = message,
    timeout = name == "DEADLINE",
    delivered = "no",
    sends = 0,
  }
  return {
    outcome = "unreachable",
    delivered = "no",
    answered_by = "client",
    sends = 0,
    network = network,
    tenant = client.options.tenant,
  }
end

local function safe_network(client, network)
  local unsent = network.delivered == "no"
  local message = network.message
  return {
    stage = network.stage or (unsent and "connect" or "receive"),
    name = network.name,
    message = type(message) == "string" and client.clean(message) or "",
    timeout = network.timeout or false,
    delivered = unsent and "no" or "unknown",
  }
end

local function of_network_failure(client, network)
  local unsent = network.delivered == "no"
  return {
    outcome = unsent and "unreachable" or "interrupted",
    delivered = unsent and "no" or "unknown",
    answered_by = unsent and "client" or nil,
    sends = network.sends or (unsent and 0 or 1),
    network = safe_network(client, network),
  }
end

--- The error in the body. It is cleaned twice: reading it undoes escapes and drops what is invisible,
-- which may put an echo together that was in pieces.
local function parse_error(clean, body, content_type)
  local service_error = require("autopilot.graph_error").parse(clean(body), content_type)
  for name, value in pairs(service_error) do
    service_error[name] = clean(value)
  end
  return service_error
end

--- Adds what the service said of its failure: error, Retry-After, outcome.
local function read_failure(self, answer, response, received)
  local content_type, retry_after = headers_of(response, "content-type", "retry-after")
  local service_error = parse_error(self.client.clean, response.body or "", content_type)
  -- Relative to the service's own date, so that a wrong clock here does not matter.
  local seconds = retry_after and core.retry_after(retry_after, answer.service_date or received)
    or service_error.retry_after
  answer.outcome =
    outcome.of_status(answer.status, service_error, seconds ~= nil, self.is_sync_request)
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
  answer.hint = outcome.hint(answer.outcome, service_error)
end

--- An answer for this response. All fields of a finished report are named here, so that the table
-- is made in its final size.
local function of_response(self, response, network, received)
  local client = self.client
  local date, request_id, diagnostics, sunset =
    headers_of(response, "date", "request-id", "x-ms-ags-diagnostic", "sunset")
  local status = response.status
  local is_success = status == self.success
  local is_started = is_success and self.is_sync_request
  local answer = {
    ok = nil,
    operation = nil,
    outcome = is_started and "started" or nil,
    tenant = client.options.tenant,
    status = status,
    http_version = response.http_version,
    delivered = outcome.delivered_by(status),
    confirmed_by = is_started and "response" or nil,
    answered_by = "service",
    request_id = client.clean(request_id),
    client_request_id = nil,
    service_date = date and core.http_date(date),
    diagnostics = client.clean(diagnostics),
    network = network and safe_network(client, network),
    attempts = nil,
    elapsed = nil,
    timings = response.timings,
    sends = response.sends or 1,
  }
  if not is_success then
    read_failure(self, answer, response, received)
  end
  if sunset then
    client:emit("sunset", { date = client.clean(sunset) })
  end
  return answer
end

--- The seconds that a request may take, or nil when the deadline has passed.
local function timeouts(client, context, began)
  local timeout = client.options.timeout
  if not context.deadline then
    return timeout.connect, timeout.total
  end
  local remaining = context.deadline - began
  if remaining <= 0 then
    return nil
  end
  return math.min(timeout.connect, remaining), math.min(timeout.total, remaining)
end

--- Sends once with this token.
local function send_once(self, context, token)
  local client = self.client
  local options = client.options
  local clock, now = options.clock, options.now
  local began = clock()
  local connect, total = timeouts(client, context, began)
  if not connect then
    return not_sent(client, "DEADLINE", "the deadline passed before the request could be sent")
  end
  local id = context.client_request_id or core.uuid()
  context.client_request_id = nil -- one request, one id
  if client.on_event then
    client:emit("attempt", { retry_attempt = context.retry_attempt, client_request_id = id })
  end
  local sent = now()
  local response, network, complaint = self.send(connect, total, token, id, context.retry_attempt)
  local received, ended = now(), clock()
  if complaint then
    return { outcome = "unexpected", mistake = "the transport " .. complaint }
  end
  if client.secrets[1] ~= token then
    client:hide(token)
  end
  local answer
  if response then
    if response.status == 401 then
      context.claims = authorization.claims_of(headers_of(response, "www-authenticate"))
    end
    answer = of_response(self, response, network, received)
    if answer.service_date then
      client.service_clock:observe(answer.service_date, sent, received)
    end
  else
    answer = of_network_failure(client, network)
    answer.tenant = options.tenant
  end
  answer.client_request_id = id
  answer.elapsed = ended - began
  context.sent_at, context.received_at = sent, received
  if client.on_event then
    client:emit("response", {
      status = answer.status,
      outcome = answer.outcome,
      client_request_id = id,
      elapsed = answer.elapsed,
    })
  end
  return answer, answer.status == self.success and response or nil
end

--- Gets a token and sends once with it. After a refusal: with another than the refused one, or nil.
---@return table? answer
---@return table? response when it has the status hoped for
---@return string? token that was sent
local function ask(self, context, refused)
  local client = self.client
  local token, failure
  if not client.is_closed then
    token, failure =
      authorization.token(client, context.deadline, refused, refused and context.claims)
  end
  if client.is_closed then -- before the call, or by the provider
    return not_sent(client, "CLOSED", "the client was closed meanwhile")
  elseif not token then
    return authorization.answer(client, failure)
  elseif token == refused then
    return nil -- the provider has no other, and this one would be refused again
  elseif token ~= client.secrets[1] and not core.is_header_text(token) then
    -- Its author's mistake: the operation raises it at its caller's line, and quotes nothing.
    return { outcome = "token_error", mistake = "the token contains CR, LF or NUL" }
  end
  local answer, response = send_once(self, context, token)
  return answer, response, token
end

local function add_attempt(attempts, answer, delay)
  if attempts then
    local number = #attempts + 1
    attempts[number] = {
      number = number,
      outcome = answer.outcome,
      status = answer.status,
      delivered = answer.delivered,
      sends = answer.sends,
      delay = delay,
      elapsed = answer.elapsed or 0,
      request_id = answer.request_id,
      client_request_id = answer.client_request_id,
      network = answer.network,
    }
  end
end

--- Sends the request; when the token is refused and the provider has another, once more with that.
---@param context autopilot.ExchangeContext
---@return table answer in the shape of a report, without `ok` and `operation`
---@return table? response the last one, when it has the status hoped for
function Exchange:run(context)
  local answer, response, refused = ask(self, context)
  add_attempt(context.attempts, answer, context.delay or 0)
  if answer.outcome == "unauthenticated" and self.client.token_provider then
    local again, with_refreshed = ask(self, context, refused)
    if again then
      add_attempt(context.attempts, again, 0)
      if again.outcome ~= "token_error" or again.mistake then
        return again, with_refreshed
      end
      -- Something was sent and refused: that stands. What the provider said is for people to know.
      answer.hint = "The service refused the token, and no other could be had: "
        .. again.error.message
    end
  end
  return answer, response
end

return Exchange
