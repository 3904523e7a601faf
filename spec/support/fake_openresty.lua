--- A world in which autopilot's OpenResty modules run without nginx: light threads are coroutines, time is
-- virtual, and what nginx offers is faked as far as these modules use it.
--
-- What only real nginx can tell is tried in real nginx.

local fake = {}

--- Modules that get the fakes.
local function is_ours(name)
  return type(name) == "string"
    and (name:find "^autopilot%.openresty" or name == "autopilot.transport.curl")
end

local faked = { "ngx", "ngx.semaphore", "autopilot.core" }

---@class autopilot.spec.FakeOpenresty
---@field ngx table
---@field core table the C module, with some of it replaced
---@field now number virtual seconds
---@field nginx_time number `now` as nginx has read it, before it resumed the present light thread
---@field phase string
---@field log string[]
---@field threads table[] light threads: { resume_at =, coroutine =, is_killed = }
local World = {}
World.__index = World

--- Lets a light thread wait; true when it was woken before its time was over.
local function wait(world, seconds)
  local thread = world.running
  thread.resume_at, thread.is_woken = world.nginx_time + seconds, false
  coroutine.yield()
  return thread.is_woken
end

local Semaphore = {}
Semaphore.__index = Semaphore

function Semaphore:post()
  self.count = self.count + 1
  if self.waiter then
    self.waiter.resume_at, self.waiter.is_woken = self.world.now, true
  end
end

function Semaphore:wait(seconds)
  if self.count == 0 then
    self.waiter = self.world.running
    wait(self.world, seconds)
    self.waiter = nil
  end
  if self.count == 0 then
    return nil, "timeout"
  end
  self.count = self.count - 1
  return true
end

--- Begins a light thread; what it returns is in `results` when it has ended.
function World:spawn(action, ...)
  local thread = { resume_at = self.now, coroutine = coroutine.create(action), arguments = { ... } }
  self.threads[#self.threads + 1] = thread
  return thread
end

local function resume(world, thread)
  world.running, world.nginx_time = thread, world.now
  local arguments = thread.arguments or {}
  thread.arguments = nil
  local results = { coroutine.resume(thread.coroutine, arguments[1], arguments[2]) }
  if not results[1] then
    error(results[2], 0)
  end
  if coroutine.status(thread.coroutine) == "dead" then
    thread.has_ended, thread.results = true, { results[2], results[3] }
    thread.ended_at = world.now
  end
end

local function next_thread(world)
  local earliest
  for _, thread in ipairs(world.threads) do
    local can_run = not thread.has_ended and not thread.is_killed
    if can_run and (not earliest or thread.resume_at < earliest.resume_at) then
      earliest = thread
    end
  end
  return earliest
end

--- Runs light threads until all have ended or so many seconds are over.
function World:run(seconds)
  local ends = self.now + (seconds or 1000)
  local thread = next_thread(self)
  while thread and thread.resume_at <= ends do
    self.now = math.max(self.now, thread.resume_at)
    resume(self, thread)
    thread = next_thread(self)
  end
  self.now = thread and ends or self.now
end

--- Runs an action as a light thread to its end; what it returns.
function World:call(action, ...)
  local thread = self:spawn(action, ...)
  self:run()
  assert(thread.has_ended, "the light thread never ended")
  return thread.results[1], thread.results[2]
end

local function make_ngx(world)
  return {
    worker = {
      exiting = function()
        return world.is_exiting
      end,
    },
    WARN = "warn",
    NOTICE = "notice",
    get_phase = function()
      return world.phase
    end,
    sleep = function(seconds)
      world.slept[#world.slept + 1] = seconds
      wait(world, seconds)
    end,
    update_time = function()
      world.nginx_time = world.now
    end,
    log = function(level, ...)
      world.log[#world.log + 1] = level .. ": " .. table.concat { ... }
    end,
    timer = {
      at = function(seconds, action, ...)
        world:spawn(action, false, ...).resume_at = world.now + seconds
        return true
      end,
    },
    socket = {
      tcp = function()
        return world.new_socket()
      end,
    },
  }
end

--- Puts the fakes in place of what is loaded. To be undone by `remove`.
---@param core table? replacements of the C module's functions
---@return autopilot.spec.FakeOpenresty
function fake.install(core)
  local world = setmetatable({
    now = 100,
    nginx_time = 100,
    phase = "content",
    log = {},
    slept = {},
    threads = {},
    loaded = {},
  }, World)
  world.core = setmetatable(core or {}, { __index = require "autopilot.core" })
  world.core.clock = rawget(world.core, "clock") or function()
    return world.now
  end
  world.ngx = make_ngx(world)
  for name, module in pairs(package.loaded) do
    if is_ours(name) then
      world.loaded[name] = module
    end
  end
  for _, name in ipairs(faked) do
    world.loaded[name] = package.loaded[name] or false
  end
  for name in pairs(world.loaded) do
    package.loaded[name] = nil
  end
  package.loaded["ngx"] = world.ngx
  package.loaded["autopilot.core"] = world.core
  package.loaded["ngx.semaphore"] = {
    new = function()
      return setmetatable({ world = world, count = 0 }, Semaphore)
    end,
  }
  return world
end

--- Puts back what was there.
function World:remove()
  for name in pairs(package.loaded) do
    if is_ours(name) then
      package.loaded[name] = nil
    end
  end
  for name, module in pairs(self.loaded) do
    package.loaded[name] = module or nil
  end
end

return fake
