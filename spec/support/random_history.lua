--- A history of consecutive calls: some clients of one tenant, each with its own clock.
--
-- Everything is chosen by the choices, everything happens in virtual time.

local History = require "support.history"
local Model = require "support.tenant_model"
local retry = require "autopilot.retry"

local random_history = {}

-- ---- The world of one client --------------------------------------------------------------------

local function random_clock(history)
  local choices = history.model.choices
  return history:new_clock {
    behind = choices:pick { 0, 0.25, -0.6, 3, -40, 7200, -7200 } + choices:seconds(1),
    drift = choices:pick { 0, 0, 9e-5, -9e-5 },
    step = choices:chance(0.05) and choices:pick { 3600, -3600, 300 } or 0,
    step_at = Model.begin + choices:seconds(1500),
  }
end

local policies = {
  function()
    return nil
  end,
  function()
    return false
  end,
  retry.patient,
  function()
    return retry.policy { on = { interrupted = true }, attempts = 6 }
  end,
  retry.graph,
  function()
    local on = { in_progress = true, cooldown = true, interrupted = true }
    return retry.policy { on = on, base = 1 }
  end,
}

--- Returns the token that is valid, mostly.
local function token_provider(model, likely)
  local choices, kept = model.choices, nil
  return function(ask)
    if likely > 0 and choices:chance(likely) then
      if choices:chance(0.5) then
        error "the provider broke"
      end
      return nil, "no token today"
    end
    if ask.refresh or not kept then
      kept = "token-" .. model.generation
    end
    return kept
  end
end

--- A client for the tenant, with random options.
---@return table client
function random_history.new_client(history)
  local model, choices = history.model, history.model.choices
  local clock, troubles = random_clock(history), choices:pick { 0, 0, 0.15 }
  local client = history:add_client(clock, {
    token = choices:pick { token_provider(model, troubles), "token-1" },
    retry = choices:pick(policies)(),
    recover = not choices:chance(0.1),
    cooldown = choices:chance(0.04) and 0 or nil,
    timeout = choices:pick { { total = 60 }, { total = 5 }, { connect = 1, total = 1.5 } },
  })
  client.has_token_troubles = troubles > 0
  model:note(
    "client %d: clock %+.7f s%s, retry %s, recover %s, timeout %s",
    client.number,
    clock.shows(model.now) - model.now,
    clock.is_steady and "" or ", will be set",
    tostring(client.settings.retry),
    tostring(client.settings.recover),
    tostring(client.settings.timeout.total)
  )
  return client
end

-- ---- Calls --------------------------------------------------------------------------------------

local function random_since(client, model)
  local choices = model.choices
  local age = choices:pick { 0, 0.5, 3, 60, 590, 650, 5000 }
  age = age > 0 and choices:seconds(age) or 0
  return client.clock.shows(model.now) - age
end

local function random_timeout(choices)
  return choices:pick { 900, 0.5, 4, 45, 300, 1800, 3600 }
end

local calls = {}

function calls.sync(choices)
  return {
    deadline = choices:pick { false, false, 0.5, 3, 20, 90, 1300 } or nil,
    wait = choices:chance(0.35),
    force = choices:chance(0.12),
  }
end

function calls.ensure(choices, client, model)
  local options = { wait = not choices:chance(0.25), timeout = random_timeout(choices) }
  local kind = choices:pick { "since", "since", "max_age", "neither" }
  if kind == "since" then
    options.since = random_since(client, model)
  elseif kind == "max_age" then
    options.max_age = choices:seconds(choices:pick { 2, 700, 4000 })
  end
  return options
end

function calls.wait(choices, client, model)
  return {
    timeout = random_timeout(choices),
    since = choices:chance(0.6) and random_since(client, model) or nil,
  }
end

function calls.status(choices)
  return { deadline = choices:chance(0.3) and choices:pick { 1, 8 } or nil }
end

--- One call of a client, with its result.
---@return table call
function random_history.make_call(history, client, method, options)
  local call, object = history:begin_call(client, method, options), client.object
  local ok, report, failed = pcall(object[method], object, options)
  if ok then
    history:end_call(call, report or failed)
  else
    call.ended, call.raised = history.model.now, tostring(report)
    history.model:note("client %d: raised %s", client.number, call.raised)
  end
  return call
end

local function think(history)
  local model, choices = history.model, history.model.choices
  local time = choices:pick { 0, 1, 20, 400, 615, 2500 }
  model:advance(model.now + (time > 0 and choices:seconds(time) or 0))
  if choices:chance(0.1) then
    model.generation = model.generation + 1
    model:note "the token expires"
  end
end

--- Lets a random history happen.
---@param choices table see support.choices
---@param judge table see support.history
---@return support.History
function random_history.run(choices, judge)
  local history = History.new(choices, judge)
  local client = random_history.new_client(history)
  local other = choices:chance(0.15) and random_history.new_client(history)
  for _ = 1, choices:pick { 1, 2, 3, 5 } do
    think(history)
    if other and choices:chance(0.4) then
      client, other = other, client
    elseif choices:chance(0.08) then
      client = random_history.new_client(history) -- another process, which remembers nothing
    end
    local method = choices:pick { "sync", "sync", "ensure", "ensure", "wait", "status" }
    local options = calls[method](choices, client, history.model)
    judge.on_return(history, random_history.make_call(history, client, method, options))
  end
  history.model:finish()
  judge.on_end(history)
  return history
end

return random_history
