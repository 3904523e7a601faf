--- Reads a request of the HTTP layer into the form that the endpoints work with.

local percent_decoded = require("autopilot.base.url").percent_decoded

---@class autopilot.emulator.Call
---@field method string
---@field origin string? scheme and host of its URL; nil when the URL is a path
---@field path string without query
---@field tenant_in_path string the first segment of the path, which names the tenant in a path of Entra
---@field headers table<string, string> names in lower case
---@field fields table<string, string> of the form that a POST carries, of the query of any other request
---@field query table<string, string> of the URL
---@field now number Unix seconds at which the request arrived
---@field request_id string the service's id for it
---@field client_request_id string the caller's id for it, or the service's when it gave none
---@field fault autopilot.emulator.Fault|{} that the request meets; empty for none
---@field tenant string? set when the access token of a request to Graph is accepted

local function decode(text)
  return percent_decoded((text:gsub("+", " ")))
end

--- The fields of a form or query, `name=value&…`; the last of a repeated one counts.
local function read_fields(text)
  local fields = {}
  for name, value in text:gmatch "([^&=]*)=([^&]*)" do
    fields[decode(name)] = decode(value)
  end
  return fields
end

---@param request table as in the HTTP layer; its URL may be a path
---@return autopilot.emulator.Call call without the fields from `now` on
return function(request)
  local origin = request.url:match "^%a[%w+.-]*://[^/?#]+"
  local path, query = request.url:sub(#(origin or "") + 1):match "^([^?#]*)%??([^#]*)"
  local headers = {}
  for name, value in pairs(request.headers or {}) do
    headers[name:lower()] = value
  end
  return {
    method = request.method,
    origin = origin,
    path = path,
    tenant_in_path = path:match "^/([^/]*)",
    headers = headers,
    fields = read_fields(request.method == "POST" and (request.body or "") or query),
    query = read_fields(query),
  }
end
