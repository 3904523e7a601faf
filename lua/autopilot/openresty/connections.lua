--- The connections of an nginx worker to its helper thread, one for each call that waits.
--
-- A worker has `worker_connections` connections for all its work. When none is free, calls queue for one in
-- the order in which they came, instead of failing.

local core = require "autopilot.core"
local ngx = require "ngx"
local semaphore = require "ngx.semaphore"

local Connections = {}
Connections.__index = Connections

local pool_size, idle_milliseconds = 64, 30000

-- Seconds between two attempts of the first call in the queue. It is woken when a call ends, but other
-- requests of nginx free connections too.
local pause = 0.1

-- Seconds. A queued call that did not run for so long was killed, and is removed from the queue.
local patience = 5 * pause

---@param path string of the helper thread's socket
function Connections.new(path)
  return setmetatable({ address = "unix:" .. path, waiting = {} }, Connections)
end

local no_descriptor = "too many open files" -- nginx's message

-- When nginx has no connection left, it returns the message of an earlier error instead of the reason.
local no_connection = "nginx has no connection left for this call: raise worker_connections, "
  .. "which is the option -c of resty"

local function connect(self, seconds)
  local socket = ngx.socket.tcp()
  socket:settimeouts(1000, 1000, seconds * 1000)
  local is_connected, problem = socket:connect(self.address)
  return is_connected and socket or nil, problem
end

--- The first call in the queue, after killed ones are removed; nil if the queue is empty.
local function first(self)
  local waiting, alive_since = self.waiting, core.clock() - patience
  while waiting[1] and waiting[1].seen_at < alive_since do
    table.remove(waiting, 1)
  end
  return waiting[1]
end

local function wake_first(self)
  local next_one = first(self)
  if next_one then
    next_one.semaphore:post()
  end
end

local function leave_queue(self, own)
  for index, one in ipairs(self.waiting) do
    if one == own then
      table.remove(self.waiting, index)
    end
  end
  wake_first(self)
end

--- Connects; waits up to `seconds` for a free connection. `problem` is meaningful only without a socket.
---@param seconds number
---@param answer_seconds number read timeout of the socket
---@return any? socket
---@return string? problem
function Connections:take(seconds, answer_seconds)
  local socket, problem
  if not first(self) then
    socket, problem = connect(self, answer_seconds)
    if socket or problem == no_descriptor then
      return socket, "the worker has no descriptor left for this call"
    end
  end
  local own = { semaphore = assert(semaphore.new()), seen_at = core.clock() }
  local ends = own.seen_at + seconds
  table.insert(self.waiting, own)
  while not socket and own.seen_at < ends do
    own.semaphore:wait(math.max(0.001, math.min(pause, ends - own.seen_at)))
    own.seen_at = core.clock()
    if first(self) == own then
      socket = connect(self, answer_seconds)
    end
  end
  leave_queue(self, own)
  return socket, no_connection
end

--- Returns the connection to the pool for the next call.
function Connections:give_back(socket)
  socket:setkeepalive(idle_milliseconds, pool_size)
  wake_first(self)
end

function Connections:close(socket)
  socket:close()
  wake_first(self)
end

return Connections
