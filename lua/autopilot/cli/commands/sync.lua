--- `autopilot-sync sync`: asks for a sync.

local exit_codes = require "autopilot.cli.exit_codes"
local service_options = require "autopilot.cli.service_options"
local values = require "autopilot.cli.values"

---@type autopilot.cli.Command
local sync = {
  name = "sync",
  summary = "Ask for a sync.",
  description = "Asks for a sync of the tenant's Windows Autopilot devices, once more where that "
    .. "can help.",
}

function sync.declare(parser)
  service_options.declare(parser)
  parser
    :option("--deadline", "All attempts and waits together end after so long.")
    :argname("SECONDS")
    :convert(values.seconds "--deadline")
end

function sync.run(options, context)
  local client, mistake = service_options.client(options, context, function(event)
    if event.type == "attempt" then
      context.if_interrupted = "the request for a sync may have been sent"
    end
  end)
  if not client then
    return nil, mistake
  end
  local report, failure = client:sync { deadline = options.deadline }
  client:close()
  context.output:report(report or failure, options)
  return exit_codes.of(report or failure)
end

return sync
