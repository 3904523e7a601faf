--- `autopilot-sync wait`: waits until a sync has completed. `ensure` shares its options and its way to run.

local client = require "autopilot.cli.client"
local options = require "autopilot.cli.options"
local text = require "autopilot.cli.text"

---@type autopilot.cli.Command
local wait = {
  name = "wait",
  summary = "Wait until a sync has completed.",
  description = "Waits until a sync has completed, whoever asked for it. Does not ask for one.",
  example = "wait --since -10m --deadline 600 --auth managed",
}

--- The options of a command that waits.
---@param default string what `--since` is when it is not given
---@return string
function wait.waiting_options(default)
  return options.tenant
    .. options.service
    .. ([[
--since TIME: A sync counts if it was triggered at this time or later. Unix seconds, ISO 8601 with
  an offset (2026-07-23T11:23:15Z), now, or a time ago (-90s, -10m, -2h, -1d). Default: %s.
--deadline SECONDS: Give up after this many seconds (exit code 8). Default: 3600.
]]):format(default)
end

--- Runs the client's method of that name, with progress on a terminal.
---@param method "wait"|"ensure"
---@param given table<string, any> options of the command
---@param context autopilot.cli.Context
---@param arguments table further arguments of the method
---@return integer? exit_code
---@return string? mistake
function wait.run_waiting(method, given, context, arguments)
  local now = context.now()
  arguments.since = given.since and text.read_time(given.since, now)
  arguments.timeout = given.deadline
  local complaint = arguments.since and text.since_complaint(arguments.since, now)
  if complaint then
    return nil, "option '--since' " .. complaint
  end
  local report, opened = client.run(method, given, context, arguments)
  if not report then
    return nil, opened
  end
  return client.finish(opened, report, given, context)
end

wait.options = wait.waiting_options "the last sync that was triggered"

function wait.run(given, context)
  return wait.run_waiting("wait", given, context, {})
end

return wait
