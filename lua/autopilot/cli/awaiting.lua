--- What the commands `wait` and `ensure` have in common: a moment, a deadline, progress.

local exit_codes = require "autopilot.cli.exit_codes"
local moment = require "autopilot.cli.moment"
local progress = require "autopilot.cli.progress"
local service_options = require "autopilot.cli.service_options"
local values = require "autopilot.cli.values"

local awaiting = {}

---@param parser table of argparse
function awaiting.declare(parser)
  service_options.declare(parser)
  local option = values.declarer(parser)
  option(
    "--since",
    "TIME",
    "Unix seconds, ISO 8601 with an offset, now, or a time ago such as -90s, -10m, -2h, -1d.",
    moment.converter
  )
  option("--deadline", "SECONDS", "Give up after so long; default: 3600.", values.seconds)
end

--- Runs the client's method of that name.
---@param method "wait"|"ensure"
---@param options table<string, any>
---@param context autopilot.cli.Context
---@param wanted table what is particular to the method
---@return integer? exit_code
---@return string? mistake
function awaiting.run(method, options, context, wanted)
  local client, mistake = service_options.client(options, context)
  if not client then
    return nil, mistake
  end
  local now = (context.now or require("autopilot.core").now)()
  wanted.since = options.since and moment.parse(options.since, now)
  local complaint = wanted.since and moment.complaint(wanted.since, now)
  if complaint then
    client:close()
    return nil, "option '--since' " .. complaint
  end
  wanted.timeout = options.deadline
  local finish
  wanted.on_progress, finish = progress.start(context, options)
  local report, failure = client[method](client, wanted)
  finish()
  client:close()
  context.output:report(report or failure, options)
  return exit_codes.of(report or failure)
end

return awaiting
