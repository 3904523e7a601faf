--- What every store asks of its callers: keys and values are strings, lives are seconds above zero.
--
-- A store is a table with four methods, none of which raises for what the world does:
--   add(key, value, ttl)   true; or nil, "exists" while the key has a value; or nil, message. Atomic
--   get(key)               the value; or nil; or nil, message
--   set(key, value, ttl)   true; or nil, message
--   delete_if(key, value)  true when that value was there and is gone; else false; or nil, message

---@class autopilot.Store
---@field add fun(self, key: string, value: string, ttl: number): true?, string?
---@field get fun(self, key: string): string?, string?
---@field set fun(self, key: string, value: string, ttl: number): true?, string?
---@field delete_if fun(self, key: string, value: string): boolean?, string?

local arguments = {}

--- The names of the methods.
arguments.methods = { "add", "get", "set", "delete_if" }

local function complain(method, what, value)
  error(("store:%s: the %s (got %s)"):format(method, what, type(value)), 4)
end

--- Raises at the caller of the method.
---@param method string
---@param key any
function arguments.check_key(method, key)
  if type(key) ~= "string" or key == "" then
    complain(method, "key must be a string that is not empty", key)
  end
end

---@param method string
---@param key any
---@param value any
function arguments.check_value(method, key, value)
  if type(key) ~= "string" or key == "" then
    complain(method, "key must be a string that is not empty", key)
  elseif type(value) ~= "string" then
    complain(method, "value must be a string", value)
  end
end

---@param method string
---@param key any
---@param value any
---@param ttl any
function arguments.check(method, key, value, ttl)
  if type(key) ~= "string" or key == "" then
    complain(method, "key must be a string that is not empty", key)
  elseif type(value) ~= "string" then
    complain(method, "value must be a string", value)
  elseif type(ttl) ~= "number" or not (ttl > 0 and ttl < math.huge) then
    complain(method, "ttl must be a number of seconds above 0", ttl)
  end
end

return arguments
