--- A store in this process's memory: for the clients of one Lua state, and for tests.
--
-- The number of entries is bounded: a new entry replaces the one that was not used for longest. An expired
-- entry is dropped when it is next looked at, or replaced in its turn.

local contract = require "autopilot.store.contract"
local core = require "autopilot.core"
local lru = require "autopilot.base.lru"
local options = require "autopilot.base.options"

---@class autopilot.store.MemoryOptions
---@field max_entries integer? default 20000
---@field now (fun(): number)? seconds of any clock that goes forward; default the monotonic one

local rules = {
  max_entries = { type = "integer", default = 20000, min = 1 },
  now = { type = "function", default = core.clock },
}

---@class autopilot.store.Memory: autopilot.Store
---@field count integer
local Memory = {}
Memory.__index = Memory

local function drop(self, entry)
  lru.remove(entry)
  self.entries[entry.key] = nil
  self.count = self.count - 1
end

--- The entry of a key, unless it has expired. Marks it as the one used last.
local function find(self, key)
  local entry = self.entries[key]
  if not entry then
    return nil
  end
  local left = entry.expires - self.now()
  if left <= 0 then
    drop(self, entry)
    return nil
  elseif left > entry.ttl then -- the clock was set back: the entry must not live longer for it
    entry.expires = entry.expires - left + entry.ttl
  end
  lru.touch(self.ring, entry)
  return entry
end

local function insert(self, key, value, ttl)
  if self.count >= self.max_entries then
    drop(self, self.ring.newer)
  end
  local entry = { key = key, value = value, ttl = ttl, expires = self.now() + ttl }
  self.entries[key] = entry
  self.count = self.count + 1
  lru.add(self.ring, entry)
  return true
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
  return insert(self, key, value, ttl)
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
    drop(self, entry)
  end
  return insert(self, key, value, ttl)
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
  drop(self, entry)
  return true
end

--- Makes a store in memory.
---@param given autopilot.store.MemoryOptions?
---@return autopilot.store.Memory
return function(given)
  local store = options.check("autopilot.store.memory", rules, given)
  store.entries, store.ring, store.count = {}, lru.new(), 0
  return setmetatable(store, Memory)
end
