--- `autopilot-sync ensure`: makes true that a sync since a moment has been done.

local awaiting = require "autopilot.cli.awaiting"
local values = require "autopilot.cli.values"

---@type autopilot.cli.Command
return {
  name = "ensure",
  summary = "See to it that a sync has been done since a moment.",
  description = "Makes true that a sync triggered at or after a moment has completed: joins one "
    .. "that runs, waits out the cooldown, or asks for one, as needed. "
    .. "Without a moment: since now.",
  declare = function(parser)
    awaiting.declare(parser)
    local max_age = "A sync that was triggered at most so long ago will do."
    values.declarer(parser)("--max-age", "SECONDS", max_age, values.seconds_or_none)
    parser:flag("--no-wait", "One pass: do what can be done now, and say when to come again.")
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
