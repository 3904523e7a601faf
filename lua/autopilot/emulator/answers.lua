--- Answers in the forms of Microsoft Graph, Intune, Entra and the endpoints of identities.
--
-- To refuse a request, an endpoint raises the answer with `demand`, and the emulator catches it.

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

local days = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" }

--- The value of a `Date` header: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 section 5.6.7). The names are not those of
-- `os.date`, which follow the locale.
local function date_header(seconds)
  local date = os.date("!*t", math.floor(seconds))
  local day, month = days[date.wday], dates.months[date.month]
  return os.date(("!%s, %%d %s %%Y %%H:%%M:%%S GMT"):format(day, month), math.floor(seconds))
end

--- An answer, as in the HTTP layer, with the headers that every one has.
---@param headers table<string, string|number>? further headers; they replace the usual ones
function answers.plain(call, status, body, headers)
  local all = {
    date = date_header(call.now),
    ["request-id"] = call.request_id,
    ["client-request-id"] = call.client_request_id,
    ["x-ms-ags-diagnostic"] = diagnostic,
    ["cache-control"] = "no-store, no-cache", -- answers with a token must have this (RFC 6749 section 5.1)
    ["content-type"] = body and "application/json",
    ["content-length"] = status ~= 204 and ("%d"):format(#(body or "")) or nil,
  }
  for name, value in pairs(headers or {}) do
    all[name:lower()] = tostring(value)
  end
  return {
    status = status,
    headers = all,
    body = body or "",
    http_version = "2",
    timings = { name_lookup = 0, connect = 0, tls = 0, first_byte = 0, total = 0 },
  }
end

--- A successful answer with a value as JSON.
function answers.json(call, value)
  return answers.plain(call, 200, encode(value))
end

-- ---- Refusals ----------------------------------------------------------------------------------------

--- Graph's own error.
local function graph_error(call, row, sentence)
  return {
    error = {
      code = row.code,
      message = sentence,
      innerError = {
        date = os.date("!%Y-%m-%dT%H:%M:%S", math.floor(call.now)),
        ["request-id"] = call.request_id,
        ["client-request-id"] = call.client_request_id,
      },
    },
  }
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

--- Intune's error, which Graph passes on as a text: JSON inside the message.
local function intune_error(call, row, sentence, retry_after)
  local text = table.concat({
    sentence,
    "Operation ID (for customer support): 00000000-0000-0000-0000-000000000000",
    "Activity ID: " .. call.client_request_id,
    "Url: https://proxy.emulated.manage.microsoft.com/deviceManagement/windowsAutopilotSettings",
  }, " - ")
  return graph_error(call, row, intune_message:format(encode(text), retry_after or "null"))
end

--- The error of OAuth, with the number that Entra gives it.
local function entra_error(call, row, sentence)
  local timestamp = os.date("!%Y-%m-%d %H:%M:%SZ", math.floor(call.now))
  local description = ("AADSTS%s: %s Trace ID: %s Correlation ID: %s Timestamp: %s"):format(
    row.form,
    sentence,
    call.request_id,
    call.client_request_id,
    timestamp
  )
  return {
    error = row.code,
    error_description = description,
    error_codes = { tonumber(row.form) },
    timestamp = timestamp,
    trace_id = call.request_id,
    correlation_id = call.client_request_id,
  }
end

local forms = {
  graph = graph_error,
  intune = intune_error,
  machine = function(_, row, sentence)
    return { error = row.code, error_description = sentence }
  end,
  job = function(_, _, sentence)
    return { message = sentence }
  end,
}

-- Our name of each error, its status, its code, its form or its AADSTS number, and its sentence, in which `%s` is a
-- detail. An indented line belongs to the row before it.
local rows = [[
no_token 401 InvalidAuthenticationToken graph Access token is empty.
unknown_token 401 InvalidAuthenticationToken graph
  CompactToken parsing failed with error code: 80049217
expired_token 401 InvalidAuthenticationToken graph
  Lifetime validation failed, the token is expired.
foreign_token 401 InvalidAuthenticationToken graph
  Access token validation failure. Invalid audience.
challenged_token 401 InvalidAuthenticationToken graph
  Continuous access evaluation resulted in challenge with result: InteractionRequired
  and code: TokenIssuedBeforeRevocationTimestamp
unsupported_method 405 MethodNotAllowed graph
  The requested resource does not support http method '%s'.
unknown_segment 400 BadRequest graph Resource not found for the segment '%s'.
unknown_path 404 ResourceNotFound graph Resource not found for the path of the request.
throttled 429 TooManyRequests graph Too many requests.
not_licensed 400 BadRequest intune Request not applicable to target tenant.
not_permitted 403 Forbidden intune
  Application is not authorized to perform this operation. Application must have one of the
  following scopes: %s
in_progress 409 Conflict intune A sync is already in progress.
cooldown 429 TooManyRequests intune A sync was requested too soon after the previous one.
not_get 405 invalid_request machine The endpoint only accepts GET requests.
unknown_identity 400 invalid_request machine Identity not found
wrong_header 401 unauthorized machine The request has no right header.
no_metadata 400 invalid_request machine Required metadata header not specified
forwarded 400 invalid_request machine The request was forwarded.
wrong_version 400 invalid_request machine The api-version is not supported.
no_resource 400 invalid_request machine The parameter 'resource' is missing.
unknown_job 401 - job Unauthorized
wrong_job_method 405 - job The method is not allowed.
no_audience 404 - job There is no such service connection or audience.
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
wrong_assertion_type 400 invalid_request 90011 Unexpected client assertion type.
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

local errors = {}
for row in rows:gsub("\n +", " "):gmatch "[^\n]+" do
  local name, status, code, form, sentence = row:match "^(%S+) (%d+) (%S+) (%S+) (.+)$"
  errors[name] = { status = tonumber(status), code = code, form = form, sentence = sentence }
end

--- An error as an answer.
---@param name string of an error in the table above
---@param detail string? what its sentence names
---@param headers table<string, string>? further headers
---@param retry_after string? Intune: the seconds left, in the body
function answers.refusal(call, name, detail, headers, retry_after)
  local row = errors[name]
  local body = (forms[row.form] or entra_error)(call, row, row.sentence:format(detail), retry_after)
  return answers.plain(call, row.status, encode(body), headers)
end

--- Refuses a request where `value` is nil or false; else returns it, as `assert` does. The further arguments are
-- those of `answers.refusal`.
function answers.demand(call, value, ...)
  return value or error(answers.refusal(call, ...))
end

return answers
