--- Bodies of refused requests in the forms that Graph, Intune, Entra and gateways were seen to give.

local error_bodies = {}

error_bodies.activity_id = "63425837-1eb9-456b-ac28-6ee81d0627f5"
error_bodies.request_id = "07b03020-fe32-4d2a-9176-e351c39cfcbe"

error_bodies.sentence = "Application is not authorized to perform this operation. Application must "
  .. "have one of the following scopes: DeviceManagementServiceConfig.ReadWrite.All, "
  .. "DeviceManagementConfiguration.ReadWrite.All"

error_bodies.permissions = {
  "DeviceManagementServiceConfig.ReadWrite.All",
  "DeviceManagementConfiguration.ReadWrite.All",
}

--- Intune's words: a sentence, ids and an address.
---@param sentence string?
function error_bodies.words(sentence)
  return table.concat({
    sentence or error_bodies.sentence,
    "Operation ID (for customer support): 00000000-0000-0000-0000-000000000000",
    "Activity ID: " .. error_bodies.activity_id,
    "Url: https://proxy.amsub0502.manage.microsoft.com/Enrollment_2602/Service/deviceManagement/"
      .. "windowsAutopilotSettings/sync?api-version=5026-01-10",
  }, " - ")
end

--- A text as a JSON string. By hand, so that the bytes are the same under every Lua.
---@param text string
function error_bodies.quoted(text)
  local escapes = { ['"'] = '\\"', ["\\"] = "\\\\", ["\r"] = "\\r", ["\n"] = "\\n", ["\t"] = "\\t" }
  return '"' .. text:gsub('["\\\r\n\t]', escapes) .. '"'
end

local quoted = error_bodies.quoted

--- Intune's object, which Graph passes on as a text.
---@param told string the value of its Message
---@param retry_after string? the value of RetryAfter, in JSON
function error_bodies.intune_object(told, retry_after)
  return table.concat({
    "{",
    '  "_version": 3,',
    '  "Message": ' .. quoted(told) .. ",",
    '  "CustomApiErrorPhrase": "",',
    '  "RetryAfter": ' .. (retry_after or "null") .. ",",
    '  "ErrorSourceService": "",',
    '  "HttpHeaders": "{}"',
    "}",
  }, "\r\n")
end

--- Graph's own form.
---@param code string
---@param message string
---@param more string? further members in JSON
function error_bodies.graph(code, message, more)
  return ('{"error":{"code":%s,"message":%s,%s"innerError":{"date":"2026-02-24T14:44:03",'):format(
    quoted(code),
    quoted(message),
    more and more .. "," or ""
  ) .. ('"request-id":%s,"client-request-id":%s}}}'):format(
    quoted(error_bodies.request_id),
    quoted(error_bodies.activity_id)
  )
end

--- Intune's object inside `ErrorCode` and `Message`.
---@param code string
---@param object string
function error_bodies.wrapped(code, object)
  return ('{"ErrorCode":%s,"Message":%s}'):format(quoted(code), quoted(object))
end

local graph, wrapped = error_bodies.graph, error_bodies.wrapped
local object = error_bodies.intune_object(error_bodies.words())

--- By name, a missing permission in each form.
error_bodies.forbidden = {
  intune = graph("Forbidden", object),
  wrapped = graph("UnknownError", wrapped("Forbidden", object)),
  wrapped_twice = graph("UnknownError", wrapped("UnknownError", wrapped("Forbidden", object))),
  words = error_bodies.words(),
  words_in_graph = graph("Forbidden", error_bodies.words()),
  words_and_object = "UnknownError: " .. wrapped("Forbidden", object),
  without_graph = object,
  in_a_list = "[" .. object .. "]",
  as_a_string = quoted(graph("Forbidden", object)),
  followed_by_html = graph("Forbidden", object) .. "<html><title>Error</title></html>",
}

error_bodies.entra = '{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client '
  .. "secret provided. Ensure the secret being sent is the client secret value. Trace ID: "
  .. "b3d1c0de-0000-4000-8000-000000000000 Correlation ID: c0de0000-0000-4000-8000-000000000000 "
  .. 'Timestamp: 2026-02-24 14:44:03Z","error_codes":[7000215],"timestamp":"2026-02-24 14:44:03Z",'
  .. '"trace_id":"b3d1c0de-0000-4000-8000-000000000000",'
  .. '"correlation_id":"c0de0000-0000-4000-8000-000000000000"}'

return error_bodies
