--- The answers of requests that failed, in the shape of a report: a request was not sent, the network
-- failed, Graph refused the request, or a proxy or portal answered in its place.
--
-- What the outcomes mean for a sync, and the hints that hold for every answer with the same outcome, are in
-- `autopilot.sync.outcome`.

local curl = require "autopilot.transport.curl"
local dates = require "autopilot.base.dates"
local lazy = require "autopilot.base.lazy"

local claims = lazy "autopilot.base.claims"
local graph_error = lazy "autopilot.graph.error"
local hint_of = lazy "autopilot.graph.hint"
local redact = lazy "autopilot.base.redact"
local sentence = lazy "autopilot.base.sentence"

local answers = {}

local longest_id = 200 -- characters

-- ---- Nothing was sent --------------------------------------------------------------------------------

--- The client's own answer to a request that was not sent.
---@param client autopilot.Client
---@param outcome autopilot.Outcome
---@param fields table further fields of the answer
---@return table answer in the shape of a report
function answers.not_sent(client, outcome, fields)
  fields.outcome, fields.delivered, fields.answered_by, fields.sends = outcome, "no", "client", 0
  client:set_retry(fields, fields.retry_after)
  return fields
end

--- The answer to a request that was not sent for a reason on the client's side of the network.
---@param client autopilot.Client
---@param name "DEADLINE"|"CLOSED"
---@return table answer in the shape of a report
function answers.kept_back(client, name, message)
  local network = curl.unsent(name, message)
  network.sends = nil -- told for each attempt
  return answers.not_sent(client, "unreachable", { network = network })
end

--- The answer to a request that was not sent because the client was closed: before the call, or meanwhile by its
-- token provider or another coroutine.
function answers.closed(client)
  return answers.kept_back(client, "CLOSED", "the client was closed meanwhile")
end

local longest_message, longest_fact, longest_title = 490, 100, 120 -- characters

-- What a provider may tell about a failure, beside its message (RFC 6749 section 5.2 and Entra's fields).
local error_fields = { "code", "reason", "correlation_id", "trace_id" }

--- The answer to a request that could not be sent because there is no token that fits. The texts may be those of the
-- user's token provider, and may quote anything.
---@param details any a table (`autopilot.token.Details`), from a provider that tells more
function answers.without_token(client, message, details)
  local clean = redact.prepare { client.last_token }
  local function line_of(text, longest)
    text = type(text) == "number" and ("%.14g"):format(text) or text
    return type(text) == "string" and sentence.clean(clean(text), longest) or nil
  end
  local told = type(details) == "table" and details or {}
  local text = type(message) == "string" and line_of(message, longest_message)
  local failure = { message = text or "the token provider returned no token" }
  for _, name in ipairs(error_fields) do
    failure[name] = line_of(rawget(told, name), longest_fact)
  end
  local seconds = rawget(told, "retry_after")
  local is_wait = type(seconds) == "number" and seconds >= 0 and seconds < math.huge
  return answers.not_sent(client, "token_error", {
    error = failure,
    hint = line_of(rawget(told, "hint"), longest_message),
    retry_after = is_wait and seconds or nil,
    is_transient = rawget(told, "is_transient") == true, -- another attempt may succeed
  })
end

-- ---- The network failed ------------------------------------------------------------------------------

--- A failure of the network, its texts made safe. A field of the user's transport that is no text is left out.
function answers.network(client, failure)
  local unsent = failure.delivered == "no"
  local function text_of(name, longest)
    local text = failure[name]
    return type(text) == "string" and text ~= "" and client:clean(text, longest) or nil
  end
  return {
    stage = text_of("stage", longest_id) or (unsent and "connect" or "receive"),
    name = text_of("name", longest_id),
    message = text_of "message" or "",
    timeout = failure.timeout and true or false,
    delivered = unsent and "no" or "unknown",
  }
end

--- The answer after a network failure.
---@param received_at number when the failure was known, on the client's clock
function answers.of_network(client, failure, sent, received_at)
  local network = answers.network(client, failure)
  local unsent = network.delivered == "no"
  return {
    tenant_id = client.tenant_id or nil,
    outcome = unsent and "unreachable" or "interrupted",
    delivered = network.delivered,
    answered_by = unsent and "client" or nil,
    client_request_id = sent.client_request_id,
    network = network,
    elapsed = received_at - sent.at,
    sends = failure.sends or (unsent and 0 or 1),
  }
end

-- ---- Another status than the expected one -----------------------------------------------------------

-- The outcome of a status, and of all statuses of a hundred, where the error in the body does not change it.
local outcomes = { [403] = "forbidden", [404] = "not_found", [429] = "throttled" }
local outcomes_of_hundreds = { [3] = "redirected", [4] = "rejected", [5] = "unavailable" }

--- The outcome of a status other than the expected one. A 4xx of a proxy, filter or portal says nothing of the
-- service.
local function outcome_of(status, service_error, is_intermediary)
  local hundreds = math.floor(status / 100)
  if is_intermediary and hundreds == 4 then
    return "unexpected"
  elseif status == 401 then
    -- Intune wraps its own refusal in a 401: another token would not change it.
    return graph_error.is_forbidden(service_error) and "forbidden" or "unauthenticated"
  elseif status == 400 and graph_error.says(service_error, "not_licensed") then
    return "not_licensed"
  end
  return outcomes[status] or outcomes_of_hundreds[hundreds] or "unexpected"
end

--- Whether Graph itself gave the answer: then it carries an id, diagnostics or an error in JSON. A transport
-- for tests may say itself whether its answers are Graph's.
local function is_of_graph(response, answer, is_json)
  if response.intermediary ~= nil then
    return not response.intermediary
  end
  return answer.request_id or answer.diagnostics or response.headers["client-request-id"] or is_json
end

--- Completes an answer that is not the expected one: error, Retry-After, outcome, who answered.
---@return string? claims what a claims challenge wants to see in the next token
function answers.complete(client, answer, response)
  local headers = response.headers
  local content_type = headers["content-type"]
  local service_error, is_json, page = graph_error.parse(response.body, content_type)
  for name, value in pairs(service_error) do
    service_error[name] = client:clean(value)
  end
  -- Relative to the date of the answer, so that a wrong clock here does not matter.
  local date = answer.service_date or client.options.now()
  local seconds = dates.read_retry_after(headers["retry-after"], date) or service_error.retry_after
  local is_intermediary = not is_of_graph(response, answer, is_json)
  if is_intermediary then
    answer.answered_by, answer.service_date = "intermediary", nil
  end
  answer.outcome = outcome_of(answer.status, service_error, is_intermediary)
  -- A 3xx, a 5xx or a strange answer may come from something in between.
  local is_telling = answer.status >= 400 and answer.status <= 499
  answer.delivered = is_telling and not is_intermediary and "yes" or "unknown"
  client:set_retry(answer, seconds)
  answer.activity_id = service_error.activity_id
  answer.request_id = answer.request_id or service_error.request_id
  if service_error.code or service_error.message then
    answer.error = {
      code = service_error.code,
      message = service_error.message,
      reason = service_error.reason,
    }
  end
  answer.hint = client:clean(hint_of(answer.outcome, service_error, nil, {
    status = answer.status,
    content_type = content_type,
    page = client:clean(page, longest_title),
    location = headers["location"],
    is_intermediary = is_intermediary,
  }))
  return answer.status == 401 and claims.of_header(headers["www-authenticate"]) or nil
end

return answers
