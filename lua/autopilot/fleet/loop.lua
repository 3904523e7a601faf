--- Runs one coroutine for each tenant in progress, all of them in one thread.
--
-- A task yields what it waits for: a time of the clock (a number), or `parked` when its transfer or other code will wake
-- it. A task that yields anything else, or a time in the past, as a user's own code may, is resumed after
-- `shortest_sleep`. Only the function `wait` differs between plain Lua and an event loop.

local Timers = require "autopilot.fleet.timers"
local tenant = require "autopilot.fleet.tenant"

---@class autopilot.fleet.Task one tenant in progress
---@field thread thread? nil: it has not begun, has ended or was abandoned
---@field transfer any the one that it waits for
---@field due_index integer? it is among the timers: it sleeps, or what it waits for has a deadline

---@class autopilot.fleet.Loop
---@field current autopilot.fleet.Task? whose code runs now
---@field set any? the transfer set, which the wire makes
---@field idle thread[] coroutines of tasks that have ended, for the next ones
---@field timers autopilot.fleet.Timers tasks, and other items with a method `due`
---@field transfers table<any, autopilot.fleet.Task> the task that waits for each
local Loop = {}
Loop.__index = Loop

--- A task yields this when other code will wake it.
Loop.parked = {}

-- What a coroutine yields when its task has ended; the next task is begun in it.
local ended = {}

-- Seconds after which a task is resumed that yielded an unknown value.
local shortest_sleep = 0.001

-- Seconds of one wait for transfers at most, so that an interrupt is noticed.
local longest_wait = 0.5

-- KiB of work for the garbage collector each time a tenant falls asleep. Left to itself it waits until the
-- memory of thousands of sleepers has doubled.
local collected_at_sleep = 64

---@param fleet autopilot.Fleet
function Loop.new(fleet)
  local function work(task)
    while true do
      tenant.perform(fleet, task)
      task = coroutine.yield(ended)
    end
  end
  return setmetatable({
    fleet = fleet,
    options = fleet.options,
    work = work,
    idle = {},
    timers = Timers.new(),
    transfers = {},
  }, Loop)
end

--- Resumes a task, and records what it waits for then.
local function resume(self, task, value)
  local outer = self.current
  self.current = task
  self.timers:remove(task)
  local is_fine, wanted = coroutine.resume(task.thread, value)
  self.current = outer
  if not task.thread then
    return -- its own code has abandoned it
  elseif not is_fine then
    task.thread = nil
    tenant.fail(self.fleet, task, wanted)
  elseif wanted == ended then
    self.idle[#self.idle + 1], task.thread = task.thread, nil
  elseif wanted ~= Loop.parked then
    local clock = self.options.clock()
    local is_time = type(wanted) == "number" and wanted > clock
    self.timers:set(task, is_time and wanted or clock + shortest_sleep)
    collectgarbage("step", collected_at_sleep)
  end
end

--- Begins a task; returns when it waits for something or has ended.
function Loop:begin(task)
  task.thread = table.remove(self.idle) or coroutine.create(self.work)
  resume(self, task, task)
end

--- Has a task resumed soon, unless it waits for a transfer, runs now or has ended.
function Loop:wake(task)
  local thread = task.thread
  if thread and not task.transfer and coroutine.status(thread) == "suspended" then
    self.timers:set(task, -math.huge)
  end
end

--- Abandons a task: it is never resumed again.
function Loop:abandon(task)
  self.timers:remove(task)
  task.thread = nil
end

--- Resumes the task whose transfer has ended.
local function finish(self, transfer)
  local task = self.transfers[transfer]
  if task then
    self.transfers[transfer], task.transfer = nil, nil
    if task.thread then
      resume(self, task)
    end
  end
end

--- Ends all transfers, and resumes their tasks.
function Loop:discard_transfers()
  local transfer = next(self.transfers)
  while transfer do
    self.set:discard(transfer)
    finish(self, transfer)
    transfer = next(self.transfers)
  end
end

--- Resumes every task that can go on now.
function Loop:step()
  local set, timers = self.set, self.timers
  local transfer = set and set:take()
  while transfer do
    finish(self, transfer)
    transfer = set:take()
  end
  local clock, item = self.options.clock(), timers[1]
  while item and item.due_at <= clock do
    timers:remove(item)
    if item.due then
      item:due()
    else
      resume(self, item)
    end
    item = timers[1]
  end
end

--- Sends what can be sent at once, without waiting.
function Loop:send()
  if next(self.transfers) then
    self.options.wait(self.set, 0)
  end
end

--- Waits until a task may be able to continue, at most until that time.
---@param time number? of the clock
function Loop:wait(time)
  local given, first = self.options, self.timers[1]
  time = math.min(time or math.huge, first and first.due_at or math.huge)
  local seconds = math.max(0, time - given.clock())
  if next(self.transfers) then
    given.wait(self.set, math.min(seconds, longest_wait))
  elseif seconds > 0 and seconds < math.huge then
    given.sleep(seconds)
  end
end

return Loop
