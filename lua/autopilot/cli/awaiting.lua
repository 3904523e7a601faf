--- What the commands `wait` and `ensure` have in common: a moment, a deadline, progress.

local moment = require "autopilot.cli.moment"
local progress = require "autopilot.cli.progress"
local service_options = require "autopilot.cli.service_options"
local values = require "autopilot.cli.values"

local awaiting = {}

---@param parser table of argparse
---@param default string what `--since` is when it is not given
function awaiting.declare(parser, default)
  service_options.declare(parser)
  local option = values.declarer(parser)
  local since = "A sync counts if it was triggered at this time or later. Unix seconds, ISO 8601 "
    .. "with an offset (2026-07-23T11:23:15Z), now, or a time ago (-90s, -10m, -2h, -1d). Default: "
    .. default
    .. "."
  option("--since", "TIME", since, moment.converter)
  local deadline = "Give up after this many seconds (exit code 8). Default: 3600."
  option("--deadline", "SECONDS", deadline, values.seconds)
end

--- Runs the client's method of that name.
---@param method "wait"|"ensure"
---@param options table<string, any>
---@param context autopilot.cli.Context
---@param wanted table what is particular to the method
---@return integer? exit_code
---@return string? mistake
function awaiting.run(method, options, context, wanted)
  local shown = progress.of_waiting(context, options)
  local client, mistake = service_options.client(options, context, { sleep = shown.sleep })
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
  wanted.on_progress = shown.on_progress
  local report, failure = client[method](client, wanted)
  shown.erase()
  return service_options.finish(client, report or failure, options, context)
end

return awaiting
