--- A history: some clients of one tenant, each with a clock of its own, and the calls they make.
--
-- Everything is chosen by the choices, everything happens in virtual time. What was called, what came
-- of it and what the network saw is kept for whoever judges (`support.certainty`).

local Model = require "support.tenant_model"
local Network = require "support.tenant_network"
local autopilot_client = require "autopilot.client"
local retry = require "autopilot.retry"

local random_history = {}

-- More requests than this in one call mean that it would not have ended.
local most_requests = 1500

-- ---- The world of one client --------------------------------------------------------------------

--- The client's Unix time: the service's, less what it is behind, and perhaps drifting or set once.
local function random_clock(choices, model)
  local behind = choices:pick { 0, 0.25, -0.6, 3, -40, 7200, -7200 } + choices:seconds(1)
  local drift = choices:pick { 0, 0, 9e-5, -9e-5 }
  local step = choices:chance(0.05) and choices:pick { 3600, -3600, 300 } or 0
  local step_at = Model.begin + choices:seconds(1500)
  local clock = { drift = drift, is_steady = step == 0 }
  --- What it shows at a moment of the service's clock.
  function clock.shows(time)
    return time - behind + drift * (time - Model.begin) + (time >= step_at and step or 0)
  end
  --- The moment at which it shows, set as it is now, that time.
  function clock.moment(shown)
    local stepped = model.now >= step_at and step or 0
    local moment = (shown + behind - stepped + drift * Model.begin) / (1 + drift)
    return drift == 0 and moment or moment - 1e-6 -- a number of this size is exact to 2.4e-7
  end
  function clock.was_set_between(from, to)
    return step ~= 0 and from < step_at and step_at <= to
  end
  return clock
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

--- Hands out the token that is valid, mostly.
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

local function round_up(time)
  return math.ceil(time / Network.grid) * Network.grid
end

--- A client for the tenant, with everything that is injected into it.
local function new_client(history)
  local model, choices = history.model, history.model.choices
  local clock = random_clock(choices, model)
  local client = { clock = clock, number = #history.clients + 1, requests = {} }
  local draw = choices:unit()
  function client.on_request(request)
    client.requests[#client.requests + 1] = request
    history:on_request(client, request)
  end
  function client.on_answer(request)
    history.judge.on_answer(history, client, request)
  end
  local troubles = choices:pick { 0, 0, 0.15 }
  client.has_token_troubles = troubles > 0
  client.settings = {
    token = choices:pick { token_provider(model, troubles), "token-1" },
    retry = choices:pick(policies)(),
    recover = not choices:chance(0.1),
    cooldown = choices:chance(0.04) and 0 or nil,
    timeout = choices:pick { { total = 60 }, { total = 5 }, { connect = 1, total = 1.5 } },
    transport = history.network:transport(client),
    now = function()
      return clock.shows(model.now)
    end,
    clock = function()
      return model.now - Model.begin
    end,
    random = function()
      draw = (draw + 0.618033988749895) % 1
      return draw
    end,
    sleep = function(seconds)
      history:on_sleep(client, seconds)
      model:note("  sleeps %.3f s", seconds)
      model:advance(round_up(model.now + seconds))
    end,
  }
  client.object = autopilot_client(client.settings)
  history.clients[client.number] = client
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

local function described(options)
  local parts = {}
  for _, name in ipairs { "since", "max_age", "wait", "force", "deadline", "timeout" } do
    if options[name] ~= nil then
      parts[#parts + 1] = name .. "=" .. tostring(options[name])
    end
  end
  return table.concat(parts, ", ")
end

local History = {}
History.__index = History

function History:on_request(client, request)
  local call = self.call
  request.call = call
  call.requests[#call.requests + 1] = request
  if #call.requests > most_requests then
    error("the call makes requests without end", 0)
  end
  self.judge.on_request(self, client, call, request)
end

function History:on_sleep(client, seconds)
  self.call.slept = self.model.now
  self.judge.on_sleep(self, client, self.call, seconds)
end

--- One call of a client: as it was, and what came of it.
function History:make_call(client, method, options)
  local model = self.model
  local call = {
    client = client,
    method = method,
    options = options,
    began = model.now,
    requests = {},
    sleeps = {}, -- when they began
    since = options.since and client.clock.moment(options.since)
      or method == "ensure" and model.now - (options.max_age or 0)
      or nil,
  }
  local seconds = options.deadline
    or options.timeout
    or (method == "ensure" or method == "wait") and 3600
  call.deadline = seconds and model.now + seconds or nil
  self.call = call
  self.calls[#self.calls + 1] = call
  model:note("client %d: %s {%s}", client.number, method, described(options))
  local object = client.object
  local ok, report, failed = pcall(object[method], object, options)
  call.ended = model.now
  if not ok then
    call.raised = tostring(report)
    model:note("client %d: raised %s", client.number, call.raised)
    return call
  end
  call.report = report or failed
  local delivered = tostring(call.report.delivered)
  model:note("client %d: %s, delivered %s", client.number, tostring(call.report), delivered)
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

--- A tenant and its network, without clients yet.
---@param choices table see support.choices
---@param judge table `on_request`, `on_answer`, `on_sleep`, `on_return` and `on_end` look on
---@return table history
function random_history.begin(choices, judge)
  local model = Model.new(choices)
  return setmetatable({
    model = model,
    network = Network.new(model),
    clients = {},
    calls = {},
    judge = judge,
  }, History)
end

--- A client of it.
random_history.new_client = new_client

--- Lets a random history happen.
---@return table history
function random_history.run(choices, judge)
  local history = random_history.begin(choices, judge)
  local client = new_client(history)
  local other = choices:chance(0.15) and new_client(history)
  for _ = 1, choices:pick { 1, 2, 3, 5 } do
    think(history)
    if other and choices:chance(0.4) then
      client, other = other, client
    elseif choices:chance(0.08) then
      client = new_client(history) -- another process, which remembers nothing
    end
    local method = choices:pick { "sync", "sync", "ensure", "ensure", "wait", "status" }
    local options = calls[method](choices, client, history.model)
    judge.on_return(history, history:make_call(client, method, options))
  end
  history.model:finish()
  judge.on_end(history)
  return history
end

return random_history
