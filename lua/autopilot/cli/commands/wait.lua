--- `autopilot-sync wait`: waits until a sync has completed.

local awaiting = require "autopilot.cli.awaiting"

---@type autopilot.cli.Command
return {
  name = "wait",
  summary = "Wait until a sync has completed.",
  description = "Waits until a sync has completed that was triggered at or after a moment; without "
    .. "one, until the last that was triggered has. Asks for none.",
  declare = function(parser)
    awaiting.declare(parser)
  end,
  run = function(options, context)
    return awaiting.run("wait", options, context, {})
  end,
}
