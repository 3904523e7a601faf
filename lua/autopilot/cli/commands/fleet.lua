--- `autopilot-sync fleet`: the same for every tenant of a list. How it runs is in `cli/fleet_run`.

local FleetPlan = require "autopilot.cli.fleet_plan"
local FleetRun = require "autopilot.cli.fleet_run"
local moment = require "autopilot.cli.moment"
local service_options = require "autopilot.cli.service_options"
local values = require "autopilot.cli.values"

---@type autopilot.cli.Command
local fleet = {
  name = "fleet",
  summary = "Do it for every tenant of a list.",
  description = "Runs an operation for every tenant of a list, many at a time, and tells of each "
    .. "how it went. FILE has a name in each line, or is CSV with a header, or JSON Lines; fields: "
    .. "tenant, cloud, client_id, client_secret_file, since. A wrong line is told and left out.",
}

function fleet.declare(parser)
  local option = values.declarer(parser)
  parser:argument("file", "The list; - is standard input."):argname "FILE"
  local column = "The column that has the tenant, where its name is not one of the usual ones."
  option("--column", "NAME", column, values.text)
  local operations = { "sync", "ensure", "status", "wait" }
  option(
    "--operation",
    "NAME",
    "sync (default), ensure, status or wait.",
    values.one_of,
    operations
  )
  local concurrency = "At most so many requests at a time; default: 64."
  option("--concurrency", "NUMBER", concurrency, values.count, 10000)
  option("--spread", "SECONDS", "Spread the starts over so long.", values.seconds)
  local deadline = "End after so long; who was not begun with then is told so."
  option("--deadline", "SECONDS", deadline, values.seconds)
  local since = "As for ensure and wait, for tenants that have none of their own."
  option("--since", "TIME", since, moment.converter)
  option("--max-age", "SECONDS", "As for ensure.", values.seconds_or_none)
  local state = "Keep in this file what is done: the same command goes on where it ended."
  option("--state", "FILE", state, values.text)
  local within = "Go on with a run that began so long ago; default: 43200; 0: never."
  option("--resume-within", "SECONDS", within, values.seconds_or_none)
  service_options.declare(parser, true)
end

--- What is wrong with the options together, or nil.
local function complaint_about(options)
  local operation = options.operation or "sync"
  if options.since and options.max_age then
    return "options '--since' and '--max-age' exclude each other"
  elseif options.since and operation ~= "ensure" and operation ~= "wait" then
    return "option '--since' goes with --operation ensure or wait"
  elseif options.max_age and operation ~= "ensure" then
    return "option '--max-age' goes with --operation ensure"
  elseif options.resume_within and not options.state then
    return "option '--resume-within' goes with --state"
  elseif options.file == "-" and options.client_secret_file == "-" then
    return "standard input cannot be both the list and the secret"
  end
end

function fleet.run(options, context)
  local mistake = complaint_about(options)
  if mistake then
    return nil, mistake
  end
  local plan
  plan, mistake = FleetPlan.prepare(options, context)
  if not plan then
    return nil, mistake
  end
  return FleetRun.new(plan, options, context):go()
end

return fleet
