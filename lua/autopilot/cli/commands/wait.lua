--- `autopilot-sync wait`: waits until a sync has completed. `ensure` shares its options and its way to run.

local options = require "autopilot.cli.options"
local progress = require "autopilot.cli.progress"
local text = require "autopilot.cli.text"

---@type autopilot.cli.Command
local wait = {
  name = "wait",
  summary = "Wait until a sync has completed.",
  description = "Waits until a sync has completed, whoever asked for it. Does not ask for one.",
  example = "wait --since -10m --deadline 600 --auth managed",
}

--- Adds the options of a command that waits.
---@param parser table of argparse
---@param default string what `--since` is when it is not given
function wait.declare_waiting(parser, default)
  options.declare_service(parser)
  local option = options.declarer(parser)
  local since = "A sync counts if it was triggered at this time or later. Unix seconds, ISO 8601 "
    .. "with an offset (2026-07-23T11:23:15Z), now, or a time ago (-90s, -10m, -2h, -1d). Default: "
    .. default
    .. "."
  option("--since", "TIME", since, options.time)
  local deadline = "Give up after this many seconds (exit code 8). Default: 3600."
  option("--deadline", "SECONDS", deadline, options.seconds)
end

--- Runs the client's method of that name, with progress on a terminal.
---@param method "wait"|"ensure"
---@param given table<string, any> options of the command
---@param context autopilot.cli.Context
---@param wanted table further arguments of the method
---@return integer? exit_code
---@return string? mistake
function wait.run_waiting(method, given, context, wanted)
  local shown = progress.of_waiting(context, given)
  local client, mistake = options.client(given, context, {
    sleep = shown.sleep,
    on_event = method == "ensure" and context:request_observer() or nil,
  })
  if not client then
    return nil, mistake
  end
  local now = context.now()
  wanted.since = given.since and text.read_time(given.since, now)
  local complaint = wanted.since and text.since_complaint(wanted.since, now)
  if complaint then
    client:close()
    return nil, "option '--since' " .. complaint
  end
  wanted.timeout = given.deadline
  wanted.on_progress = shown.on_progress
  local report, failure = client[method](client, wanted)
  shown.erase()
  return options.finish(client, report or failure, given, context)
end

function wait.declare(parser)
  wait.declare_waiting(parser, "the last sync that was triggered")
end

function wait.run(given, context)
  return wait.run_waiting("wait", given, context, {})
end

return wait
