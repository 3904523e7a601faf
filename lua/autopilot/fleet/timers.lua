--- Items in the order of their times: a binary heap, the earliest first.
--
-- Items of the same time come in the order in which they were added, so that a run can be repeated.
-- An item cannot be taken back. It has a ticket instead, by which its owner tells that it has become
-- void, and passes it over when its time comes or takes it out with `sweep`.

---@class autopilot.fleet.Timers
---@field count integer
---@field package added integer
---@field package heap { time: number, order: integer, item: any, ticket: integer }[]
local Timers = {}
Timers.__index = Timers

---@return autopilot.fleet.Timers
function Timers.new()
  return setmetatable({ count = 0, added = 0, heap = {} }, Timers)
end

local function is_before(a, b)
  return a.time < b.time or (a.time == b.time and a.order < b.order)
end

local function insert(self, entry)
  local heap, index = self.heap, self.count + 1
  self.count = index
  while index > 1 do
    local parent = math.floor(index / 2)
    if is_before(heap[parent], entry) then
      break
    end
    heap[index] = heap[parent]
    index = parent
  end
  heap[index] = entry
end

---@param time number
---@param item any
---@param ticket integer? default 0
function Timers:add(time, item, ticket)
  self.added = self.added + 1
  insert(self, { time = time, order = self.added, item = item, ticket = ticket or 0 })
end

--- Takes out the items that are void.
---@param is_void fun(item: any, ticket: integer): boolean
function Timers:sweep(is_void)
  local before = self.heap
  self.heap, self.count = {}, 0
  for _, entry in ipairs(before) do
    if not is_void(entry.item, entry.ticket) then
      insert(self, entry)
    end
  end
end

--- The earliest time; nil when there is no item.
---@return number?
function Timers:first()
  local entry = self.heap[1]
  return entry and entry.time
end

--- Takes the earliest item out. There must be one.
---@return any item
---@return integer ticket
function Timers:take()
  local heap, count = self.heap, self.count - 1
  local first, last = heap[1], heap[count + 1]
  heap[count + 1], self.count = nil, count
  local index, child = 1, 2
  while child <= count do
    if child < count and is_before(heap[child + 1], heap[child]) then
      child = child + 1
    end
    if is_before(last, heap[child]) then
      break
    end
    heap[index] = heap[child]
    index, child = child, child * 2
  end
  if count > 0 then
    heap[index] = last
  end
  return first.item, first.ticket
end

return Timers
