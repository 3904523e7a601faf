--- A store in OpenResty's shared memory (`lua_shared_dict`): for all workers of one nginx.
--
-- The size of the dictionary is the bound. When it is full, nginx removes what was not used for longest. A
-- removed value costs a needless request at most, never a false report. A tenant takes less than 2 KiB.

local contract = require "autopilot.store.contract"

---@class autopilot.store.SharedDict: autopilot.Store
---@field package dict table
local SharedDict = {}
SharedDict.__index = SharedDict

-- Seconds. The dictionary counts in milliseconds, and keeps a value with a life of 0 for ever.
local shortest_life, longest_life = 0.001, 30 * 86400

-- A value with less time left than this, in seconds, is not deleted but expires by itself.
local shortest_rest = 0.05

local function life(ttl)
  return math.max(shortest_life, math.min(longest_life, ttl))
end

--- The results of nginx's `add` and `set` as those of a store.
local function result_of(done, message)
  if done then
    return true
  end
  return nil, message or "failed"
end

--- Adds a value where the key has none. Atomic among all workers.
---@param key string
---@param value string
---@param ttl number seconds
---@return true?
---@return string? message `exists`, or nginx's message
function SharedDict:add(key, value, ttl)
  contract.check("add", key, value, ttl)
  return result_of(self.dict:add(key, value, life(ttl)))
end

---@param key string
---@return string? value nil too where another program put something else than a string
---@return string? message nginx's
function SharedDict:get(key)
  contract.check("get", key)
  local value, message = self.dict:get(key)
  if type(value) == "string" then
    return value
  end
  -- Behind a value, nginx's second result is the value's flags, not a message.
  return nil, value == nil and type(message) == "string" and message or nil
end

---@param key string
---@param value string
---@param ttl number seconds
---@return true?
---@return string? message nginx's
function SharedDict:set(key, value, ttl)
  contract.check("set", key, value, ttl)
  return result_of(self.dict:set(key, value, life(ttl)))
end

--- Deletes the key when it has this value.
--
-- The dictionary can compare and delete, but not in one step. Nothing else of this worker runs between the
-- two steps, and another worker replaces a value that is not its own only once it has expired. So a value
-- that is about to expire is left to do so. What remains: a process that is stopped between the two steps
-- for longer than `shortest_rest` may delete a newer value.
---@param key string
---@param value string
---@return boolean? was_deleted
---@return string? message nginx's
function SharedDict:delete_if(key, value)
  contract.check("delete_if", key, value)
  local found, message = self:get(key)
  if message then
    return nil, message
  elseif found ~= value then
    return false
  end
  local left = self.dict.ttl and self.dict:ttl(key)
  if type(left) == "number" and left > 0 and left < shortest_rest then
    return false
  end
  self.dict:delete(key)
  return true
end

--- Whether a value has the methods of a dictionary that a store needs.
local function is_dict(value)
  if type(value) ~= "table" then
    return false
  end
  for _, method in ipairs { "add", "get", "set", "delete" } do
    if type(value[method]) ~= "function" then
      return false
    end
  end
  return true
end

--- Makes a store of a dictionary. Raises at the caller where nginx has no such dictionary.
---@param dict string|table its name in nginx's configuration, or `ngx.shared.NAME` itself
---@return autopilot.store.SharedDict
return function(dict)
  local found, mistake = dict, nil
  if type(dict) == "string" then
    local ngx = rawget(_G, "ngx")
    found = type(ngx) == "table" and ngx.shared and ngx.shared[dict]
    if not found then
      mistake = ("nginx has no 'lua_shared_dict %s'"):format((dict:sub(1, 80):gsub("%c", "?")))
    end
  end
  if not mistake and not is_dict(found) then
    mistake = ("needs the name of a lua_shared_dict, or one (got %s)"):format(type(dict))
  end
  if mistake then
    error("autopilot.store.shared_dict: " .. mistake, 2)
  end
  return setmetatable({ dict = found }, SharedDict)
end
