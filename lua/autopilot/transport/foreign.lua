--- An HTTP layer of the user: a function that takes a whole request.
--
-- What it returns is checked before it is used. Our own transports prepare a request once and are used
-- as they are.

local merged = require("autopilot.base.lazy") "autopilot.base.merged"

local foreign = {}

--- What is wrong with what the function returned, or nil.
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

--- Whether a proxy, filter or portal answered, as far as the response itself shows. An answer with JSON or
-- without a body counts as Graph's, so that a test need not send Graph's headers.
local function is_of_intermediary(response)
  local is_page = (response.body or ""):find "^%s*[^%s{%[]" ~= nil
  if response.intermediary == nil and not is_page then
    return false
  end
  return response.intermediary
end

local phases = { "name_lookup", "connect", "tls", "first_byte", "total" }

--- How often a request may have been sent, if the function told it right; else nil.
local function sends_of(told)
  local sends = told.sends
  return type(sends) == "number" and sends >= 1 and sends % 1 == 0 and sends or nil
end

--- A response of our own with all its fields.
local function completed(response)
  local version, timings, headers = response.http_version, {}, {}
  for name, value in pairs(response.headers or {}) do
    headers[name] = tostring(value) -- a number is read as its text
  end
  for _, phase in ipairs(type(response.timings) == "table" and phases or {}) do
    local seconds = response.timings[phase]
    timings[phase] = type(seconds) == "number" and seconds or nil
  end
  local is_version = type(version) == "string" and #version <= 16 and version:find "^[%w./]+$"
  return {
    status = response.status,
    http_version = is_version and version or nil,
    headers = headers,
    body = response.body or "",
    sends = sends_of(response) or 1,
    intermediary = is_of_intermediary(response),
    timings = timings.total and timings or nil,
  }
end

--- The whole request of one attempt.
function foreign.request_of(template, attempt)
  local number = attempt.retry_attempt
  local headers = merged(template.headers, {
    ["Authorization"] = attempt.token and "Bearer " .. attempt.token,
    ["client-request-id"] = attempt.client_request_id,
    ["retry-attempt"] = number > 0 and ("%d"):format(number) or nil,
  })
  return {
    method = template.method,
    url = template.url,
    headers = headers,
    timeout = { connect = attempt.connect, total = attempt.total },
  }
end

--- Prepares a request once that is sent many times.
---@param transport function
---@param template autopilot.HttpRequest without timeout and authorization
---@param user_agent string for a transport that does not send its own
---@return fun(attempt: autopilot.TransferAttempt): autopilot.HttpResponse?, autopilot.NetworkFailure?, string? send
-- the third value says what is wrong with what the transport returned
function foreign.prepare(transport, template, user_agent)
  template.headers["User-Agent"] = user_agent
  return function(attempt)
    local response, network = transport(foreign.request_of(template, attempt))
    local complaint = complaint_about(response, network)
    if complaint then
      return nil, nil, complaint
    end
    local failure = type(network) == "table" and merged(network) or nil
    if failure then
      failure.sends = sends_of(failure)
    end
    return response and completed(response), failure
  end
end

return foreign
