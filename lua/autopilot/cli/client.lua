--- The client that options and environment describe, and how the commands for one tenant use it.
--
-- `given` are the options of the command.

local lazy = require "autopilot.base.lazy"
local merged = require "autopilot.base.merged"
local outcome = require "autopilot.sync.outcome"
local progress = require "autopilot.cli.progress"
local protected_call = require "autopilot.base.protected_call"
local refuse = require("autopilot.cli.options").refuse
local sign_in = require "autopilot.cli.sign_in"

local dry_run = lazy "autopilot.cli.dry_run"

local client = {}

local function store_of(given, context)
  local place, origin = context:find(given, "store")
  if not place then
    return nil
  end
  local is_open, opened = protected_call(require("autopilot.store").open, place)
  if not is_open then
    refuse("%s %s", origin, opened:match "must .*")
  end
  return opened
end

-- Failures other than those of requests, by the event of a client or a fleet.
local failures = {
  store_failed = "nothing is shared with others: ",
  state_error = "the state cannot be used now: ",
}

--- An event as a line for `--verbose`.
local function words_of(event, has_several)
  local line, fields = event.text, {}
  for name, value in pairs(event) do
    local shown = type(value) == "number" and ("%.4g"):format(value) or tostring(value)
    local is_detail = name ~= "type" and name ~= "tenant"
    fields[#fields + 1] = is_detail and ("%s %s"):format(name, shown) or nil
  end
  table.sort(fields)
  line = line or ("* %s: %s"):format(event.type, table.concat(fields, ", "))
  return has_several and event.tenant and event.tenant .. " " .. line or line
end

--- Prints an event: a failure of the store or state, the first time; with `--verbose`, every event. For the
-- option `on_event`.
function client.tell(event, context)
  local failure = failures[event.type]
  if failure and not context.complained_of[event.type] then
    context.complained_of[event.type] = true
    context.output:complain(failure .. event.message)
  end
  if context.is_verbose then
    context:note(words_of(event, context.has_several))
  end
end

--- The options of a client, except its token, from the command line and the environment.
---@return autopilot.ClientOptions
function client.describe(given, context)
  local timeout, attempts, proxy = given.timeout, given.attempts, given.proxy
  return {
    tenant = context:find(given, "tenant"),
    base_url = context:find(given, "base_url"),
    http = {
      ca_file = context:find(given, "ca_file"),
      proxy = proxy == "none" and "" or proxy,
    },
    store = store_of(given, context),
    on_event = function(event)
      client.tell(event, context)
    end,
    trace = given.verbose,
    cloud = given.cloud,
    cooldown = given.cooldown,
    timeout = timeout and { total = timeout, connect = math.min(10, timeout) },
    retry = attempts and require("autopilot.retry").policy { attempts = attempts },
    transport = context.transport,
    sleep = context.sleep,
    clock = context.clock,
    now = context.now,
    random = context.random,
  }
end

--- Makes a client. An error about one of its options names the command's option.
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
  wrong = wrong:gsub("option '(%l+)'", "--%1"):gsub(" ''$", " 'none'")
  refuse("%s %s", origin, wrong)
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

-- What the message of an interrupt says of the requests for a sync: of all requests, the latest of these sentences.
local left_open = {
  "no sync was asked for",
  "the request for a sync was refused",
  "the request for a sync may have been sent",
  "a sync was started",
}
local may_be_sent = 3
-- The sentence for a request that has ended, by its outcome; for the other outcomes `may_be_sent`.
local left_by = { unreachable = 1, in_progress = 2, cooldown = 2, throttled = 2, started = 4 }

--- Runs a command that is a method of the client, with progress on a terminal where it may wait. Returns the exit
-- code.
---@param command autopilot.cli.Command
function client.run(command, given, context)
  local arguments = command.arguments and command.arguments(given, context)
    or { deadline = given.deadline }
  local shown = command.name ~= "status" and progress.of_waiting(context, given) or {}
  local reached, is_post = 1, false
  context.if_interrupted = left_open[reached]
  local function on_event(event)
    client.tell(event, context)
    if event.type == "attempt" then
      is_post = event.method == "POST"
      context.if_interrupted = left_open[is_post and math.max(reached, may_be_sent) or reached]
    elseif event.type == "response" and is_post then
      reached = math.max(reached, left_by[event.outcome] or may_be_sent)
      context.if_interrupted = left_open[reached]
    end
  end
  local opened = client.open(given, context, { sleep = shown.sleep, on_event = on_event })
  local report, lines_of
  if given.dry_run then
    report, lines_of = dry_run.of(opened, command.name, arguments), dry_run.lines
  else
    arguments.on_progress = shown.on_progress
    local answer, failure = opened[command.name](opened, arguments)
    report, lines_of = answer or failure, command.lines
    if command.complete then
      command.complete(report, opened, given)
    end
  end
  opened:close()
  return client.finish(report, given, context, lines_of)
end

return client
