--- `autopilot-sync ensure`: makes sure that a sync since a given time has completed.

local refuse = require("autopilot.cli.options").refuse
local wait = require "autopilot.cli.commands.wait"

---@type autopilot.cli.Command
return {
  name = "ensure",
  summary = "Make sure that a sync since a given time has completed.",
  description = "Makes sure that a sync which was triggered at or after a given time has "
    .. "completed, so that it covers every device imported before that time. A sync that counts is "
    .. "not asked for again, but awaited. Otherwise the command waits until Intune accepts a sync, "
    .. "asks for it, and waits until it has completed.",
  example = "ensure --since 2026-07-23T11:23:15Z --auth managed",
  options = wait.waiting_options "now"
    .. [[
--max-age SECONDS: Accept a sync that was triggered at most this many seconds ago, instead of
  --since.
--no-wait: Do not wait for anything: ask for a sync if Intune accepts one now, and report what came
  of it, or when to try again.
]],
  run = function(given, context)
    if given.since and given.max_age then
      refuse "options '--since' and '--max-age' exclude each other"
    end
    local arguments = { max_age = given.max_age, wait = not given.no_wait }
    return wait.run_waiting("ensure", given, context, arguments)
  end,
}
