--- A store in OpenResty's shared memory (`lua_shared_dict`): for all workers of one nginx.
--
-- The size of the dictionary is the bound. When it is full, nginx removes what was not used for longest. A
-- removed value costs a needless request at most, never a false report. A tenant takes less than 2 KiB.

local contract = require "autopilot.store.contract"

local us = "autopilot.store.shared_dict: "

-- Seconds. The dictionary counts in milliseconds, and keeps a value with a life of 0 for ever.
local shortest_life, longest_life = 0.001, 30 * 86400

-- A value with less time left than this, in seconds, is not deleted but expires by itself.
local shortest_rest = 0.05

--- Puts a value with a method of the dictionary, `add` or `set`.
local function put(method)
  return function(self, key, value, ttl)
    local life = math.max(shortest_life, math.min(longest_life, ttl))
    local done, message = self.dict[method](self.dict, key, value, life)
    if done then
      return true
    end
    return nil, message or "failed"
  end
end

local methods = { add = put "add", set = put "set" }

--- The value; nil also if another program has stored something else than a string.
function methods.get(self, key)
  local value, message = self.dict:get(key)
  if type(value) == "string" then
    return value
  end
  -- Behind a value, nginx's second result is the value's flags, not a message.
  return nil, value == nil and type(message) == "string" and message or nil
end

--- Deletes the key when it has this value.
--
-- The dictionary can compare and delete, but not in one step. Nothing else of this worker runs between the
-- two steps, and another worker replaces a value that is not its own only once it has expired. So a value
-- that is about to expire is left to do so. What remains: a process that is stopped between the two steps
-- for longer than `shortest_rest` may delete a newer value.
function methods.delete_if(self, key, value)
  local found, message = methods.get(self, key)
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

local metatable = contract.metatable(methods)

--- Makes a store of a dictionary. Raises at the caller where nginx has no such dictionary.
---@param dict string|table its name in nginx's configuration, or `ngx.shared.NAME` itself
---@return autopilot.Store
return function(dict)
  if type(dict) == "string" then
    local name, ngx = dict:sub(1, 80):gsub("%c", "?"), rawget(_G, "ngx")
    dict = type(ngx) == "table" and ngx.shared and ngx.shared[dict]
    if not dict then
      error(us .. ("nginx has no 'lua_shared_dict %s'"):format(name), 2)
    end
  end
  for _, method in ipairs { "add", "get", "set", "delete" } do
    if type(dict) ~= "table" or type(dict[method]) ~= "function" then
      error(us .. ("needs the name of a lua_shared_dict, or one (got %s)"):format(type(dict)), 2)
    end
  end
  return setmetatable({ dict = dict }, metatable)
end
