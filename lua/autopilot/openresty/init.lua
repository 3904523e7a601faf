--- autopilot-sync inside OpenResty, or nginx with its Lua module: the same interface as `autopilot`, for
-- light threads. While one waits, for an answer, a token or a cooldown, the worker serves others.
--
--     local autopilot = require "autopilot.openresty"
--     local client = autopilot.client { token = …, tenant = "contoso" }
--     local report, failure = client:sync()
--
-- This is the only module through which the library meets OpenResty: a script chooses it by loading it.

local phase = require "autopilot.openresty.phase" -- first: it tells where there are no light threads

local answers = require "autopilot.graph.answer"
local autopilot = require "autopilot"
local make_client = require "autopilot.client"
local merged = require "autopilot.base.merged"
local ngx = require "ngx"
local options = require "autopilot.base.options"
local report = require "autopilot.sync.report"
local worker = require "autopilot.openresty.worker"

---@class autopilot.openresty: autopilot
local preset = {}

--- Like ngx.sleep, which counts whole milliseconds, and logs a warning for 0.
local function sleep(seconds)
  ngx.sleep(math.max(seconds, 0.001))
end

--- The report of a call that was not begun, because a light thread cannot wait here.
local function not_begun(client, operation, name, message)
  local answer = answers.kept_back(client, name, message)
  answer.checks = operation == "doctor" and {} or nil
  answer.hint = "Call it in rewrite, access or content, or elsewhere through ngx.timer.at."
  local call = { name = operation, client = client, began = client.options.clock() }
  return report.finish(call, answer, operation == "sync" and {} or nil)
end

--- A method of the client that begins only where it can wait.
local function guarded(method, operation)
  return function(client, given)
    local name, message = phase.obstacle()
    if name then
      return not_begun(client, operation, name, message)
    end
    return method(client, given) -- as a tail call: a mistake is told at the caller's line
  end
end

--- The options, with OpenResty's `sleep` and `wait` as defaults. A value that is not a table is returned
-- unchanged: the function that gets the options raises the error.
local function with_defaults(given, wait)
  return type(given) == "table" and merged({ sleep = sleep, wait = wait }, given) or given
end

--- Makes a client for light threads. Takes what `autopilot.client` takes.
---@param given autopilot.ClientOptions
---@return autopilot.Client
function preset.client(given)
  local client = make_client(with_defaults(given), worker.transport, 3)
  for _, operation in ipairs { "sync", "status", "wait", "ensure", "doctor" } do
    client[operation] = guarded(client[operation], operation)
  end
  return client
end

--- Makes a fleet that runs in one light thread or timer. Takes what `autopilot.fleet` takes.
---@param given autopilot.FleetOptions
---@return autopilot.Fleet? fleet nil when the state file cannot be used
---@return string? message
function preset.fleet(given)
  local filled = with_defaults(given, require("autopilot.openresty.polling").wait)
  local fleet, message = autopilot.fleet(filled, 3) -- no tail call: mistakes are told at the caller's
  return fleet, message
end

local setup_rules = { driver = { type = "string", one_of = { "thread", "polling" } } }

--- Chooses how workers wait for transfers: `thread` (default), beside the event loop, or `polling`, in it.
-- Call it before the first request, best in init_by_lua.
---@param given { driver: ("thread"|"polling")? }
function preset.setup(given)
  local checked = options.check("autopilot.setup", setup_rules, given)
  worker.use(checked.driver or "thread")
end

preset.transport = {
  scripted = autopilot.transport.scripted,
  curl = { new = worker.transport },
}

--- Retries a function of the user; between attempts only the light thread sleeps.
local function run(policy, fn, world)
  return autopilot.retry.run(policy, fn, with_defaults(world == nil and {} or world))
end

preset.retry = setmetatable({ run = run }, { __index = autopilot.retry })

return setmetatable(preset, { __index = autopilot })
