--- A store in this process's memory: for the clients of one Lua state, and for tests.
--
-- Bounded: what was not used for longest goes first. What has expired goes when it is next looked at,
-- or by its age.

local arguments = require "autopilot.store.arguments"
local core = require "autopilot.core"
local options = require "autopilot.base.options"
local recency = require "autopilot.base.lru"

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
  recency.remove(entry)
  self.entries[entry.key] = nil
  self.count = self.count - 1
end

--- The entry whose time is not over; it becomes the one used last.
local function find(self, key)
  local entry = self.entries[key]
  if not entry then
    return nil
  end
  local left = entry.expires - self.now()
  if left <= 0 then
    drop(self, entry)
    return nil
  elseif left > entry.ttl then
    entry.expires = entry.expires - left + entry.ttl -- the clock was set back: no life gets longer
  end
  recency.touch(self.ring, entry)
  return entry
end

local function insert(self, key, value, ttl)
  if self.count >= self.max_entries then
    drop(self, self.ring.newer)
  end
  local entry = { key = key, value = value, ttl = ttl, expires = self.now() + ttl }
  self.entries[key] = entry
  self.count = self.count + 1
  recency.add(self.ring, entry)
end

---@param key string
---@param value string
---@param ttl number seconds
---@return true?
---@return string? message `exists`
function Memory:add(key, value, ttl)
  arguments.check("add", key, value, ttl)
  if find(self, key) then
    return nil, "exists"
  end
  insert(self, key, value, ttl)
  return true
end

---@param key string
---@return string? value
function Memory:get(key)
  arguments.check_key("get", key)
  local entry = find(self, key)
  return entry and entry.value
end

---@param key string
---@param value string
---@param ttl number seconds
---@return true
function Memory:set(key, value, ttl)
  arguments.check("set", key, value, ttl)
  local entry = find(self, key)
  if entry then
    drop(self, entry)
  end
  insert(self, key, value, ttl)
  return true
end

---@param key string
---@param value string
---@return boolean was_deleted
function Memory:delete_if(key, value)
  arguments.check_value("delete_if", key, value)
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
  local checked = options.check("autopilot.store.memory", rules, given)
  return setmetatable({
    max_entries = checked.max_entries,
    now = checked.now,
    entries = {},
    ring = recency.new(),
    count = 0,
  }, Memory)
end
