--- A store in this process's memory: for the clients of one Lua state, and for tests.
--
-- The number of entries is limited: the least recently used one goes first. An expired entry is removed
-- when it is next read, or when it is the least recently used one.

local Lru = require "autopilot.base.lru"
local contract = require "autopilot.store.contract"
local core = require "autopilot.core"
local options = require "autopilot.base.options"

---@class autopilot.store.MemoryOptions
---@field [string] autopilot.NoSuchOption
---@field max_entries integer? default 20000
---@field now (fun(): number)? seconds of any clock that goes forward; default the monotonic one

local rules = {
  max_entries = { type = "integer", default = 20000, min = 1 },
  now = { type = "function", default = core.clock },
}

--- The entry with this key, unless it has expired; it then counts as just used.
local function find(self, key)
  local entry = self.entries:find(key)
  if not entry then
    return nil
  end
  local left = entry.expires - self.now()
  if left <= 0 then
    self.entries:remove(entry)
    return nil
  elseif left > entry.ttl then
    entry.expires = entry.expires - left + entry.ttl -- the clock was set back: no life gets longer
  end
  return entry
end

local methods = {}

function methods.get(self, key)
  local entry = find(self, key)
  return entry and entry.value
end

function methods.set(self, key, value, ttl)
  self.entries:add { key = key, value = value, ttl = ttl, expires = self.now() + ttl }
  return true
end

function methods.add(self, key, value, ttl)
  if find(self, key) then
    return nil, "exists"
  end
  return methods.set(self, key, value, ttl)
end

function methods.delete_if(self, key, value)
  local entry = find(self, key)
  if not entry or entry.value ~= value then
    return false
  end
  self.entries:remove(entry)
  return true
end

local metatable = contract.metatable(methods)

--- Makes a store in memory.
---@param given autopilot.store.MemoryOptions?
---@return autopilot.Store
return function(given)
  local checked = options.check("autopilot.store.memory", rules, given)
  return setmetatable({ entries = Lru.new(checked.max_entries), now = checked.now }, metatable)
end
