--- The client that options and environment describe, and how the commands for one tenant use it.
--
-- `given` are the options of the command.

local merged = require "autopilot.base.merged"
local outcome = require "autopilot.sync.outcome"
local progress = require "autopilot.cli.progress"
local refuse = require("autopilot.cli.options").refuse
local sign_in = require "autopilot.cli.sign_in"

local client = {}

--- The store that several processes share, or nil.
local function store_of(given, context)
  local place, origin = context:find(given, "store")
  if not place then
    return nil
  end
  local is_open, opened = pcall(require("autopilot.store").open, place)
  if not is_open then
    refuse(("%s must be a file, redis[s]://… or postgresql://…"):format(origin))
  end
  return opened
end

-- What fails beside the requests, by the event of a client or a fleet that tells it.
local failures = {
  store_failed = "nothing is shared with others: ",
  state_error = "the state cannot be used now: ",
}

--- Says, the first time, that a store or a state has failed, and why. For the option `on_event`.
function client.complain_of(event, context)
  local failure = failures[event.type]
  if failure and not context.complained_of[event.type] then
    context.complained_of[event.type] = true
    context.output:complain(failure .. event.message)
  end
end

--- The options of a client, but for its token, as the command line and the environment give them.
---@return autopilot.ClientOptions
function client.describe(given, context)
  local ca_file, timeout, attempts = context:find(given, "ca_file"), given.timeout, given.attempts
  return {
    tenant = context:find(given, "tenant"),
    base_url = context:find(given, "base_url"),
    http = ca_file and { ca_file = ca_file },
    store = store_of(given, context),
    on_event = function(event)
      client.complain_of(event, context)
    end,
    cloud = given.cloud,
    timeout = timeout and { total = timeout, connect = math.min(10, timeout) },
    retry = attempts and require("autopilot.retry").policy { attempts = attempts },
    transport = context.transport,
    sleep = context.sleep,
    clock = context.clock,
    now = context.now,
    random = context.random,
  }
end

--- Makes a client. What is wrong with one of its options is told by the name that the user knows.
---@param described autopilot.ClientOptions
function client.make(described, given, context)
  local made, result = pcall(require "autopilot.client", described)
  if made then
    return result
  end
  local name, wrong = tostring(result):match "autopilot%.client: option '([%w_.]+)' (.*)$"
  local value, origin = context:find(given, name and name:gsub("^http%.", "") or "")
  if not value then
    error(result, 0)
  end
  refuse(("%s %s"):format(origin, (wrong:gsub(" %(got string%)$", ""))))
end

--- The client that options and environment describe; `own` are the client's options that the command adds.
function client.open(given, context, own)
  local token = sign_in.open(given, context)
  context:report_termination()
  local described = merged(client.describe(given, context), { token = token }, own)
  return client.make(described, given, context)
end

--- Prints the report of a command, and returns the exit code for it. `lines_of` is as for `Output:report`.
function client.finish(report, given, context, lines_of)
  local tenant, origin = context:find(given, "tenant")
  if tenant and report.error and report.error.code == "TenantMismatch" then
    local cure = origin == "--tenant" and "name the one of the token" or "unset it"
    local hint = "The tenant was named by %s: %s, or sign in to that tenant."
    report.hint = hint:format(origin, cure)
  end
  context.output:report(report, given, lines_of)
  return outcome.exit_code(report)
end

--- Runs a command that is a method of the client, with progress on a terminal where it may wait. Returns the exit
-- code.
---@param command autopilot.cli.Command
function client.run(command, given, context)
  local arguments = command.arguments(given, context)
  local shown = command.name ~= "status" and progress.of_waiting(context, given) or {}
  local function on_event(event)
    client.complain_of(event, context)
    if event.type == "attempt" and command.asks_for_sync then
      context.if_interrupted = "the request for a sync may have been sent"
    end
  end
  local opened = client.open(given, context, { sleep = shown.sleep, on_event = on_event })
  arguments.on_progress = shown.on_progress
  local report, failure = opened[command.name](opened, arguments)
  report = report or failure
  if command.complete then
    command.complete(report, opened)
  end
  opened:close()
  return client.finish(report, given, context, command.lines)
end

return client
