--- `autopilot-sync fleet`: an operation for every tenant of a list. How it runs is in `cli/fleet`.

local options = require "autopilot.cli.options"
local run_fleet = require "autopilot.cli.fleet.run"

---@type autopilot.cli.Command
local fleet = {
  name = "fleet",
  summary = "Run sync, ensure, status or wait for every tenant of a list.",
  description = "Runs an operation for every tenant of a list, many tenants at a time, and reports "
    .. "what came of each. FILE has one tenant a line, or is CSV with a header, or JSON Lines. The "
    .. "fields tenant, cloud, client_id, client_secret_file and since are used. A line that is "
    .. "wrong is reported and left out. Ctrl-C waits up to 10 seconds for requests that were sent, "
    .. "and reports them; a second one ends the command at once.",
  example = "fleet tenants.csv --client-id ID \\\n"
    .. "      --client-secret-file secret.txt --state run.db",
  options = [[
--column NAME: The column that has the tenant, where its name is not one of the usual ones.
--operation NAME: What to do for each tenant: sync (default), ensure, status or wait.
--concurrency NUMBER: How many requests may be under way at a time. Default: 64.
--spread DURATION: Begin with the tenants evenly over this time, instead of at once.
--deadline DURATION: Stop after this long. Tenants that were not begun by then are
  reported as cancelled.
--since TIME: With --operation ensure or wait, as for these commands. A tenant's own field since
  comes before it. Default for ensure: when the run began.
--max-age DURATION: With --operation ensure: accept a sync that was triggered at most this long ago,
  instead of --since.
--state FILE: Remember in this file (SQLite) which tenants are done. After a run that did not come
  to its end, the same command goes on with the others. With postgresql://… in place of a file, the
  same command on several machines divides the tenants among them.
--resume-within DURATION: Go on with an earlier run of the --state file only if that began at most
  this long ago; 0 begins anew. Default: 12h.
--report FILE: Write a report of the run to this file, to be read or mailed: who and when, how many
  tenants with each outcome, and those that failed with what to do about them. The name ends with
  .html or .md.
--dry-run: Send nothing but reads of the records: show for each tenant what would be sent, and why.
]] .. options.service,
}

function fleet.declare(parser)
  parser:argument("file", "The list of tenants; - reads it from standard input."):argname "FILE"
end

-- Options, and the operations that they go with.
local limited = {
  { "since", "ensure or wait" },
  { "max_age", "ensure" },
  { "dry_run", "sync or ensure" },
}

--- Refuses options that contradict each other.
local function check(given)
  options.exclude(given, "since", "max_age")
  options.exclude(given, "dry_run", "state")
  for _, limit in ipairs(limited) do
    if given[limit[1]] and not limit[2]:find(given.operation, 1, true) then
      local name = limit[1]:gsub("_", "-")
      options.refuse("option '--%s' goes with --operation %s", name, limit[2])
    end
  end
  if given.resume_within and not given.state then
    options.refuse "option '--resume-within' goes with --state"
  elseif given.file == "-" and given.client_secret_file == "-" then
    options.refuse "standard input cannot be both the list and the secret"
  end
end

function fleet.run(given, context)
  given.operation = given.operation or "sync"
  check(given)
  return run_fleet(given, context)
end

return fleet
