--- Answers in the forms of Microsoft Graph, Intune and Entra. Their content is decided by the endpoints.
--
-- To refuse a request, the functions `refuse_…` and `demand…` raise the answer, which the emulator catches: the
-- endpoint ends there.

local dates = require "autopilot.base.dates"
local json = require "autopilot.base.json"

local answers = {}

--- JSON with slashes as they are, like the service's.
local function encode(value)
  -- Every escape is matched as a whole, so that the second backslash of `\\/` does not count as the first of `\/`.
  return (json.encode(value):gsub("\\(.)", { ["/"] = "/" }))
end

local diagnostic = '{"ServerInfo":{"DataCenter":"West Europe","Slice":"E","Ring":"5",'
  .. '"ScaleUnit":"003","RoleInstance":"AM2PEPF00000000"}}'

--- The value of a `Date` header: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7). The names are not those of
-- `os.date`, which follow the locale.
local function date_header(seconds)
  local date = os.date("!*t", math.floor(seconds))
  local _, weekday = dates.unix_time(date.year, date.month, date.day, 0, 0, 0)
  local form = ("!%s, %%d %s %%Y %%H:%%M:%%S GMT"):format(
    weekday:sub(1, 3),
    dates.months[date.month]
  )
  return os.date(form, math.floor(seconds))
end

--- An answer, as in the HTTP layer, with the headers that every one has.
---@param headers table<string, string>? further headers, names in lower case; they replace the usual ones
function answers.plain(call, status, body, headers)
  local all = {
    date = date_header(call.now),
    ["request-id"] = call.request_id,
    ["client-request-id"] = call.client_request_id,
    ["x-ms-ags-diagnostic"] = diagnostic,
    ["cache-control"] = "no-cache",
    ["content-type"] = body and "application/json",
    ["content-length"] = status ~= 204 and ("%d"):format(#(body or "")) or nil,
  }
  for name, value in pairs(headers or {}) do
    all[name] = value
  end
  return { status = status, headers = all, body = body or "" }
end

--- An answer with a value as JSON; the status is 200 unless another is given.
function answers.json(call, value, status)
  return answers.plain(call, status or 200, encode(value))
end

--- Refuses a request unless `is_right`, with a value as JSON.
function answers.demand_json(call, is_right, value, status)
  if not is_right then
    error(answers.json(call, value, status))
  end
end

local graph_codes = {
  [400] = "BadRequest",
  [401] = "InvalidAuthenticationToken",
  [403] = "Forbidden",
  [404] = "ResourceNotFound",
  [405] = "MethodNotAllowed",
  [409] = "Conflict",
  [429] = "TooManyRequests",
}

--- Graph's own error: code and message in one level.
function answers.graph_error(call, status, message, headers)
  local body = encode {
    error = {
      code = graph_codes[status],
      message = message,
      innerError = {
        date = os.date("!%Y-%m-%dT%H:%M:%S", math.floor(call.now)),
        ["request-id"] = call.request_id,
        ["client-request-id"] = call.client_request_id,
      },
    },
  }
  return answers.plain(call, status, body, headers)
end

-- Text and not a table, because the order of the members and the line ends are those of the service.
local intune_message = ([[
{
  "_version": 3,
  "Message": %s,
  "CustomApiErrorPhrase": "",
  "RetryAfter": %s,
  "ErrorSourceService": "",
  "HttpHeaders": "{}"
}]]):gsub("\n", "\r\n")

--- Refuses a request as Graph does: `(call, status, message, headers)`.
function answers.refuse_graph(...)
  error(answers.graph_error(...))
end

--- Refuses a request as Intune does, whose error Graph passes on as a text: JSON inside the message.
---@param sentence string the part for people
---@param retry_after { header: string?, body: string? }? where the seconds left stand in the answer
function answers.refuse_intune(call, status, sentence, retry_after)
  local text = table.concat({
    sentence,
    "Operation ID (for customer support): 00000000-0000-0000-0000-000000000000",
    "Activity ID: " .. call.client_request_id,
    "Url: https://proxy.emulated.manage.microsoft.com/deviceManagement/windowsAutopilotSettings",
  }, " - ")
  retry_after = retry_after or {}
  local message = intune_message:format(encode(text), retry_after.body or "null")
  answers.refuse_graph(call, status, message, { ["retry-after"] = retry_after.header })
end

-- The errors of Entra: our name, status, OAuth error, AADSTS number, sentence (`%s` is a detail).
local entra_error_rows = [[
wrong_method 400 invalid_request 900561 The endpoint only accepts %s requests.
missing_parameter 400 invalid_request 900144 The request must contain the parameter '%s'.
claims_not_json 400 invalid_request 9002313 The parameter 'claims' must be a JSON object.
unknown_grant_type 400 unsupported_grant_type 70003 The grant type is not supported.
wrong_scope 400 invalid_scope 1002012 The scopes must name one resource, mostly with '/.default'.
unknown_host 400 invalid_instance 50049 The host of 'authorization_endpoint' is not allowed.
unknown_authority 400 invalid_tenant 90002 Tenant '%s' not found.
unknown_tenant 400 invalid_request 90002 Tenant '%s' not found.
no_tenant 400 invalid_request 50059 No tenant-identifying information was found.
user_in_no_tenant 400 invalid_grant 50020 User account '%s' does not exist in a tenant.
unknown_application 400 unauthorized_client 700016 Application '%s' was not found.
not_public 400 invalid_client 70002 The client application must be marked as 'mobile.'
no_credential 401 invalid_client 7000218 'client_assertion' or 'client_secret' is missing.
wrong_secret 401 invalid_client 7000215 Invalid client secret provided.
expired_secret 401 invalid_client 7000222 The provided client secret keys for this app are expired.
wrong_assertion_type 401 invalid_client 900023 The value of 'client_assertion_type' is unknown.
unverified 401 invalid_client 700027 The client assertion is not valid: %s.
unknown_key 401 invalid_client 700027 The key of the client assertion is not registered.
wrong_application 401 invalid_client 700021 The client assertion is not of 'client_id'.
wrong_endpoint 401 invalid_client 700023 The client assertion is for another audience.
not_timely 401 invalid_client 700024 The client assertion is not within its valid time range.
wrong_issuer 401 invalid_client 700211 No federated identity record matches the issuer.
wrong_audience 401 invalid_client 700212 No federated identity record matches the audience.
wrong_subject 401 invalid_client 700213 No federated identity record matches the subject.
unknown_device_code 400 bad_verification_code 70018 The device code is unknown.
code_expired 400 expired_token 70019 The device code has expired.
declined 400 authorization_declined 65004 The person has declined to sign in.
polled_too_soon 400 slow_down 70016 The client asks too often.
not_signed_in_yet 400 authorization_pending 70016 The person has not signed in yet.
wrong_refresh_token 400 invalid_grant 70000 The refresh token is unknown.
]]

local entra_errors = {}
for row in entra_error_rows:gmatch "[^\n]+" do
  local name, status, code, number, sentence = row:match "^(%S+) (%d+) (%S+) (%d+) (.+)$"
  entra_errors[name] =
    { status = tonumber(status), code = code, number = tonumber(number), sentence = sentence }
end

--- Refuses a request to Entra where `value` is nil or false; else returns it, as `assert` does.
---@param name string of an error in the table above
---@param detail string? what its sentence names
function answers.demand(call, value, name, detail)
  if value then
    return value
  end
  local row = entra_errors[name]
  local timestamp = os.date("!%Y-%m-%d %H:%M:%SZ", math.floor(call.now))
  local body = encode {
    error = row.code,
    error_description = ("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s"):format(
      row.number,
      row.sentence:format(detail),
      call.request_id,
      call.client_request_id,
      timestamp
    ),
    error_codes = { row.number },
    timestamp = timestamp,
    trace_id = call.request_id,
    correlation_id = call.client_request_id,
  }
  error(answers.plain(call, row.status, body, { ["cache-control"] = "no-store, no-cache" }))
end

return answers
