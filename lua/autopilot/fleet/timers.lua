--- Items ordered by time: a binary heap, the earliest first.
--
-- Items of the same time come in order of insertion, so that a run can be repeated. Each
-- item, a table, is in the heap once, and has its index (`due_index`): it can be moved to another time and
-- removed.

---@class autopilot.fleet.Timers: { [integer]: table } the heap: the first item is due first, at the time `due_at`
---@field count integer
---@field package added integer
local Timers = {}
Timers.__index = Timers

function Timers.new()
  return setmetatable({ count = 0, added = 0 }, Timers)
end

local function is_before(a, b)
  return a.due_at < b.due_at or (a.due_at == b.due_at and a.due_order < b.due_order)
end

--- Puts an item where it belongs, from an index upwards or downwards.
local function settle(self, item, index)
  local parent = self[math.floor(index / 2)]
  while parent and is_before(item, parent) do
    self[index], parent.due_index, index = parent, index, parent.due_index
    parent = self[math.floor(index / 2)]
  end
  while true do
    local child, right = self[2 * index], self[2 * index + 1]
    child = right and is_before(right, child) and right or child
    if not child or is_before(item, child) then
      break
    end
    self[index], child.due_index, index = child, index, child.due_index
  end
  self[index], item.due_index = item, index
end

--- Puts an item in, or moves it to another time.
function Timers:set(item, time)
  self:remove(item)
  self.count, self.added = self.count + 1, self.added + 1
  item.due_at, item.due_order = time, self.added
  settle(self, item, self.count)
end

--- Takes an item out, if it is in.
function Timers:remove(item)
  local index = item.due_index
  if index then
    local last = self[self.count]
    self[self.count], self.count, item.due_index = nil, self.count - 1, nil
    if last ~= item then
      settle(self, last, index)
    end
  end
end

return Timers
