--- `autopilot-sync ensure`: makes true that a sync since a moment has been done.

local awaiting = require "autopilot.cli.awaiting"
local values = require "autopilot.cli.values"

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
    awaiting.declare(parser, "now")
    local max_age = "Accept a sync that was triggered at most this many seconds ago, instead of "
      .. "--since."
    values.declarer(parser)("--max-age", "SECONDS", max_age, values.seconds_or_none)
    local no_wait = "Do not wait for anything: ask for a sync if Intune accepts one now, and "
      .. "report what came of it, or when to try again."
    parser:flag("--no-wait", no_wait)
  end,
  run = function(options, context)
    if options.since and options.max_age then
      return nil, "options '--since' and '--max-age' exclude each other"
    end
    return awaiting.run("ensure", options, context, {
      max_age = options.max_age,
      wait = not options.no_wait,
    })
  end,
}
