--- `autopilot-sync wait`: waits until a sync has completed.

local awaiting = require "autopilot.cli.awaiting"

---@type autopilot.cli.Command
return {
  name = "wait",
  summary = "Wait until a sync has completed.",
  description = "Waits until a sync has completed, whoever asked for it. Does not ask for one.",
  example = "wait --since -10m --deadline 600 --auth managed",
  declare = function(parser)
    awaiting.declare(parser, "the last sync that was triggered")
  end,
  run = function(options, context)
    return awaiting.run("wait", options, context, {})
  end,
}
