--- A store in this process's memory: for the clients of one Lua state, and for tests.
--
-- The number of entries is limited: the least recently used one goes first. An expired entry is removed
-- when it is next asked for, or in its turn as the least recently used one.

local Lru = require "autopilot.base.lru"
local contract = require "autopilot.store.contract"
local core = require "autopilot.core"
local options = require "autopilot.base.options"

---@class autopilot.store.MemoryOptions
---@field max_entries integer? default 20000
---@field now (fun(): number)? seconds of any clock that goes forward; default the monotonic one

local rules = {
  max_entries = { type = "integer", default = 20000, min = 1 },
  now = { type = "function", default = core.clock },
}

---@class autopilot.store.Memory: autopilot.Store
---@field package entries autopilot.Lru
---@field package now fun(): number
local Memory = {}
Memory.__index = Memory

--- The entry whose time is not over, which then counts as just used.
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

local function insert(self, key, value, ttl)
  self.entries:add { key = key, value = value, ttl = ttl, expires = self.now() + ttl }
end

---@param key string
---@param value string
---@param ttl number seconds
---@return true?
---@return string? message `exists`
function Memory:add(key, value, ttl)
  contract.check("add", key, value, ttl)
  if find(self, key) then
    return nil, "exists"
  end
  insert(self, key, value, ttl)
  return true
end

---@param key string
---@return string? value
function Memory:get(key)
  contract.check("get", key)
  local entry = find(self, key)
  return entry and entry.value
end

---@param key string
---@param value string
---@param ttl number seconds
---@return true
function Memory:set(key, value, ttl)
  contract.check("set", key, value, ttl)
  local entry = find(self, key)
  if entry then
    self.entries:remove(entry)
  end
  insert(self, key, value, ttl)
  return true
end

---@param key string
---@param value string
---@return boolean was_deleted
function Memory:delete_if(key, value)
  contract.check("delete_if", key, value)
  local entry = find(self, key)
  if not entry or entry.value ~= value then
    return false
  end
  self.entries:remove(entry)
  return true
end

--- Makes a store in memory.
---@param given autopilot.store.MemoryOptions?
---@return autopilot.store.Memory
return function(given)
  local checked = options.check("autopilot.store.memory", rules, given)
  return setmetatable({ entries = Lru.new(checked.max_entries), now = checked.now }, Memory)
end
