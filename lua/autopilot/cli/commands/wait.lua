--- `autopilot-sync wait`: waits until a sync has completed. `ensure` shares its options and its way to run.

local client = require "autopilot.cli.client"
local options = require "autopilot.cli.options"
local text = require "autopilot.cli.text"

---@type autopilot.cli.Command
local wait = {
  name = "wait",
  summary = "Wait until a sync has completed.",
  description = "Waits until a sync, by any client, has completed. Does not ask for one.",
  example = "wait --since -10m --deadline 600 --auth managed",
}

--- The options of a command that waits. `default`: what `--since` is when it is not given.
function wait.waiting_options(default)
  return options.tenant
    .. options.service
    .. ([[
--since TIME: A sync counts if it was triggered at this time or later. Unix seconds, ISO 8601 with
  an offset (2026-07-23T11:23:15Z), now, or a time ago (-90s, -10m, -2h, -1d). Default: %s.
--deadline SECONDS: Give up after this many seconds (exit code 8). Default: 3600.
]]):format(default)
end

--- Runs the client's method of that name, with further arguments.
---@param method "wait"|"ensure"
---@return integer exit_code
function wait.run_waiting(method, given, context, arguments)
  local now, complaint = context.now()
  if given.since then
    arguments.since, complaint = text.read_since(given.since, now, now)
  end
  if complaint then
    options.refuse("option '--since' " .. complaint)
  end
  arguments.timeout = given.deadline
  return client.run(method, given, context, arguments)
end

wait.options = wait.waiting_options "the last sync that was triggered"

function wait.run(given, context)
  return wait.run_waiting("wait", given, context, {})
end

return wait
