--- `autopilot-sync status`: what the tenant's record says.

local service_options = require "autopilot.cli.service_options"
local status_table = require "autopilot.cli.status_table"
local values = require "autopilot.cli.values"

---@type autopilot.cli.Command
local status = {
  name = "status",
  summary = "Show the last sync, and when the next one is possible.",
  description = "Shows the state and the time of the tenant's last sync, and whether Intune "
    .. "accepts another one now. Changes nothing.",
  example = "status --tenant contoso.example --client-id ID \\\n"
    .. "      --client-secret-file secret.txt",
}

function status.declare(parser)
  service_options.declare(parser)
  local deadline = "Stop after this many seconds, retries and pauses included."
  values.declarer(parser)("--deadline", "SECONDS", deadline, values.seconds)
end

function status.run(options, context)
  local client, mistake = service_options.client(options, context)
  if not client then
    return nil, mistake
  end
  local report, failure = client:status { deadline = options.deadline }
  return service_options.finish(client, report or failure, options, context, status_table.lines)
end

return status
