--- A table with a limited number of entries: when it is full, the least recently used entry goes.
--
-- The order of use is a doubly linked list through the entries' own fields `older` and `newer`. The list
-- is closed by the table itself: its `newer` is the least recently used entry, its `older` the most
-- recently used one. So no call searches or moves anything, however many entries there are.

---@class autopilot.Lru
---@field count integer entries in it
local Lru = {}
Lru.__index = Lru

---@param max_entries integer at least 1
---@return autopilot.Lru
function Lru.new(max_entries)
  local self = setmetatable({ max_entries = max_entries, entries = {}, count = 0 }, Lru)
  self.older, self.newer = self, self
  return self
end

local function unlink(entry)
  entry.older.newer, entry.newer.older = entry.newer, entry.older
end

local function link_as_newest(self, entry)
  local newest = self.older
  entry.older, entry.newer = newest, self
  newest.newer, self.older = entry, entry
end

--- The entry with this key, which then counts as just used; nil when there is none.
function Lru:find(key)
  local entry = self.entries[key]
  if entry and self.older ~= entry then
    unlink(entry)
    link_as_newest(self, entry)
  end
  return entry
end

--- Removes an entry.
---@param entry table that is in this table
function Lru:remove(entry)
  unlink(entry)
  self.entries[entry.key] = nil
  self.count = self.count - 1
end

--- Adds an entry in place of the one with its `key`; or else, where there is no room, of the least recently used one.
function Lru:add(entry)
  local same = self.entries[entry.key]
  if same or self.count >= self.max_entries then
    self:remove(same or self.newer)
  end
  self.entries[entry.key] = entry
  self.count = self.count + 1
  link_as_newest(self, entry)
end

return Lru
