--- Calls for one tenant that overlap in virtual time: each is a task, which sleeps as a light thread does.

local new_client = require "autopilot.client"
local overlay = require "support.overlay"
local scripted = require "autopilot.transport.scripted"
local stores = require "autopilot.store"
local world = require "support.virtual_world"

---@class support.OverlappingCalls
---@field time number Unix seconds
---@field store autopilot.Store which all clients share
---@field transport function answers from one list, once `serve` was called
---@field slow number seconds that each request takes
local OverlappingCalls = {}
OverlappingCalls.__index = OverlappingCalls

local overlapping_calls = { start = world.start }

--- What the service says where it starts a sync.
overlapping_calls.started = {
  status = 204,
  headers = { ["Date"] = world.date(world.start), ["request-id"] = "the-service's" },
}

---@return support.OverlappingCalls
function overlapping_calls.new()
  local self = setmetatable({ time = world.start, tasks = {}, slow = 0.5 }, OverlappingCalls)
  function self.now()
    return self.time
  end
  self.store = stores.memory { now = self.now }
  return self
end

--- Lets others run meanwhile; only in a task.
function OverlappingCalls:sleep(seconds)
  coroutine.yield(self.time + seconds)
end

--- Adds a task; its results are kept in what is returned.
---@return { results: table, ended: number, is_killed: boolean? }
function OverlappingCalls:spawn(act)
  local task = { wake = self.time }
  task.thread = coroutine.create(function()
    task.results = { act() }
    task.ended = self.time
  end)
  self.tasks[#self.tasks + 1] = task
  return task
end

--- Runs all tasks to their ends, but those that are killed.
function OverlappingCalls:run()
  local turns = 0
  while true do
    local first
    for _, task in ipairs(self.tasks) do
      local is_alive = not task.is_killed and coroutine.status(task.thread) ~= "dead"
      if is_alive and (not first or task.wake < first.wake) then
        first = task
      end
    end
    if not first then
      return
    end
    turns = turns + 1
    assert(turns < 1e6, "the tasks do not end")
    self.time = math.max(self.time, first.wake)
    local ok, wake = coroutine.resume(first.thread)
    assert(ok, wake)
    first.wake = wake or self.time + 0.001 -- who only yields goes on soon
  end
end

--- All requests are answered from this list, one after the other.
---@param answers table as for the scripted transport
---@return autopilot.ScriptedTransport
function OverlappingCalls:serve(answers)
  self.transport = scripted(answers)
  return self.transport
end

--- A client of the tenant.
---@param given table? options of the client
function OverlappingCalls:client(given)
  local options = {
    token = "good",
    tenant = "contoso",
    store = self.store,
    now = self.now,
    clock = self.now,
    sleep = function(seconds)
      self:sleep(seconds)
    end,
    random = function()
      return 0
    end,
    transport = function(request)
      self:sleep(self.slow)
      return self.transport(request)
    end,
  }
  overlay(options, given)
  return new_client(options)
end

--- So many calls of `sync` at once; their tasks.
---@param count integer
---@param given table? options of the clients
---@param options table? of the calls
function OverlappingCalls:calls(count, given, options)
  local begun = {}
  for number = 1, count do
    begun[number] = self:spawn(function()
      return self:client(given):sync(options)
    end)
  end
  return begun
end

--- The report of a task that made a call.
function overlapping_calls.report_of(task)
  return task.results[1] or task.results[2]
end

return overlapping_calls
