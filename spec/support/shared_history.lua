--- A history of calls that overlap: workers of one machine, each with a client of the same tenant, all
-- with one store. Tasks run in virtual time; some are killed in the middle of a call.
--
-- The tenant is `support.tenant_model`, the network `support.tenant_network`; who judges is told of
-- every request and every call that returned.

local Model = require "support.tenant_model"
local Network = require "support.tenant_network"
local autopilot_client = require "autopilot.client"
local memory_store = require "autopilot.store.memory"
local retry = require "autopilot.retry"

local shared_history = {}

local grid = Network.grid

local History = {}
History.__index = History

--- What the clock shows that all clients have in common; it may be set once.
function History:clock()
  local now = self.model.now
  return now - self.behind + (now >= self.step_at and self.step or 0)
end

--- Whether it was set, so that nothing can be said of its times.
function History:was_set()
  return self.step ~= 0 and self.model.now >= self.step_at
end

local function round_up(time)
  return math.ceil(time / grid) * grid
end

--- Makes time pass for a task only when the scheduler comes to it.
local function let_tasks_wait(history)
  local model, pass = history.model, Model.advance
  function model.advance(_, time)
    if history.current then
      coroutine.yield(time)
    else
      pass(model, time)
    end
  end
end

-- ---- The store, which may fail -----------------------------------------------------------------------

local troubles = {}

function troubles.fails()
  return nil, "the store is away"
end

function troubles.raises()
  error "the store broke"
end

function troubles.garbage()
  return "\0\1 {}"
end

function troubles.truth()
  return true
end

--- A store with troubles: each call goes wrong in one of so many ways, as often as is chosen.
local function faulty(store, choices, likely)
  local faulted = {}
  for _, method in ipairs { "add", "get", "set", "delete_if" } do
    faulted[method] = function(_, ...)
      if choices:chance(likely) then
        local kinds = { "fails", "raises", "garbage", "truth" }
        return troubles[choices:pick(kinds)]()
      end
      return store[method](store, ...)
    end
  end
  return faulted
end

-- ---- Clients -----------------------------------------------------------------------------------------

local policies = {
  function()
    return nil
  end,
  function()
    return nil
  end,
  function()
    return false
  end,
  function()
    return retry.policy { on = { interrupted = true }, attempts = 3 }
  end,
}

local function new_client(history)
  local model, choices = history.model, history.model.choices
  local client = { number = #history.clients + 1, requests = {} }
  local draw = choices:unit()
  function client.on_request(request)
    request.call = history.current.call
    table.insert(request.call.requests, request)
    history.judge.on_request(history, request)
  end
  function client.on_answer(request)
    history.judge.on_answer(history, request)
  end
  client.object = autopilot_client {
    tenant = choices:pick { "contoso", "Contoso" },
    store = history.store,
    token = "token-1",
    retry = choices:pick(policies)(),
    timeout = choices:pick { { total = 60 }, { total = 5 }, { connect = 1, total = 1.5 } },
    transport = history.network:transport(client),
    now = function()
      return history:clock()
    end,
    clock = function()
      return model.now - Model.begin
    end,
    random = function()
      draw = (draw + 0.618033988749895) % 1
      return draw
    end,
    sleep = function(seconds)
      assert(seconds >= 0 and seconds < 86400, "a sleep of no length")
      model:advance(round_up(model.now + seconds))
    end,
  }
  history.clients[client.number] = client
  return client
end

-- ---- Calls -------------------------------------------------------------------------------------------

local calls = {}

function calls.sync(choices)
  return {
    deadline = choices:pick { false, false, 1, 8, 60 } or nil,
    wait = choices:chance(0.2),
    force = choices:chance(0.05),
  }
end

function calls.ensure(choices, history)
  local age = choices:pick { 0, 0, 2, 500 }
  return {
    wait = not choices:chance(0.3),
    timeout = choices:pick { 900, 5, 60, 1800 },
    since = history:clock() - choices:seconds(age),
  }
end

function calls.status()
  return {}
end

local function described(options)
  local parts = {}
  for _, name in ipairs { "since", "wait", "force", "deadline", "timeout" } do
    if options[name] ~= nil then
      parts[#parts + 1] = name .. "=" .. tostring(options[name])
    end
  end
  return table.concat(parts, ", ")
end

--- One call of a client, in a task of its own.
local function make_call(history, client, method)
  local model = history.model
  local options = calls[method](model.choices, history)
  local call = {
    client = client,
    method = method,
    options = options,
    began = model.now,
    requests = {},
    since = options.since and model.now - (history:clock() - options.since),
  }
  local seconds = options.deadline or options.timeout
  call.deadline = seconds and model.now + seconds
  history.calls[#history.calls + 1] = call
  model:note("client %d: %s {%s}", client.number, method, described(options))
  history.current.call = call
  local object = client.object
  local report, failed = object[method](object, options)
  call.ended, call.report = model.now, report or failed
  local delivered, joined = tostring(call.report.delivered), tostring(call.report.joined)
  model:note(
    "client %d: %s, delivered %s, joined %s",
    client.number,
    tostring(call.report),
    delivered,
    joined
  )
  history.judge.on_return(history, call)
end

-- ---- Tasks -------------------------------------------------------------------------------------------

function History:add_task(time, dies_at, act)
  self.tasks[#self.tasks + 1] = { wake = time, dies_at = dies_at, thread = coroutine.create(act) }
end

local function next_task(history)
  local first
  for _, task in ipairs(history.tasks) do
    if not task.is_over and (not first or task.wake < first.wake) then
      first = task
    end
  end
  return first
end

--- Lets the tasks run until all are over.
function History:run_tasks()
  local task, turns = next_task(self), 0
  while task do
    turns = turns + 1
    assert(turns < 200000, "the calls do not end")
    self.model:advance(math.max(task.wake, self.model.now))
    if task.wake >= task.dies_at then
      task.is_over = true
      if task.call then
        task.call.died = self.model.now
        self.model:note("client %d dies", task.call.client.number)
      end
    else
      self.current = task
      local ok, wake = coroutine.resume(task.thread)
      self.current = nil
      if not ok then
        error(tostring(wake) .. "\n" .. debug.traceback(task.thread), 0)
      end
      task.is_over = coroutine.status(task.thread) == "dead"
      task.wake = wake or task.wake
    end
    task = next_task(self)
  end
end

--- Lets a random history happen.
---@param choices table see support.choices
---@param judge table `on_request`, `on_answer`, `on_return` and `on_end` look on
---@return table history
function shared_history.run(choices, judge)
  local model = Model.new(choices)
  model.rules.others_every, model.rules.automatic_every = 0, 0
  model.events = {}
  local network = Network.new(model)
  network.rules.ambushes = 0
  local history = setmetatable({
    model = model,
    network = network,
    judge = judge,
    clients = {},
    calls = {},
    tasks = {},
    behind = choices:pick { 0, 0.25, -3, 40, -7200 },
    step = choices:chance(0.08) and choices:pick { 3600, -3600, 300, -20 } or 0,
    step_at = model.now + choices:seconds(90),
    store_fails = choices:pick { 0, 0, 0, 0, 0.02, 0.3, 1 },
  }, History)
  let_tasks_wait(history)
  local store = memory_store {
    now = function()
      return model.now
    end,
  }
  history.store = history.store_fails > 0 and faulty(store, choices, history.store_fails) or store
  model:note("behind %s, the store fails %s", history.behind, history.store_fails)
  if history.step ~= 0 then
    model:note("the clock is set by %d s at +%.3f", history.step, history.step_at - Model.begin)
  end
  local spread = choices:pick { 0.1, 0, 2, 60, 700 }
  for _ = 1, choices:pick { 3, 2, 6, 12 } do
    local client = new_client(history)
    local begin = model.now + choices:seconds(spread)
    local dies_at = choices:chance(0.1) and begin + choices:seconds(10) or math.huge
    local again = choices:chance(0.3)
    history:add_task(begin, dies_at, function()
      make_call(history, client, choices:pick { "sync", "sync", "sync", "ensure", "status" })
      if again then
        model:advance(model.now + choices:seconds(spread + 5))
        make_call(history, client, choices:pick { "sync", "ensure" })
      end
    end)
  end
  history:run_tasks()
  model:finish()
  judge.on_end(history)
  return history
end

return shared_history
