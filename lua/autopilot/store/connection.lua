--- The connection of a store to its server: opened when it is first needed, and again after a failure.
--
-- A call that fails is made once more over a new connection, because a server that was restarted has closed
-- the old one. After a connection could not be opened, none is tried for some seconds: a server that is
-- away must not delay each call of a store.

local core = require "autopilot.core"
local protected_call = require "autopilot.base.protected_call"
local redact = require "autopilot.base.redact"

---@class autopilot.store.Connection
---@field package open fun(): any opens one; raises where that fails
---@field package close fun(opened: any)
---@field package release (fun(opened: any))? gives one back after a call that succeeded; nil: it is kept
---@field package clean fun(text: string): string
---@field package name string
---@field package kept any?
---@field package inherited any[] connections of the process that this one was forked from
local Connection = {}
Connection.__index = Connection

-- Seconds that connecting may take, and any call; and for which no connection is tried after a failure.
Connection.patience = 5

---@param given table { name =, open =, close =, release =, secrets = }
---@return autopilot.store.Connection
function Connection.new(given)
  return setmetatable({
    name = given.name,
    open = given.open,
    close = given.close,
    release = given.release,
    clean = redact.prepare(given.secrets),
    inherited = {},
  }, Connection)
end

--- What an error says: its first line, without a place in the code and without secrets.
local function reason_of(self, raised)
  local text = tostring(raised):gsub("^%S+:%d+: ", ""):match "^[^\r\n]*"
  return self.clean(("%s: %s"):format(self.name, text))
end

--- The connection that is kept, or a new one; nil and the reason where none can be opened.
local function take(self)
  if self.kept and self.process_id ~= core.process_id() then
    -- After a fork. Closing it here would end the other process's session.
    self.inherited[#self.inherited + 1] = self.kept
    self.kept = nil
  end
  if self.kept then
    return self.kept
  elseif self.failed_at and core.clock() - self.failed_at < self.patience then
    return nil, self.failure
  end
  local is_open, opened = protected_call(self.open)
  if not is_open then
    self.failed_at, self.failure = core.clock(), reason_of(self, opened)
    return nil, self.failure
  end
  if not self.release then
    self.kept, self.process_id = opened, core.process_id()
  end
  return opened
end

--- Calls a function with the connection.
---@param act fun(opened: any, ...): any raises where it fails
---@return any? result
---@return string|boolean? message why there is none; true when the first attempt failed and may have acted
function Connection:call(act, ...)
  local message
  for attempt = 1, 2 do
    local opened, reason = take(self)
    if not opened then
      return nil, message or reason
    end
    local is_fine, result = protected_call(act, opened, ...)
    if is_fine then
      if self.release then
        self.release(opened)
      end
      return result, attempt == 2
    end
    self.kept = nil
    protected_call(self.close, opened)
    message = reason_of(self, result)
  end
  return nil, message
end

--- Closes the connection. The next call opens a new one.
function Connection:shut()
  local kept = self.kept
  self.kept = nil
  if kept and self.process_id == core.process_id() then
    protected_call(self.close, kept)
  end
end

--- The `add` of a store over a connection: what a second attempt finds may be of the first.
---@param store autopilot.Store
---@param act fun(opened: any, ...): boolean whether the value was added
function Connection:add(store, act, key, value, ttl)
  local is_added, message = self:call(act, key, value, ttl)
  if is_added == nil then
    return nil, message
  elseif is_added or message and store:get(key) == value then
    return true
  end
  return nil, "exists"
end

return Connection
