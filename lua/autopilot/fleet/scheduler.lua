--- Runs one coroutine for each tenant that is in progress, all of them in one thread.
--
-- A task yields what it waits for: its `transfer` in the shared set, a moment of the clock (a number),
-- or `parked` when somebody else will wake it. Whoever yields anything else is resumed as soon as the
-- others have had their turn. Only `wait` differs between plain Lua and an event loop.

local Timers = require "autopilot.fleet.timers"

---@class autopilot.fleet.Task one tenant in progress
---@field thread thread
---@field ticket integer grows with each resume, which voids older appointments
---@field transfer any the one that it waits for
---@field is_asleep boolean

---@class autopilot.fleet.Scheduler
---@field current autopilot.fleet.Task? whose code runs now
---@field live integer tasks that have not ended
---@field asleep integer tasks that sleep
---@field flying table<any, autopilot.fleet.Task> by the transfer that they wait for
local Scheduler = {}
Scheduler.__index = Scheduler

--- What a task yields that somebody will wake.
Scheduler.parked = {}

local ended = {}

-- Seconds after which a task is resumed that yielded for reasons of its own.
local shortest_nap = 0.001

-- A wait for transfers is at most so long, in seconds: an interrupt is noticed after it.
local longest_wait = 0.5

-- So many appointments are kept before those are dropped that are void.
local many = 1024

---@class autopilot.fleet.SchedulerWorld
---@field perform fun(task: autopilot.fleet.Task) what a task does; runs in its coroutine
---@field failed fun(task: autopilot.fleet.Task, message: any) it raised, and has ended
---@field clock fun(): number
---@field sleep fun(seconds: number) called when nothing is under way
---@field wait fun(set: any, seconds: number) moves the transfers of the set, at most for so long

---@param world autopilot.fleet.SchedulerWorld
---@return autopilot.fleet.Scheduler
function Scheduler.new(world)
  return setmetatable({
    world = world,
    timers = Timers.new(),
    swept_at = many,
    ready = {}, -- tasks to be resumed, and with what
    ready_count = 0,
    flying = {},
    flying_count = 0,
    idle = {}, -- coroutines that wait for a task
    live = 0,
    asleep = 0,
    current = nil,
    set = nil,
  }, Scheduler)
end

local function work(perform, task)
  while true do
    perform(task)
    task = coroutine.yield(ended)
  end
end

local function note_end(self, task)
  self.live = self.live - 1
  task.thread = nil
end

--- Notes what the task waits for.
local function settle(self, task, is_fine, wanted)
  if not task.thread then
    return -- given up by its own code
  elseif not is_fine then
    note_end(self, task)
    self.world.failed(task, wanted)
  elseif wanted == ended then
    self.idle[#self.idle + 1] = task.thread -- spares the next task the making of one
    note_end(self, task)
  elseif wanted ~= nil and wanted == task.transfer then
    self.flying[wanted], self.flying_count = task, self.flying_count + 1
  elseif wanted ~= Scheduler.parked then
    local is_moment = type(wanted) == "number" and wanted == wanted -- NaN is none
    local moment = is_moment and wanted or self.world.clock() + shortest_nap
    task.is_asleep, self.asleep = true, self.asleep + 1
    self.timers:add(moment, task, task.ticket)
  end
end

local function resume(self, task, value, other)
  local outer = self.current
  self.current, task.ticket = task, task.ticket + 1
  if task.is_asleep then
    task.is_asleep, self.asleep = false, self.asleep - 1
  end
  local is_fine, wanted = coroutine.resume(task.thread, value, other)
  self.current = outer
  settle(self, task, is_fine, wanted)
end

--- Begins with a task; returns when it waits for something or has ended.
---@param task autopilot.fleet.Task
function Scheduler:begin(task)
  local idle_count = #self.idle
  local thread = self.idle[idle_count]
  task.ticket, task.is_asleep = 0, false
  self.live = self.live + 1
  if thread then
    self.idle[idle_count] = nil
    task.thread = thread
    resume(self, task, task)
  else
    task.thread = coroutine.create(work)
    resume(self, task, self.world.perform, task)
  end
end

--- Has the task resumed in this turn or the next, with that value.
---@param task autopilot.fleet.Task
---@param value any
function Scheduler:wake(task, value)
  local count = self.ready_count + 1
  self.ready_count = count
  self.ready[count] = { task = task, ticket = task.ticket, value = value }
end

--- Gives up a task, which never runs again.
---@param task autopilot.fleet.Task
function Scheduler:abandon(task)
  if task.thread then
    task.ticket = task.ticket + 1
    if task.is_asleep then
      task.is_asleep, self.asleep = false, self.asleep - 1
    end
    note_end(self, task)
  end
end

local function is_void(item, ticket)
  return not item.due and not (item.thread and item.ticket == ticket)
end

--- Resumes the running task at that moment, unless it was resumed before. Most are: their appointments
-- may be far ahead, and would keep thousands of tasks that have ended.
---@param moment number of the clock
---@param task autopilot.fleet.Task
function Scheduler:remind(moment, task)
  local timers = self.timers
  if timers.count >= self.swept_at then
    timers:sweep(is_void)
    self.swept_at = math.max(many, 2 * timers.count)
  end
  timers:add(moment, task, task.ticket)
end

--- Forgets all transfers, for their set was closed.
function Scheduler:drop_transfers()
  self.flying, self.flying_count = {}, 0
end

--- Calls `item:due()` at that moment, where the item is no task.
function Scheduler:call_at(moment, item)
  self.timers:add(moment, item)
end

local function resume_ready(self)
  while self.ready_count > 0 do
    local ready, count = self.ready, self.ready_count
    self.ready, self.ready_count = {}, 0
    for index = 1, count do
      local entry = ready[index]
      local task = entry.task
      if
        task.thread
        and entry.ticket == task.ticket
        and not self.flying[task.transfer or false]
      then
        resume(self, task, entry.value)
      end
    end
  end
end

--- Resumes the task whose transfer has finished.
function Scheduler:land(transfer)
  local task = self.flying[transfer]
  if task then
    self.flying[transfer], self.flying_count = nil, self.flying_count - 1
    task.transfer = nil
    if task.thread then
      resume(self, task)
    end
  end
end

local function land_finished(self)
  local set = self.set
  local transfer = set and self.flying_count > 0 and set:take()
  while transfer do
    self:land(transfer)
    transfer = set:take()
  end
end

local function wake_due(self)
  local timers, clock = self.timers, self.world.clock()
  local first = timers:first()
  while first and first <= clock do
    local item, ticket = timers:take()
    if item.due then
      item:due()
    elseif item.thread and item.ticket == ticket then
      resume(self, item)
    end
    first = timers:first()
  end
end

--- Goes on with every task that can go on now.
function Scheduler:turn()
  resume_ready(self)
  land_finished(self)
  wake_due(self)
  resume_ready(self)
end

--- Sends what can be sent at once; waits for nothing.
function Scheduler:push()
  if self.flying_count > 0 then
    self.world.wait(self.set, 0)
  end
end

--- Waits until something can go on, at most until that moment.
---@param moment number? of the clock
function Scheduler:wait(moment)
  local world = self.world
  local first = self.timers:first()
  if first and (not moment or first < moment) then
    moment = first
  end
  if self.ready_count > 0 then
    return
  end
  local seconds = moment and math.max(0, moment - world.clock())
  if self.flying_count > 0 then
    world.wait(self.set, math.min(seconds or longest_wait, longest_wait))
  elseif seconds and seconds > 0 then
    world.sleep(seconds)
  end
end

return Scheduler
