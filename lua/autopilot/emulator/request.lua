--- Reads a request of the HTTP layer into the form in which the endpoints see it.

---@class autopilot.emulator.Call
---@field now number Unix seconds at which the request arrived
---@field method string
---@field origin string? scheme and host of its URL; nil when the URL is a path
---@field path string without query
---@field tenant_in_path string the first segment of the path, which names the tenant in a path of Entra
---@field headers table<string, string> names in lower case
---@field fields table<string, string> of the form that a POST carries, of the query of any other request
---@field request_id string the service's id for it
---@field client_request_id string the caller's id for it, or the service's when it gave none
---@field change table what a fault makes unusual: `age`, `challenge`, `duration`, `failed`
---@field tenant string? set when the access token of a request to Graph is accepted

local function decoded(text)
  return (
    text:gsub("+", " "):gsub("%%(%x%x)", function(digits)
      return string.char(tonumber(digits, 16))
    end)
  )
end

--- The fields of a form or query, `name=value&…`; of a repeated one the last.
local function read_fields(text)
  local fields = {}
  for name, value in text:gmatch "([^&=]*)=([^&]*)" do
    fields[decoded(name)] = decoded(value)
  end
  return fields
end

--- Splits a URL, which may be a path only.
---@param url string
---@return string path
---@return string query empty when there is none
---@return string? origin
local function split(url)
  local origin = url:match "^%a[%w+.-]*://[^/?#]+"
  local path, query = url:sub(#(origin or "") + 1):match "^([^?#]*)%??([^#]*)"
  return path, query, origin
end

local request = {}

--- The path of a URL.
---@param url string
---@return string
function request.path(url)
  return (split(url))
end

---@param given table as in the HTTP layer
---@param now number Unix seconds
---@param request_id string
---@param change table?
---@return autopilot.emulator.Call
function request.read(given, now, request_id, change)
  local path, query, origin = split(given.url)
  local headers = {}
  for name, value in pairs(given.headers or {}) do
    headers[name:lower()] = value
  end
  return {
    now = now,
    method = given.method,
    origin = origin,
    path = path,
    tenant_in_path = path:match "^/([^/]*)" or "",
    headers = headers,
    fields = read_fields(given.method == "POST" and (given.body or "") or query),
    request_id = request_id,
    client_request_id = headers["client-request-id"] or request_id,
    change = change or {},
  }
end

return request
