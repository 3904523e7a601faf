--- Runs one coroutine for each tenant in progress, all of them in one thread.
--
-- A task yields what it waits for: its `transfer` in the shared set, a time of the clock (a number), or
-- `parked` when other code will wake it. A task that yields anything else, as code of the user may do, is
-- resumed after `shortest_sleep`. Only the function `wait` differs between plain Lua and an event loop.

local Timers = require "autopilot.fleet.timers"

---@class autopilot.fleet.Task one tenant in progress
---@field thread thread? nil: it has not begun, has ended or was abandoned
---@field ticket integer grows with each resume; timers and wake-ups with an older ticket are void
---@field transfer any the one that it waits for
---@field is_asleep boolean

---@class autopilot.fleet.Loop
---@field current autopilot.fleet.Task? whose code runs now
---@field set any? the transfer set
---@field live integer tasks that have begun and not ended
---@field asleep integer tasks that wait for a time
---@field package transfers table<any, autopilot.fleet.Task> the task that waits for each
local Loop = {}
Loop.__index = Loop

--- What a task yields that other code will wake.
Loop.parked = {}

local ended = {}

-- Seconds after which a task is resumed that yielded for reasons of its own.
local shortest_sleep = 0.001

-- Seconds of one wait for transfers at most, so that an interrupt is noticed.
local longest_wait = 0.5

-- Number of timers above which void ones are taken out.
local many_timers = 1024

---@class autopilot.fleet.LoopWorld
---@field perform fun(task: autopilot.fleet.Task) what a task does; runs in its coroutine
---@field failed fun(task: autopilot.fleet.Task, message: any) called when it raised, and so has ended
---@field clock fun(): number
---@field sleep fun(seconds: number) called when there is no transfer
---@field wait fun(set: any, seconds: number) moves the transfers of the set, at most for so long

---@param world autopilot.fleet.LoopWorld
---@return autopilot.fleet.Loop
function Loop.new(world)
  return setmetatable({
    world = world,
    timers = Timers.new(),
    sweep_at = many_timers,
    ready = {}, -- tasks to resume: { task, ticket, value }
    transfers = {},
    transfer_count = 0,
    idle = {}, -- coroutines whose task has ended, for further tasks
    live = 0,
    asleep = 0,
  }, Loop)
end

local function run_tasks(perform, task)
  while true do
    perform(task)
    task = coroutine.yield(ended)
  end
end

--- Notes that a task has ended or was abandoned. Its coroutine may still be used for other tasks.
local function note_end(self, task)
  self.live = self.live - 1
  task.thread = nil
end

--- Notes what the task waits for.
local function note_yield(self, task, is_fine, wanted)
  if not task.thread then
    return -- its own code has abandoned it
  elseif not is_fine then
    note_end(self, task)
    self.world.failed(task, wanted)
  elseif wanted == ended then
    self.idle[#self.idle + 1] = task.thread
    note_end(self, task)
  elseif wanted ~= nil and wanted == task.transfer then
    self.transfers[wanted], self.transfer_count = task, self.transfer_count + 1
  elseif wanted ~= Loop.parked then
    local is_time = type(wanted) == "number" and wanted == wanted -- not NaN
    local time = is_time and wanted or self.world.clock() + shortest_sleep
    task.is_asleep, self.asleep = true, self.asleep + 1
    self.timers:add(time, task, task.ticket)
  end
end

local function note_awake(self, task)
  task.ticket = task.ticket + 1
  if task.is_asleep then
    task.is_asleep, self.asleep = false, self.asleep - 1
  end
end

local function resume(self, task, ...)
  local outer = self.current
  self.current = task
  note_awake(self, task)
  local is_fine, wanted = coroutine.resume(task.thread, ...)
  self.current = outer
  note_yield(self, task, is_fine, wanted)
end

--- Begins a task; returns when it waits for something or has ended.
---@param task autopilot.fleet.Task
function Loop:begin(task)
  task.thread = table.remove(self.idle)
  self.live = self.live + 1
  if task.thread then
    return resume(self, task, task)
  end
  task.thread = coroutine.create(run_tasks)
  resume(self, task, self.world.perform, task)
end

--- Has a task resumed soon, with that value as the result of its `yield`. A task that waits for a transfer
-- is not resumed before that has ended.
---@param task autopilot.fleet.Task
---@param value any
function Loop:wake(task, value)
  self.ready[#self.ready + 1] = { task = task, ticket = task.ticket, value = value }
end

--- Gives up a task: it is never resumed again.
---@param task autopilot.fleet.Task
function Loop:abandon(task)
  if task.thread then
    note_awake(self, task)
    note_end(self, task)
  end
end

local function is_void(item, ticket)
  return not item.due and not (item.thread and item.ticket == ticket)
end

--- Resumes the running task at that time, unless it is resumed before. Most are, long before: hence void
-- timers are taken out now and then, which would keep tasks in memory that have ended.
---@param time number of the clock
---@param task autopilot.fleet.Task
function Loop:remind(time, task)
  local timers = self.timers
  if timers.count >= self.sweep_at then
    timers:sweep(is_void)
    self.sweep_at = math.max(many_timers, 2 * timers.count)
  end
  timers:add(time, task, task.ticket)
end

--- Calls `item:due()` at that time.
---@param time number of the clock
---@param item table not a task
function Loop:call_at(time, item)
  self.timers:add(time, item)
end

local function resume_ready(self)
  while #self.ready > 0 do
    local ready = self.ready
    self.ready = {}
    for _, entry in ipairs(ready) do
      local task = entry.task
      if not is_void(task, entry.ticket) and not task.transfer then
        resume(self, task, entry.value)
      end
    end
  end
end

--- Resumes the task that waits for a transfer, which has finished.
local function finish(self, transfer)
  local task = self.transfers[transfer]
  if task then
    self.transfers[transfer], self.transfer_count = nil, self.transfer_count - 1
    task.transfer = nil
    if task.thread then
      resume(self, task)
    end
  end
end

local function finish_transfers(self)
  local set = self.transfer_count > 0 and self.set
  local transfer = set and set:take()
  while transfer do
    finish(self, transfer)
    transfer = set:take()
  end
end

--- Ends all transfers, and resumes their tasks.
function Loop:discard_transfers()
  local list = {}
  for transfer in pairs(self.transfers) do
    list[#list + 1] = transfer
  end
  for _, transfer in ipairs(list) do
    self.set:discard(transfer)
    finish(self, transfer)
  end
end

--- Forgets all transfers, because their set was closed.
function Loop:forget_transfers()
  self.transfers, self.transfer_count = {}, 0
end

local function run_timers(self)
  local timers, clock = self.timers, self.world.clock()
  local first = timers:first()
  while first and first <= clock do
    local item, ticket = timers:take()
    if item.due then
      item:due()
    elseif not is_void(item, ticket) then
      resume(self, item)
    end
    first = timers:first()
  end
end

--- Resumes every task that can go on now.
function Loop:step()
  resume_ready(self)
  finish_transfers(self)
  run_timers(self)
  resume_ready(self)
end

--- Sends what can be sent at once, without waiting.
function Loop:send()
  if self.transfer_count > 0 then
    self.world.wait(self.set, 0)
  end
end

--- Waits until a task may be able to go on, at most until that time.
---@param time number? of the clock
function Loop:wait(time)
  if #self.ready > 0 then
    return
  end
  local world, first = self.world, self.timers:first()
  if first and (not time or first < time) then
    time = first
  end
  local seconds = time and math.max(0, time - world.clock())
  if self.transfer_count > 0 then
    world.wait(self.set, math.min(seconds or longest_wait, longest_wait))
  elseif seconds and seconds > 0 then
    world.sleep(seconds)
  end
end

return Loop
