--- Calls to a store, which is somebody else's and may fail in every way: none of them raises here.

local protected_call = require "autopilot.base.protected_call"
local arguments = require "autopilot.store.arguments"

local guarded = {}

--- Says what a store lacks, or nil. For rules of options.
---@param store table
---@return string?
function guarded.complaint_about(store)
  for _, method in ipairs(arguments.methods) do
    if type(store[method]) ~= "function" then
      return ("must have a method '%s': see autopilot.store"):format(method)
    end
  end
end

--- Calls a method.
---@param store autopilot.Store
---@param method string
---@return any result
---@return string? message `exists`, or why there is no result; texts of the store's may say anything
function guarded.call(store, method, ...)
  local ok, result, message = protected_call(store[method], store, ...)
  if ok and result ~= nil then
    return result
  elseif ok and (message == nil or message == "exists") then
    return nil, message
  end
  local why = message
  if not ok then
    why = result
  end
  return nil, type(why) == "string" and why or "the store failed"
end

--- The text under a key, or nil.
---@param store autopilot.Store
---@param key string
---@return string? value
---@return string? message when the store failed
function guarded.get(store, key)
  local value, message = guarded.call(store, "get", key)
  return type(value) == "string" and value or nil, message
end

return guarded
