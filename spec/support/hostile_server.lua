--- A server that misbehaves as a spec tells it to: raw sockets on loopback, in this process.
--
--   local server = hostile.listen(function(connection)
--     connection:read_head()
--     connection:send "HTTP/1.1 204 No Content\r\n\r\n"
--     connection:reset()
--   end)
--   local transport = curl.new { drive = hostile.drive() }
--
-- It listens on a port that the system gives it, and moves only when somebody steps it: the
-- transport's injected drive does. Each connection runs the script in its own coroutine.

local Blocking = require("autopilot.transport.curl").Blocking
local Connection = require "support.hostile_connection"
local socket = require "socket"

local hostile = {}

--- How many times slower than usual all is here: under valgrind, say. Times in the specs are
-- multiplied by it.
hostile.patience = tonumber(os.getenv "SPEC_PATIENCE") or 1

-- Seconds; a spec that reaches it has failed. Deadlines that are not to be reached are longer.
local longest_wait = 30 * hostile.patience
local open_servers = {}
local moves = 0 -- how often something has happened, anywhere

---@class HostileServer
---@field port integer
---@field requests HostileRequest[] heads that were read in whole, in their order
---@field connections HostileConnection[] in the order they came
local Server = {}
Server.__index = Server

--- Connections and requests tell the server what they see.
function Server.moved()
  moves = moves + 1
end

function Server:saw(request)
  self.requests[#self.requests + 1] = request
end

---@param path string? default "/"
---@param scheme string? default "http"
---@param host string? default "127.0.0.1"
---@return string
function Server:url(path, scheme, host)
  return ("%s://%s:%d%s"):format(scheme or "http", host or "127.0.0.1", self.port, path or "/")
end

local function start(server, connection)
  local coroutine_of = coroutine.create(Connection.run)
  connection.resume = function()
    if coroutine.status(coroutine_of) == "dead" then
      return
    end
    local is_fine, why = coroutine.resume(coroutine_of, connection, server.script)
    if not is_fine and why ~= Connection.hung_up then
      error(why, 0) -- a script that is wrong fails its spec
    elseif not is_fine then
      connection:close()
    end
  end
end

--- Accepts who has come, and lets every script go on until it would block.
function Server:step()
  while self.accepts do
    local client = self.listener:accept()
    if not client then
      break
    end
    local connection = Connection.new(self, client)
    self.connections[#self.connections + 1] = connection
    start(self, connection)
    moves = moves + 1
  end
  for _, connection in ipairs(self.connections) do
    connection.resume()
  end
end

--- Ends every connection, and listens no more.
function Server:close()
  if self.closed then
    return
  end
  self.closed = true
  for _, connection in ipairs(self.connections) do
    if not connection.is_closed then
      connection:close()
    end
  end
  for _, client in ipairs(self.waiting) do
    client:close()
  end
  self.listener:close()
  open_servers[self] = nil
end

--- Stops listening; connections that are there go on. A client is refused from now on.
function Server:refuse()
  self.accepts = false
  self.listener:close()
end

local function bind(address, port)
  local listener = assert(socket.tcp4())
  assert(listener:bind(address or "127.0.0.1", port or 0))
  listener:settimeout(0)
  return listener
end

local function new(script, listener)
  local server = setmetatable({ script = script, listener = listener, accepts = true }, Server)
  server.port = tonumber((select(2, listener:getsockname())))
  server.connections, server.requests, server.waiting = {}, {}, {}
  open_servers[server] = true
  return server
end

--- A server whose connections run `script`.
---@param script fun(connection: HostileConnection)
---@return HostileServer
function hostile.listen(script)
  local listener = bind()
  assert(listener:listen(256)) -- a client that finds it full waits for a second
  return new(script, listener)
end

--- A server that never accepts, and whose queue is full: the system drops who asks.
---@param address string? of loopback; default 127.0.0.1
---@param port integer? default: one that the system gives
---@return HostileServer
function hostile.black_hole(address, port)
  local listener = bind(address, port)
  assert(listener:listen(0))
  local server = new(nil, listener)
  server.accepts = false
  for _ = 1, 4 do
    local client = assert(socket.tcp4())
    client:settimeout(0)
    client:connect(address or "127.0.0.1", server.port)
    table.insert(server.waiting, client)
  end
  return server
end

--- A port that is bound, and at which no process listens.
---@return HostileServer
function hostile.refusing()
  local server = new(nil, bind())
  server.accepts = false
  return server
end

--- Lets every server go on.
function hostile.step()
  for server in pairs(open_servers) do
    server:step()
  end
end

--- Steps until `reached()` is true; raises when that takes longer than any spec should.
---@param reached fun(): any
---@param step fun()? called too
function hostile.until_true(reached, step)
  local deadline = socket.gettime() + longest_wait
  while not reached() do
    hostile.step()
    if step then
      step()
    end
    assert(socket.gettime() < deadline, "what the spec waits for does not happen")
  end
end

--- Steps until nothing happens any more, so that the servers have seen whatever was sent.
function hostile.settle()
  local before
  repeat
    before = moves
    for _ = 1, 3 do
      hostile.step()
    end
  until moves == before
end

--- Steps the servers and the set until the transfer has finished.
function hostile.wait(set, transfer)
  hostile.until_true(function()
    return transfer:is_finished()
  end, function()
    set:step(0.001)
  end)
  hostile.settle()
end

--- A drive for the transport that waits as the function says; by default it steps the servers.
---@param wait fun(set: table, transfer: table)?
---@return autopilot.Drive
function hostile.drive(wait)
  local drive = Blocking.new()
  drive.wait = wait or hostile.wait
  return drive
end

--- Closes every server, for `after_each`.
function hostile.close()
  for server in pairs(open_servers) do
    server:close()
  end
end

return hostile
