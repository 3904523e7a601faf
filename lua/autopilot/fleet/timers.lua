--- What is to happen when: a binary heap of moments, the earliest first.
--
-- Of equal moments the one that was added first comes first, so that a run can be repeated. An
-- appointment is not taken back: whoever has been called otherwise meanwhile has a newer ticket, and is
-- passed over when its moment comes, or swept out with the others before.

---@class autopilot.fleet.Timers
---@field count integer
---@field package times number[]
---@field package orders integer[]
---@field package items any[]
---@field package tickets integer[]
local Timers = {}
Timers.__index = Timers

---@return autopilot.fleet.Timers
function Timers.new()
  return setmetatable(
    { count = 0, added = 0, times = {}, orders = {}, items = {}, tickets = {} },
    Timers
  )
end

local function place(self, index, time, order, item, ticket)
  self.times[index], self.orders[index] = time, order
  self.items[index], self.tickets[index] = item, ticket
end

local function move(self, from, to)
  place(self, to, self.times[from], self.orders[from], self.items[from], self.tickets[from])
end

local function insert(self, time, order, item, ticket)
  local times, orders = self.times, self.orders
  local index = self.count + 1
  self.count = index
  while index > 1 do
    local parent = math.floor(index / 2)
    local of_parent = times[parent]
    if of_parent < time or (of_parent == time and orders[parent] < order) then
      break
    end
    move(self, parent, index)
    index = parent
  end
  place(self, index, time, order, item, ticket)
end

---@param time number
---@param item any
---@param ticket integer? default 0
function Timers:add(time, item, ticket)
  self.added = self.added + 1
  insert(self, time, self.added, item, ticket or 0)
end

--- Takes out what is void. The others stay in their order.
---@param is_void fun(item: any, ticket: integer): boolean
function Timers:sweep(is_void)
  local count = self.count
  self.count = 0
  for index = 1, count do
    local time, order = self.times[index], self.orders[index]
    local item, ticket = self.items[index], self.tickets[index]
    place(self, index)
    if not is_void(item, ticket) then
      insert(self, time, order, item, ticket) -- at most where it was
    end
  end
end

--- The earliest moment; nil when there is none.
---@return number?
function Timers:first()
  return self.times[1]
end

local function is_before(self, a, b)
  local of_a, of_b = self.times[a], self.times[b]
  return of_a < of_b or (of_a == of_b and self.orders[a] < self.orders[b])
end

--- Takes the earliest out.
---@return any item
---@return integer ticket
function Timers:take()
  local item, ticket, last = self.items[1], self.tickets[1], self.count
  local time, order = self.times[last], self.orders[last]
  local last_item, last_ticket = self.items[last], self.tickets[last]
  place(self, last)
  self.count = last - 1
  if last == 1 then
    return item, ticket
  end
  local index = 1
  while true do
    local child = index * 2
    if child > self.count then
      break
    elseif child < self.count and is_before(self, child + 1, child) then
      child = child + 1
    end
    local child_time = self.times[child]
    if time < child_time or (time == child_time and order < self.orders[child]) then
      break
    end
    move(self, child, index)
    index = child
  end
  place(self, index, time, order, last_item, last_ticket)
  return item, ticket
end

return Timers
