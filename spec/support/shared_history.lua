--- A history of calls for one tenant that overlap: workers of one machine, each with a client of its own and all with
-- one store, or with one client and no store. Tasks run in virtual time; some are killed in the middle of a call.

local History = require "support.history"
local Model = require "support.tenant_model"
local memory_store = require "autopilot.store.memory"
local retry = require "autopilot.retry"

local shared_history = {}

--- Makes time pass for a task only when the scheduler comes to it.
local function let_tasks_wait(history)
  local model, pass = history.model, Model.advance
  function model.advance(_, time)
    if history.is_in_task then
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
  local choices = history.model.choices
  return history:add_client(history.clock, {
    tenant = choices:pick { "contoso", "Contoso" },
    store = history.store,
    token = "token-1",
    retry = choices:pick(policies)(),
    timeout = choices:pick { { total = 60 }, { total = 5 }, { connect = 1, total = 1.5 } },
  })
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
    since = history.clock.shows(history.model.now) - choices:seconds(age),
  }
end

function calls.status()
  return {}
end

--- One call of a client, in a task.
local function make_call(history, client, method)
  local options = calls[method](history.model.choices, history)
  local call, object = history:begin_call(client, method, options), client.object
  local report, failed = object[method](object, options)
  history:end_call(call, report or failed)
  history.judge.on_return(history, call)
end

-- ---- Tasks -------------------------------------------------------------------------------------------

local function add_task(history, time, dies_at, act)
  local task = { wake = time, dies_at = dies_at, thread = coroutine.create(act) }
  history.tasks[#history.tasks + 1] = task
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

--- Lets a task go on until it sleeps, or ends.
local function resume(history, task)
  history.is_in_task, history.call = true, task.call
  local ok, wake = coroutine.resume(task.thread)
  task.call, history.is_in_task, history.call = history.call, false, nil
  if not ok then
    error(tostring(wake) .. "\n" .. debug.traceback(task.thread), 0)
  end
  task.is_over = coroutine.status(task.thread) == "dead"
  task.wake = wake or task.wake
end

local function kill(history, task)
  task.is_over = true
  if task.call then
    task.call.died = history.model.now
    history.model:note("client %d dies", task.call.client.number)
  end
end

--- Lets the tasks run until all are over.
local function run_tasks(history)
  local task, turns = next_task(history), 0
  while task do
    turns = turns + 1
    assert(turns < 200000, "the calls do not end")
    history.model:advance(math.max(task.wake, history.model.now))
    if task.wake >= task.dies_at then
      kill(history, task)
    else
      resume(history, task)
    end
    task = next_task(history)
  end
end

--- The store that all clients share.
local function new_store(history, choices)
  history.store_fails = choices:pick { 0, 0, 0, 0, 0.02, 0.3, 1 }
  local store = memory_store {
    now = function()
      return history.model.now
    end,
  }
  return history.store_fails > 0 and faulty(store, choices, history.store_fails) or store
end

--- A history in which no call has been made yet.
local function begin(choices, judge, has_one_client)
  local history = History.new(choices, judge)
  local model = history.model
  model.rules.others_every, model.rules.automatic_every = 0, 0
  model.events = {}
  history.network.rules.ambushes = 0
  history.tasks = {}
  let_tasks_wait(history)
  local behind = choices:pick { 0, 0.25, -3, 40, -7200 }
  local step = choices:chance(0.08) and choices:pick { 3600, -3600, 300, -20 } or 0
  local step_at = model.now + choices:seconds(90)
  history.clock = history:new_clock { behind = behind, step = step, step_at = step_at }
  if has_one_client then
    history.store_fails = 1 -- calls know nothing of each other's requests until their answers come
    history.only_client = new_client(history)
  else
    history.store = new_store(history, choices)
  end
  model:note("behind %s, the store fails %s", behind, history.store_fails)
  if step ~= 0 then
    model:note("the clock is set by %d s at +%.3f", step, step_at - Model.begin)
  end
  return history
end

--- Lets a random history happen.
---@param choices table see support.choices
---@param judge table see support.history
---@param has_one_client boolean? all calls are of one client, which has no store
---@return support.History
function shared_history.run(choices, judge, has_one_client)
  local history = begin(choices, judge, has_one_client)
  local model = history.model
  local spread = choices:pick { 0.1, 0, 2, 60, 700 }
  for _ = 1, choices:pick { 3, 2, 6, 12 } do
    local client = history.only_client or new_client(history)
    local begins = model.now + choices:seconds(spread)
    local dies_at = choices:chance(0.1) and begins + choices:seconds(10) or math.huge
    local again = choices:chance(0.3)
    add_task(history, begins, dies_at, function()
      make_call(history, client, choices:pick { "sync", "sync", "sync", "ensure", "status" })
      if again then
        model:advance(model.now + choices:seconds(spread + 5))
        make_call(history, client, choices:pick { "sync", "ensure" })
      end
    end)
  end
  run_tasks(history)
  model:finish()
  judge.on_end(history)
  return history
end

return shared_history
