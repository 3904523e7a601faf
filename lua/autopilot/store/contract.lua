--- What a store is, and how the library calls one.
--
-- A store is a table with four methods. They raise for a mistake of the caller only: keys and values are
-- strings, a key is not empty, `ttl` is a number of seconds above 0. If they fail, they return nil and a message.

local protected_call = require "autopilot.base.protected_call"

---@class autopilot.Store
---@field add fun(self, key: string, value: string, ttl: number): true?, string? nil, "exists" while the key has a value. Atomic
---@field get fun(self, key: string): string?, string?
---@field set fun(self, key: string, value: string, ttl: number): true?, string?
---@field delete_if fun(self, key: string, value: string): boolean?, string? true when the key had this value, which is now gone

local contract = {}

-- How many of key, value and ttl each method takes.
local argument_counts = { get = 1, delete_if = 2, add = 3, set = 3 }

--- Raises at the caller of the method for arguments that it cannot take.
local function check(method, key, value, ttl)
  local count = argument_counts[method]
  local rule, given
  if type(key) ~= "string" or key == "" then
    rule, given = "key must be a string that is not empty", key
  elseif count > 1 and type(value) ~= "string" then
    rule, given = "value must be a string", value
  elseif count > 2 and not (type(ttl) == "number" and ttl > 0 and ttl < math.huge) then
    rule, given = "ttl must be a number of seconds above 0", ttl
  end
  if rule then
    error(("store:%s: the %s (got %s)"):format(method, rule, type(given)), 3)
  end
end

--- Makes the metatable of a store: its four methods, which check their arguments before they act.
---@param methods table<string, fun(self: table, key: string, value: string, ttl: number): any, string?>
function contract.metatable(methods)
  local checked = {}
  for method, act in pairs(methods) do
    checked[method] = function(self, key, value, ttl)
      check(method, key, value, ttl)
      return act(self, key, value, ttl)
    end
  end
  return { __index = checked }
end

--- What is wrong with a store that was given as an option, or nil: the `check` of a rule for options.
function contract.complaint_about(store)
  if type(store) ~= "table" then
    return "must be like autopilot.store.open 'file.db'"
  end
  for _, method in ipairs { "add", "get", "set", "delete_if" } do
    if type(store[method]) ~= "function" then
      return ("must have a method '%s': see autopilot.store"):format(method)
    end
  end
end

--- Calls a method of a store. Never raises: an error of the store is returned as a message.
---@return any result of any type, where the store is not ours
---@return string? message `exists`, or why there is no result; the store's own texts are not cleaned
function contract.call(store, method, ...)
  local ok, result, message = protected_call(store[method], store, ...)
  if ok and result ~= nil then
    return result
  elseif ok and (message == nil or message == "exists") then
    return nil, message
  end
  local reason = ok and message or result
  return nil, type(reason) == "string" and reason or "the store failed"
end

return contract
