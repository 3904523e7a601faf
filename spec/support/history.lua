--- A history of calls for one tenant, in virtual time: its clients, their calls, the results and
-- what the network saw, all kept for the judges (`support.certainty`, `support.sharing`).
--
-- The tenant is `support.tenant_model`, the network `support.tenant_network`. Which calls are made, and
-- whether they overlap, is for `support.random_history` and `support.shared_history`.

local Model = require "support.tenant_model"
local Network = require "support.tenant_network"
local autopilot_client = require "autopilot.client"

-- More requests than this in one call mean that it would not have ended.
local most_requests = 1500

---@class support.History
---@field model table
---@field network table
---@field judge table `on_request`, `on_answer`, `on_sleep`, `on_return` and `on_end` look on
---@field clients table[]
---@field calls table[]
---@field call table? the call that is under way just now
local History = {}
History.__index = History

--- A tenant and its network, without clients yet.
---@param choices table see support.choices
---@param judge table
function History.new(choices, judge)
  local model = Model.new(choices)
  return setmetatable({
    model = model,
    network = Network.new(model),
    judge = judge,
    clients = {},
    calls = {},
  }, History)
end

--- A computer's clock: the service's time, less what it is behind, and perhaps drifting or set once.
---@param given { behind: number, drift: number?, step: number, step_at: number } seconds, the drift in each second; step 0: never set
function History:new_clock(given)
  local model, drift = self.model, given.drift or 0
  local behind, step, step_at = given.behind, given.step, given.step_at
  local clock = { is_steady = step == 0 }
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

-- ---- Clients ------------------------------------------------------------------------------------

local function on_request(history, client, request)
  local call = history.call
  request.call = call
  client.requests[#client.requests + 1] = request
  call.requests[#call.requests + 1] = request
  if #call.requests > most_requests then
    error("the call makes requests without end", 0)
  end
  history.judge.on_request(history, request)
end

local function round_up(time)
  return math.ceil(time / Network.grid) * Network.grid
end

local function sleep(history, seconds)
  local model = history.model
  history.call.slept = model.now
  history.judge.on_sleep(history, history.call, seconds)
  model:note("  sleeps %.3f s", seconds)
  model:advance(round_up(model.now + seconds))
end

--- A client for the tenant, with everything that is injected into it.
---@param clock table
---@param settings table its other options
---@return table client
function History:add_client(clock, settings)
  local model, draw = self.model, self.model.choices:unit()
  local client = { number = #self.clients + 1, clock = clock, settings = settings, requests = {} }
  function client.on_request(request)
    on_request(self, client, request)
  end
  function client.on_answer(request)
    self.judge.on_answer(self, request)
  end
  settings.transport = self.network:transport(client)
  function settings.now()
    return clock.shows(model.now)
  end
  function settings.clock()
    return model.now - Model.begin
  end
  function settings.random()
    draw = (draw + 0.618033988749895) % 1
    return draw
  end
  function settings.sleep(seconds)
    sleep(self, seconds)
  end
  client.object = autopilot_client(settings)
  self.clients[client.number] = client
  return client
end

-- ---- Calls --------------------------------------------------------------------------------------

local function described(options)
  local parts = {}
  for _, name in ipairs { "since", "max_age", "wait", "force", "deadline", "timeout" } do
    if options[name] ~= nil then
      parts[#parts + 1] = name .. "=" .. tostring(options[name])
    end
  end
  return table.concat(parts, ", ")
end

--- A call that a client is about to make.
---@return table call
function History:begin_call(client, method, options)
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
  return call
end

--- It has returned this report.
function History:end_call(call, report)
  call.ended, call.report = self.model.now, report
  self.model:note(
    "client %d: %s, delivered %s%s",
    call.client.number,
    tostring(report),
    tostring(report.delivered),
    report.joined and ", joined" or ""
  )
end

return History
