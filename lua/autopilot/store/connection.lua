--- The connection of a store to its server. It is opened on first use, and again after a failure.
--
-- A failed call is repeated once over a new connection, because a server that was restarted has closed the
-- old one. After a connection could not be opened, no other is attempted for some seconds, so that an
-- unreachable server does not delay every call.

local contract = require "autopilot.store.contract"
local core = require "autopilot.core"
local protected_call = require "autopilot.base.protected_call"
local redact = require "autopilot.base.redact"

---@class autopilot.store.Connection
local Connection = {}
Connection.__index = Connection

-- Timeout in seconds of connecting and of each call; also the first pause after a failure to connect, and the longest
-- one.
Connection.patience = 5
local longest_pause = 30

-- The part of `patience` after which a failed call counts as a server that does not answer: it is not repeated, and
-- no call is made for `patience` seconds.
local slow = 0.4

---@param given { name: string, open: fun(), close: fun(), release: fun()?, secrets: string[] } `open` returns a
-- connection or raises an error. `release` returns the connection to a pool after a successful call; nil: it is kept open
---@return autopilot.store.Connection
function Connection.new(given)
  return setmetatable({
    name = given.name,
    open = given.open,
    close = given.close,
    release = given.release,
    clean = redact.prepare(given.secrets),
    inherited = {}, -- connections of the process that this one was forked from
    failures = 0, -- in a row
    pause_ends = -math.huge,
  }, Connection)
end

--- The first line of an error's message, without the position in the code and without secrets.
local function reason_of(self, raised)
  local text = tostring(raised):gsub("^%S+:%d+: ", ""):match "^[^\r\n]*"
  return self.clean(("%s: %s"):format(self.name, text))
end

--- Notes that the server cannot be used for now. The pause doubles each time: LuaDBI leaks some memory for each
-- connection that could not be opened.
local function note_failure(self, reason)
  self.failures = self.failures + 1
  self.pause_ends = core.clock() + math.min(longest_pause, self.patience * 2 ^ (self.failures - 1))
  self.failure = reason
  return reason
end

--- Returns the kept connection, which the caller then owns, or opens one; nil and the reason if that fails.
local function take(self)
  local kept = self.kept
  self.kept = nil -- until a call has succeeded: an error may leave a reply unread
  if kept and self.process_id == core.process_id() then
    return kept
  end
  -- If there is one, this process was forked. To close it would end the parent process's session, so it is kept until
  -- this process ends.
  self.inherited[#self.inherited + 1] = kept
  if core.clock() < self.pause_ends then
    return nil, self.failure
  end
  local is_open, opened = protected_call(self.open)
  if not is_open then
    return nil, note_failure(self, reason_of(self, opened))
  end
  return opened
end

--- Keeps the connection for the next call, or returns it to its pool.
local function give_back(self, opened)
  self.failures = 0
  if self.release then
    self.release(opened)
  else
    self.kept, self.process_id = opened, core.process_id()
  end
end

--- Calls a function with the connection.
---@param act fun(opened: any, ...): any raises an error if it fails
---@return any? result
---@return string? message why there is no result
---@return boolean? is_repeated the first attempt failed, but may have taken effect
function Connection:call(act, ...)
  local message
  for attempt = 1, 2 do
    local opened, reason = take(self)
    if not opened then
      return nil, message or reason
    end
    local began = core.clock()
    local is_fine, result = protected_call(act, opened, ...)
    if is_fine then
      give_back(self, opened)
      return result, nil, attempt == 2
    end
    protected_call(self.close, opened)
    message = reason_of(self, result)
    if core.clock() - began >= slow * self.patience then
      note_failure(self, message)
      break
    end
  end
  return nil, message
end

--- Prepares an opened connection for use, and closes it if that fails.
function Connection.ready(opened, close, prepare, ...)
  local is_fine, raised = pcall(prepare, opened, ...)
  if not is_fine then
    close(opened)
    error(raised, 0)
  end
  return opened
end

--- Closes the connection. The next call opens a new one.
function Connection:shut()
  local kept = self.kept
  self.kept = nil
  if kept and self.process_id == core.process_id() then
    protected_call(self.close, kept)
  end
end

local methods = {}
for _, name in ipairs { "get", "set", "delete_if" } do
  methods[name] = function(self, ...)
    local result, message = self.connection:call(self.engine[name], ...)
    return result, message
  end
end

--- Adds a value. If the call was repeated and the value is there, the first attempt has added it.
function methods.add(self, key, value, ttl)
  local is_added, message, is_repeated = self.connection:call(self.engine.add, key, value, ttl)
  if is_added or is_repeated and self:get(key) == value then
    return true
  end
  return nil, message or "exists"
end

local metatable = contract.metatable(methods)

--- Closes the connection. The next call opens a new one.
function metatable.__index:close()
  self.connection:shut()
end

--- Makes a store over a connection.
---@param engine table the methods, which get an opened connection in place of the store, and raise an error if they fail.
-- `get` returns the value or nil, `set` true, `add` and `delete_if` whether they have changed something
---@return autopilot.Store
function Connection:store(engine)
  return setmetatable({ connection = self, engine = engine }, metatable)
end

return Connection
