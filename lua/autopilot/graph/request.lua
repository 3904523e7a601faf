--- One authorised request to Microsoft Graph, once: get the token, send, say what came of it.
--
-- What came of it is a table in the shape of a report, which the operation that asked completes.
-- Repeating is left to the operations, but for one case: a refused token is refreshed once.

local adapter = require "autopilot.transport.foreign"
local authorization = require "autopilot.graph.bearer"
local core = require "autopilot.core"
local dates = require "autopilot.base.dates"
local outcome = require "autopilot.sync.outcome"

local min, uuid = math.min, core.uuid

local longest_id = 200 -- characters

---@class autopilot.ExchangeContext how one operation wants its requests made
---@field deadline number? on the client's clock; no request outlives it
---@field client_request_id string? for the first request; default a new one for each
---@field retry_attempt integer? sent as `retry-attempt` (msgraph-sdk-design); nil or 0 for the first try
---@field delay number? seconds waited before this request
---@field attempts autopilot.Attempt[]? takes an entry for every sync request
---@field gate (fun(context: autopilot.ExchangeContext): table?)? may answer, marked `unposted`, before a request is sent
---@field sent_at number? set by the last request, unless it started a sync: when it was sent, Unix time
---@field sent_clock number? the same on the monotonic clock
---@field received_at number? and when its answer had come
---@field waited_until number? when the sleep before the request ended, Unix time
---@field claims string? set by the last request: what a claims challenge in its answer wants

---@class autopilot.Exchange belongs to a client and to all that differ from it in token and tenant only
local Exchange = {}
Exchange.__index = Exchange

---@param client autopilot.Client
---@param method "GET"|"POST"
---@param url string
---@param success integer the status hoped for
---@return autopilot.Exchange
function Exchange.new(client, method, url, success)
  local template = { method = method, url = url, headers = { ["Accept"] = "application/json" } }
  local user_agent = client.options.http.user_agent
  return setmetatable({
    is_sync_request = method == "POST",
    success = success,
    send = adapter.prepare_replies(client.transport, template, user_agent),
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
    tenant = client.tenant or nil,
  }
end

--- What is known of a failure of the network, its words made safe.
local function network_of(client, reply)
  local stage, name, message, timeout, delivered = reply:failure()
  local unsent = delivered == "no"
  return {
    stage = client:clean(stage, longest_id) or (unsent and "connect" or "receive"),
    name = client:clean(name, longest_id),
    message = type(message) == "string" and client:clean(message) or "",
    timeout = timeout or false,
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

--- The error in the body.
local function parse_error(client, body, content_type)
  local service_error, is_json, page = require("autopilot.graph.error").parse(body, content_type)
  for name, value in pairs(service_error) do
    service_error[name] = client:clean(value)
  end
  return service_error, is_json, page
end

--- Whether an answer carries what every answer of Graph does: an id, diagnostics or an error in JSON.
-- A transport for tests may say itself whose its answers are.
local function is_of_graph(reply, answer, client_request_id, is_json)
  if reply.intermediary ~= nil then
    return not reply.intermediary
  end
  return answer.request_id or answer.diagnostics or client_request_id or is_json
end

--- Adds what the answer says of the failure: error, Retry-After, outcome, and who answered.
local function read_failure(self, client, answer, reply, body, received)
  local content_type, retry_after, client_request_id, location =
    reply:header("content-type", "retry-after", "client-request-id", "location")
  local service_error, is_json, page = parse_error(client, body, content_type)
  -- Relative to the date of the answer, so that a wrong clock here does not matter.
  local seconds = dates.read_retry_after(retry_after, answer.service_date or received)
    or service_error.retry_after
  local is_intermediary = not is_of_graph(reply, answer, client_request_id, is_json)
  if is_intermediary then
    answer.answered_by, answer.service_date = "intermediary", nil
  end
  answer.outcome = outcome.of_status(
    answer.status,
    service_error,
    seconds ~= nil,
    self.is_sync_request,
    is_intermediary
  )
  answer.delivered = outcome.delivered_by(answer.status, is_intermediary)
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
  answer.hint = client:clean(outcome.hint(answer.outcome, service_error, nil, {
    status = answer.status,
    content_type = content_type,
    page = page,
    location = location,
    is_intermediary = is_intermediary,
  }))
end

--- Whether the answer is the one hoped for. A record is JSON: anything else under the status 200, without
-- a sign of Graph, is the page of a portal.
local function is_hoped_for(self, reply, status, body, is_marked)
  if status ~= self.success then
    return false
  end
  local is_trusted = self.is_sync_request or is_marked or reply.intermediary == false
  return is_trusted or body:find "^[\239\187\191%s]*[{%[]" ~= nil or not body:find "%S"
end

--- An answer for what came back. The table that a success needs is made in its final size: the fields
-- that the operation adds still fit.
---@return table answer
---@return integer sends how often the request may have been put on the wire
---@return string? body when the status is the one hoped for
local function read_reply(self, client, reply, id, sent, began, received, elapsed)
  local status, http_version, body, sends, is_complete, lookup, connect, tls, first_byte, total =
    reply:result()
  local network = not is_complete and network_of(client, reply) or nil
  if not status then
    return of_network_failure(client, network, id, elapsed), sends
  end
  local date, request_id, diagnostics, sunset =
    reply:header("date", "request-id", "x-ms-ags-diagnostic", "sunset")
  date = dates.read_http_date(date, received) -- repeated, it is joined to what is no date
  request_id, diagnostics = client:clean(request_id, longest_id), client:clean(diagnostics)
  local is_success = is_hoped_for(self, reply, status, body, request_id or diagnostics)
  local is_started = is_success and self.is_sync_request
  local answer = {
    outcome = is_started and "started" or nil,
    tenant = client.tenant or client.tenant_id or nil,
    tenant_id = client.tenant_id or nil,
    status = status,
    http_version = http_version,
    delivered = is_started and "yes" or nil,
    confirmed_by = is_started and "response" or nil,
    answered_by = "service",
    request_id = request_id,
    client_request_id = id,
    service_date = date,
    diagnostics = diagnostics,
    elapsed = elapsed,
    timings = total and {
      name_lookup = lookup,
      connect = connect,
      tls = tls,
      first_byte = first_byte,
      total = total,
    },
  }
  if network then
    answer.network = network
  end
  if not is_success then
    read_failure(self, client, answer, reply, body, received)
  end
  if sunset then
    client:emit("sunset", { date = client:clean(sunset, longest_id) })
  end
  local earliest, latest
  if date and (is_started or request_id or diagnostics) then -- else whose clock it is, nobody knows
    earliest, latest = client.service_clock:observe(date, elapsed, received, began + elapsed)
  end
  if is_started then
    client.memory:note_started(sent, received, began, earliest, latest)
  end
  return answer, sends, is_success and body or nil
end

--- Adds an entry to the operation's list of attempts.
---@param refused string? the token before, with which it was tried at once before this
local function note_attempt(context, answer, sends, refused)
  local attempts = context.attempts
  local number = attempts and #attempts + 1 or 1
  local attempt = {
    number = number,
    outcome = answer.outcome,
    status = answer.status,
    delivered = answer.delivered,
    sends = sends,
    delay = not refused and context.delay or 0,
    elapsed = answer.elapsed or 0,
    request_id = answer.request_id,
    client_request_id = answer.client_request_id,
    network = answer.network,
  }
  if attempts then
    attempts[number] = attempt
  else
    context.attempts = { attempt }
  end
end

--- The seconds that connecting and the whole request may take; nil when the deadline has passed.
local function within(timeout, deadline, began)
  local remaining = deadline - began
  if remaining > 0 then
    return min(timeout.connect, remaining), min(timeout.total, remaining)
  end
end

--- The answer where nothing was sent, after it was noted as an attempt.
local function unsent(self, context, answer, refused)
  if self.is_sync_request then
    note_attempt(context, answer, 0, refused)
  end
  return answer
end

--- Keeps what whoever goes on after a request that started nothing wants to know.
local function keep(context, answer, reply, sends, sent, began, received)
  answer.sends = sends
  context.sent_at, context.sent_clock, context.received_at = sent, began, received
  context.claims = answer.status == 401 and authorization.claims_of(reply:header "www-authenticate")
    or nil
end

--- Sends once with this token.
---@return table answer
---@return string? body when the status is the one hoped for
local function send_once(self, client, context, token, refused)
  local options, on_event = client.options, client.on_event
  local clock, now, timeout = options.clock, options.now, options.timeout
  local connect, total = timeout.connect, timeout.total
  if context.gate then
    local instead = context.gate(context)
    if instead then
      return instead
    end
  end
  local began = clock()
  if context.deadline then
    connect, total = within(timeout, context.deadline, began)
    if not connect then
      local message = "the deadline passed before the request could be sent"
      return unsent(self, context, not_sent(client, "DEADLINE", message), refused)
    end
  end
  local id = context.client_request_id
  if id then
    context.client_request_id = nil -- one request, one id
  else
    id = uuid()
  end
  local retry_attempt = context.retry_attempt or 0
  if on_event then
    client:emit("attempt", { retry_attempt = retry_attempt, client_request_id = id })
    began = clock() -- what the observer took is not the answer's travel
  end
  if client.secrets[1] ~= token then
    client:hide(token)
  end
  local sent = now()
  local reply, complaint = self.send(connect, total, token, id, retry_attempt)
  local received, elapsed = now(), clock() - began
  if complaint then
    return { outcome = "unexpected", mistake = "the transport " .. complaint }
  end
  local answer, sends, body = read_reply(self, client, reply, id, sent, began, received, elapsed)
  if answer.outcome ~= "started" then
    keep(context, answer, reply, sends, sent, began, received)
  end
  if on_event then
    client:emit("response", {
      status = answer.status,
      outcome = answer.outcome,
      client_request_id = id,
      elapsed = elapsed,
    })
  end
  if self.is_sync_request then
    note_attempt(context, answer, sends, refused)
  end
  return answer, body
end

--- A token of the provider's; nil and the answer that says why there is none; or nil alone when it has
-- no other than the refused one, which would be refused again.
---@return string? token
---@return table? answer
local function obtain(self, client, context, refused)
  local token, failure, is_vouched
  if not client.is_closed then
    token, failure, is_vouched = authorization.token(client, context, refused)
  end
  local misfit = token
    and token ~= refused
    and not client.is_closed
    and authorization.misfit(client, token, self.is_sync_request, is_vouched)
  if misfit and misfit.may_refresh and not refused then
    local newer, _, newer_is_vouched = authorization.token(client, context, token)
    if newer and newer ~= token and not client.is_closed then
      token = newer
      misfit = authorization.misfit(client, token, self.is_sync_request, newer_is_vouched)
    end
  end
  if client.is_closed then -- before the call, or by the provider
    return nil, not_sent(client, "CLOSED", "the client was closed meanwhile")
  elseif not token then
    return nil, authorization.answer(client, failure)
  elseif misfit then
    return nil, authorization.answer(client, misfit)
  elseif token == refused then
    return nil
  elseif token ~= client.secrets[1] and not core.is_header_text(token) then
    -- Its author's mistake: the operation raises it at its caller's line, and quotes nothing.
    return nil, { outcome = "token_error", mistake = "the token contains CR, LF or NUL" }
  end
  return token
end

--- Gets a token of the provider's and sends once with it. After a refusal: with another than the refused
-- one, or nil.
---@return table? answer
---@return string? body when the status is the one hoped for
---@return string? token that was sent
local function ask(self, client, context, refused)
  local token, answer = obtain(self, client, context, refused)
  if token then
    local body
    answer, body = send_once(self, client, context, token, refused)
    return answer, body, token
  end
  return answer and unsent(self, context, answer, refused)
end

--- Sends the request; when the token is refused and the provider has another, once more with that.
---@param client autopilot.Client whose token is sent
---@param context autopilot.ExchangeContext
---@return table answer in the shape of a report, without `ok` and `operation`
---@return string? body the last answer's, when it has the status hoped for
function Exchange:run(client, context)
  local static_token = client.static_token
  if static_token then
    local misfit = authorization.misfit(client, static_token, self.is_sync_request)
    if misfit then
      return unsent(self, context, authorization.answer(client, misfit))
    end
    return send_once(self, client, context, static_token)
  end
  local answer, body, refused = ask(self, client, context)
  if answer.outcome ~= "unauthenticated" or answer.unposted or answer.retry_after then
    return answer, body
  end
  local again, with_refreshed = ask(self, client, context, refused)
  if not again then
    return answer
  elseif again.outcome == "token_error" and not again.mistake then
    -- Something was sent and refused: that stands. What the provider said is for people to know.
    answer.hint = "The service refused the token, and no other could be had: "
      .. again.error.message
    answer.is_transient, answer.retry_after = again.is_transient, again.retry_after
    return answer
  end
  return again, with_refreshed
end

return Exchange
