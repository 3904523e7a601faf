--- `autopilot-sync ensure`: makes sure that a sync since a given time has completed.

local options = require "autopilot.cli.options"
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
  declare = function(parser)
    wait.declare_waiting(parser, "now")
    local max_age = "Accept a sync that was triggered at most this many seconds ago, instead of "
      .. "--since."
    options.declarer(parser)("--max-age", "SECONDS", max_age, options.seconds_or_zero)
    local no_wait = "Do not wait for anything: ask for a sync if Intune accepts one now, and "
      .. "report what came of it, or when to try again."
    parser:flag("--no-wait", no_wait)
  end,
  run = function(given, context)
    if given.since and given.max_age then
      return nil, "options '--since' and '--max-age' exclude each other"
    end
    return wait.run_waiting("ensure", given, context, {
      max_age = given.max_age,
      wait = not given.no_wait,
    })
  end,
}
