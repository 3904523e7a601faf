--- One connection of the hostile server, as its script sees it.
--
-- A script is a plain function that runs as a coroutine: whatever would block yields, and the
-- server resumes it at its next step. When the client hangs up, the script ends where it stands.

local ssl = require "ssl"

---@class HostileRequest what came, as it came
---@field head string with its blank line
---@field line string
---@field method string
---@field target string
---@field names string[] of the header fields, in their order, as written
---@field headers table<string, string> by lower-case name, repeated ones joined by ", "
---@field body string what `read_body` has read

---@class HostileConnection
---@field server HostileServer
---@field socket table
---@field buffer string what came and was not read
---@field transcript string all that came, below TLS what was in it
---@field request HostileRequest? the last one
---@field has_ended boolean? the client sends nothing more
local Connection = {}
Connection.__index = Connection

local hung_up = {} -- raised to end a script
local would_block = { timeout = true, wantread = true, wantwrite = true }

function Connection.new(server, client)
  client:settimeout(0)
  client:setoption("tcp-nodelay", true) -- pieces go out as they are sent
  local self = setmetatable({ server = server, socket = client, raw = client }, Connection)
  self.buffer, self.transcript = "", ""
  return self
end

--- Gives way to the others; nothing has moved.
function Connection:wait()
  if self.server.closed then
    error(hung_up, 0)
  end
  coroutine.yield()
end

--- Waits for bytes; they are then in `buffer`.
function Connection:receive()
  while true do
    if self.has_ended then
      error(hung_up, 0)
    end
    local whole, why, part = self.socket:receive(65536)
    local bytes = whole or part or ""
    -- LuaSec must not be asked again after an end that came along with bytes: it would spin.
    self.has_ended = why ~= nil and not would_block[why]
    if bytes ~= "" then
      self.buffer, self.transcript = self.buffer .. bytes, self.transcript .. bytes
      self.server:moved()
      return
    end
    if not self.has_ended then
      self:wait()
    end
  end
end

--- Waits for that many bytes and takes them.
---@param length integer
---@return string
function Connection:read(length)
  while #self.buffer < length do
    self:receive()
  end
  local taken = self.buffer:sub(1, length)
  self.buffer = self.buffer:sub(length + 1)
  return taken
end

local function parse(head)
  local line = head:match "^[^\r\n]*"
  local request = { head = head, line = line, names = {}, headers = {}, body = "" }
  request.method, request.target = line:match "^(%S+) (%S+) HTTP/1%.[01]$"
  assert(request.method, "the client sent no request line: " .. line)
  for name, value in head:gmatch "\n([^:\r\n]+): ?([^\r\n]*)" do
    local key = name:lower()
    request.names[#request.names + 1] = name
    request.headers[key] = request.headers[key] and request.headers[key] .. ", " .. value or value
  end
  return request
end

--- Waits for the head of an HTTP/1.x request, which the server then counts as seen.
---@return HostileRequest
function Connection:read_head()
  while not self.buffer:find("\r\n\r\n", 1, true) do
    self:receive()
  end
  local last = select(2, self.buffer:find("\r\n\r\n", 1, true))
  self.request = parse(self:read(last))
  self.server:saw(self.request)
  return self.request
end

--- Waits for the body of the request, or that many bytes of it.
---@param length integer? default: what Content-Length says
---@return string
function Connection:read_body(length)
  local wanted = length or tonumber(self.request.headers["content-length"] or 0)
  self.request.body = self:read(wanted)
  return self.request.body
end

--- Waits until all of it is sent.
---@param bytes string
function Connection:send(bytes)
  local sent = 0
  while sent < #bytes do
    local last, why, part = self.socket:send(bytes, sent + 1)
    local reached = last or part or sent
    if reached > sent then
      sent = reached
      self.server:moved()
    elseif not would_block[why] then
      error(hung_up, 0)
    end
    if sent < #bytes then
      self:wait()
    end
  end
end

--- Sends it in pieces, and lets the client read each by itself.
---@param bytes string
---@param size integer? bytes in a piece, default 1
function Connection:send_slowly(bytes, size)
  size = size or 1
  for first = 1, #bytes, size do
    self:send(bytes:sub(first, first + size - 1))
    self.server:moved()
    self:wait()
  end
end

--- Sends it over and over, until the client hangs up.
---@param bytes string
function Connection:send_endlessly(bytes)
  while true do
    self:send(bytes)
    self:wait()
  end
end

--- Waits for the next request and answers it, for ever: a well-behaved server.
---@param answer string? default a 204
function Connection:serve(answer)
  while true do
    self:read_head()
    self:read_body()
    self:send(answer or "HTTP/1.1 204 No Content\r\n\r\n")
  end
end

--- Says nothing more, and keeps the connection open.
function Connection:stall()
  while true do
    self:wait()
  end
end

--- Ends the connection in order; below TLS with its closing message.
function Connection:close()
  self.socket:close()
  self.raw:close()
  self.is_closed = true
  self.server:moved()
end

--- Ends what we send without TLS's closing message, as a cut does, and keeps the connection.
function Connection:cut()
  if self.socket == self.raw then
    self.raw:shutdown "send"
    return
  end
  local descriptor = self.socket:getfd()
  self.raw:setfd(descriptor)
  self.raw:shutdown "send"
  self.raw:setfd(-1)
  self.server:moved()
end

--- Ends the connection with a TCP reset; below TLS after a cut.
function Connection:reset()
  if self.socket ~= self.raw then
    self:cut()
    self.raw:setfd(self.socket:getfd())
    self.raw:setoption("linger", { on = true, timeout = 0 })
    self.raw:setfd(-1)
  else
    self.raw:setoption("linger", { on = true, timeout = 0 })
  end
  self:close()
end

--- Becomes a TLS server, and waits for the handshake.
---@param tls { certificate: string, key: string, alpn: string|string[]|nil } what is chosen first of
---@return string? protocol that was agreed on
function Connection:start_tls(tls)
  local offered = type(tls.alpn) == "string" and { tls.alpn } or tls.alpn
  local context = assert(ssl.newcontext {
    mode = "server",
    protocol = "any",
    options = { "all", "no_sslv3" },
    certificate = tls.certificate,
    key = tls.key,
    alpn = offered and function()
      return offered
    end,
  })
  self.socket = assert(ssl.wrap(self.raw, context))
  self.socket:settimeout(0)
  while true do
    local done, why = self.socket:dohandshake()
    if done then
      self.server:moved()
      return offered and self.socket:getalpn()
    elseif not would_block[why] then
      self.refusal = why -- what the client said, such as "unknown ca"
      error(hung_up, 0)
    end
    self:wait()
  end
end

--- Runs the script to its end, then takes in what else comes.
---@param script fun(connection: HostileConnection)
function Connection:run(script)
  script(self)
  while not self.is_closed do
    self:receive()
  end
end

--- What a script is ended with when the client hangs up.
Connection.hung_up = hung_up

return Connection
