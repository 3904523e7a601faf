--- `autopilot-sync status`: what the tenant's record says.

local service_options = require "autopilot.cli.service_options"
local status_table = require "autopilot.cli.status_table"
local values = require "autopilot.cli.values"

---@type autopilot.cli.Command
local status = {
  name = "status",
  summary = "Show the last sync, and whether another may be asked for.",
  description = "Shows what the service tells of the tenant's last sync, and from when on the next "
    .. "one may be asked for. Changes nothing.",
}

function status.declare(parser)
  service_options.declare(parser)
  local deadline = "All attempts and waits together end after so long."
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
