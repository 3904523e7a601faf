--- A store in OpenResty's shared memory (`lua_shared_dict`): for all workers of one nginx.
--
-- The dictionary's own memory is its bound. When it is full, nginx takes out what was not used for
-- longest; so a small dictionary forgets, and what was forgotten may be asked for once more, but
-- nothing wrong is said. A tenant takes below 2 KiB.

local arguments = require "autopilot.store.arguments"

---@class autopilot.store.SharedDict: autopilot.Store
---@field package dict table
local SharedDict = {}
SharedDict.__index = SharedDict

-- Seconds. The dictionary counts in milliseconds, and takes 0 for "for ever".
local shortest_life, longest_life = 0.001, 30 * 86400

-- What has less than this left, in seconds, is not deleted but left to expire.
local shortest_rest = 0.05

local function life(ttl)
  return math.max(shortest_life, math.min(longest_life, ttl))
end

--- What a store answers when nginx did it, or did not.
local function answer(done, message)
  if done then
    return true
  end
  return nil, message or "failed"
end

--- Adds where nothing is. Atomic among all workers.
---@param key string
---@param value string
---@param ttl number seconds
---@return true?
---@return string? message `exists`, or what nginx says
function SharedDict:add(key, value, ttl)
  arguments.check("add", key, value, ttl)
  return answer(self.dict:add(key, value, life(ttl)))
end

---@param key string
---@return string? value nil too where somebody put something else than a string
---@return string? message
function SharedDict:get(key)
  arguments.check_key("get", key)
  local value, message = self.dict:get(key)
  if type(value) == "string" then
    return value
  end
  -- With a value, the second is its flags.
  return nil, value == nil and type(message) == "string" and message or nil
end

---@param key string
---@param value string
---@param ttl number seconds
---@return true?
---@return string? message
function SharedDict:set(key, value, ttl)
  arguments.check("set", key, value, ttl)
  return answer(self.dict:set(key, value, life(ttl)))
end

--- Deletes the value, when it is that one.
--
-- The dictionary can compare and delete, but not both at once. Nothing else of this worker runs in
-- between, and no other worker replaces a value that is not its own before that expires: so only a
-- value that has some time left is deleted, and another is left to expire. What remains: a process that
-- is stopped between the two for longer than that time may delete its successor's value.
---@param key string
---@param value string
---@return boolean? was_deleted
---@return string? message
function SharedDict:delete_if(key, value)
  arguments.check_value("delete_if", key, value)
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

local needed = { "add", "get", "set", "delete" }

--- Whether it can do what a dictionary does.
local function is_dict(value)
  if type(value) ~= "table" then
    return false
  end
  for _, method in ipairs(needed) do
    if type(value[method]) ~= "function" then
      return false
    end
  end
  return true
end

--- Makes a store of a dictionary. One that is not there is a mistake of the caller and raises.
---@param dict string|table its name in nginx's configuration, or `ngx.shared.NAME` itself
---@return autopilot.store.SharedDict
return function(dict)
  local found = dict
  if type(dict) == "string" then
    local ngx = rawget(_G, "ngx")
    found = type(ngx) == "table" and ngx.shared and ngx.shared[dict]
    if not found then
      local message = "autopilot.store.shared_dict: nginx has no 'lua_shared_dict %s'"
      error(message:format((dict:sub(1, 80):gsub("%c", "?"))), 2)
    end
  end
  if not is_dict(found) then
    local message =
      "autopilot.store.shared_dict: needs the name of a lua_shared_dict, or one (got %s)"
    error(message:format(type(dict)), 2)
  end
  return setmetatable({ dict = found }, SharedDict)
end
