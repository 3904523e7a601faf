--- Answers in the forms that Microsoft Graph, Intune and Entra give them.
--
-- What an answer says is decided by the endpoints; here is only how it is written.

local calendar = require "autopilot.emulator.calendar"
local json = require "autopilot.base.json"

local answers = {}

--- JSON with slashes as they are, like the service's.
local function encode(value)
  -- Read escape by escape, so that a backslash which is itself escaped is never taken for one.
  local text = json.encode(value):gsub("\\(.)", { ["/"] = "/" })
  return text
end

---@class autopilot.emulator.Call
---@field now number Unix seconds at which the request arrived
---@field request_id string the service's id for it
---@field client_request_id string the caller's id for it, or the service's when it gave none
---@field operation string `sync`, `status`, `token`, `device_code`, `identity`, `discovery` or `other`
---@field path string without query
---@field tenant_in_path string? of a token request
---@field headers table<string, string> of the request, names in lower case
---@field authorization string? the header's value
---@field grant_type string? of a token request
---@field claims string? of a token request: the claims that it asks for
---@field tenant string? once the caller is known

local diagnostic = '{"ServerInfo":{"DataCenter":"West Europe","Slice":"E","Ring":"5",'
  .. '"ScaleUnit":"003","RoleInstance":"AM2PEPF00000000"}}'

--- An answer with the headers that every one has.
---@param call autopilot.emulator.Call
---@param status integer
---@param body string?
---@param headers table<string, string>? further headers, names in lower case; they win
---@return table response as in the HTTP layer
function answers.plain(call, status, body, headers)
  local all = {
    date = calendar.http_date(call.now),
    ["request-id"] = call.request_id,
    ["client-request-id"] = call.client_request_id,
    ["x-ms-ags-diagnostic"] = diagnostic,
    ["cache-control"] = "no-cache",
  }
  if body then
    all["content-type"] = "application/json"
    all["content-length"] = ("%d"):format(#body)
  elseif status ~= 204 then
    all["content-length"] = "0"
  end
  for name, value in pairs(headers or {}) do
    all[name] = value
  end
  return { status = status, headers = all, body = body or "" }
end

---@param call autopilot.emulator.Call
---@param value table
---@param status integer? default 200
---@return table response
function answers.json(call, value, status)
  local body = encode(value)
  return answers.plain(call, status or 200, body)
end

--- Graph's own error: code and message in one level.
---@param call autopilot.emulator.Call
---@param status integer
---@param code string
---@param message string
---@param headers table<string, string>?
---@return table response
function answers.graph_error(call, status, code, message, headers)
  local body = encode {
    error = {
      code = code,
      message = message,
      innerError = {
        date = calendar.date_and_time(call.now, "T"),
        ["request-id"] = call.request_id,
        ["client-request-id"] = call.client_request_id,
      },
    },
  }
  return answers.plain(call, status, body, headers)
end

--- Intune's error, which Graph passes on as a text: JSON inside the message.
---@param call autopilot.emulator.Call
---@param status integer
---@param code string
---@param sentence string the part for people
---@param retry_after number? seconds told in the body
---@param headers table<string, string>?
---@return table response
function answers.intune_error(call, status, code, sentence, retry_after, headers)
  local told = table.concat({
    sentence,
    "Operation ID (for customer support): 00000000-0000-0000-0000-000000000000",
    "Activity ID: " .. call.client_request_id,
    "Url: https://proxy.emulated.manage.microsoft.com/deviceManagement/windowsAutopilotSettings",
  }, " - ")
  -- Written by hand: the order of the members and the line ends are the service's.
  local message = table.concat({
    "{",
    '  "_version": 3,',
    '  "Message": ' .. encode(told) .. ",",
    '  "CustomApiErrorPhrase": "",',
    '  "RetryAfter": ' .. (retry_after and ("%.0f"):format(retry_after) or "null") .. ",",
    '  "ErrorSourceService": "",',
    '  "HttpHeaders": "{}"',
    "}",
  }, "\r\n")
  return answers.graph_error(call, status, code, message, headers)
end

--- The token endpoint's error.
---@param call autopilot.emulator.Call
---@param status integer
---@param code string the OAuth error: `invalid_client`, …
---@param number integer the AADSTS number
---@param sentence string
---@return table response
function answers.entra_error(call, status, code, number, sentence)
  local timestamp = calendar.date_and_time(call.now, " ") .. "Z"
  local described = ("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s"):format(
    number,
    sentence,
    call.request_id,
    call.client_request_id,
    timestamp
  )
  local body = encode {
    error = code,
    error_description = described,
    error_codes = { number },
    timestamp = timestamp,
    trace_id = call.request_id,
    correlation_id = call.client_request_id,
  }
  return answers.plain(call, status, body, { ["cache-control"] = "no-store, no-cache" })
end

return answers
