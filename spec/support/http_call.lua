--- A small HTTP client for specs: many requests can be under way before the first answer is read.

local overlay = require "support.overlay"
local socket = require "socket"

local http_call = {}

local longest_wait = 60 -- seconds; a spec that reaches it has failed

---@class HttpCall
local Call = {}
Call.__index = Call

--- Sends a request over a new connection.
---@param port integer on 127.0.0.1
---@param method string
---@param path string
---@param headers table<string, string>?
---@return HttpCall
function http_call.send(port, method, path, headers)
  local connection = assert(socket.connect("127.0.0.1", port))
  connection:settimeout(longest_wait)
  -- HTTP/1.0: the answer comes unchunked and ends with the connection.
  local lines = { ("%s %s HTTP/1.0"):format(method, path) }
  for name, value in pairs(overlay({ Host = "localhost" }, headers)) do
    lines[#lines + 1] = ("%s: %s"):format(name, value)
  end
  assert(connection:send(table.concat(lines, "\r\n") .. "\r\n\r\n"))
  return setmetatable({ connection = connection }, Call)
end

--- Waits for the answer.
---@return { status: integer, headers: table<string, string>, body: string }
function Call:answer()
  local text, problem, partial = self.connection:receive "*a"
  self.connection:close()
  text = text or partial
  local head, body = text:match "^(.-\r\n)\r\n(.*)$"
  local status = head and head:match "^HTTP/%S+ (%d+)"
  if not status then
    return { status = 0, headers = {}, body = "", problem = problem or "no answer" }
  end
  local headers = {}
  for name, value in head:gmatch "\r\n([^:\r\n]+):[ \t]*([^\r\n]*)" do
    headers[name:lower()] = value
  end
  return { status = tonumber(status), headers = headers, body = body }
end

--- Goes away without waiting.
function Call:abort()
  self.connection:close()
end

return http_call
