--- `autopilot-sync sync`, `wait` and `ensure`: ask for a sync, wait for one, or do either as needed.

local options = require "autopilot.cli.options"

--- The options of a command that waits. `%s` is what `--since` is by default.
local waiting_options = [[
--since TIME: A sync counts if it was triggered at this time or later. Unix seconds, ISO 8601 with
  an offset (2026-07-23T11:23:15Z), now, or a time ago (-90s, -10m, -2h, -1d). Default: %s.
--deadline DURATION: Give up after this long (exit code 8). Default: 1h.
]]

local dry_run_option = [[
--dry-run: Send nothing but a read of the record: show what would be sent, and why. Ends in the
  exit code that is to be expected.
]]

--- The arguments of the client's method that these options give.
local function waiting_arguments(given, context)
  local now = context.now()
  return { since = options.since(given, now, now), timeout = given.deadline }
end

---@type autopilot.cli.Command
local sync = {
  name = "sync",
  summary = "Ask for a sync.",
  description = "Asks Intune to sync the Windows Autopilot devices of a tenant. A request that "
    .. "failed for a passing reason is sent again. Intune accepts one sync in 10 minutes for each "
    .. "tenant, and refuses others in that time (exit code 4).",
  example = "sync --tenant contoso.example --client-id ID \\\n"
    .. "      --client-secret-file secret.txt --wait",
  options = [[
--wait: Wait until the sync has completed, an hour at most or as --deadline says.
--deadline DURATION: Stop after this long, retries and pauses included.
]] .. dry_run_option .. options.one_tenant,
}

function sync.arguments(given)
  return { deadline = given.deadline, wait = given.wait }
end

--- Adds the end of the cooldown, from the tenant's record, to a refusal that does not have it.
function sync.complete(report, client, given)
  local left = math.min(10, (given.deadline or math.huge) - report.elapsed)
  local is_wanted = report.outcome == "cooldown" and not report.retry_at and left > 0
  local status = is_wanted and client:status { deadline = left }
  if status and status.cooldown_remaining > 0 then
    report.retry_after = status.cooldown_remaining
    report.retry_at = client.options.now() + status.cooldown_remaining
  end
end

---@type autopilot.cli.Command
local wait = {
  name = "wait",
  summary = "Wait until a sync has completed.",
  description = "Waits until a sync, by any client, has completed. Does not ask for one.",
  example = "wait --since -10m --deadline 600 --auth managed",
  options = waiting_options:format "the last sync that was triggered" .. options.one_tenant,
  arguments = waiting_arguments,
}

---@type autopilot.cli.Command
local ensure = {
  name = "ensure",
  summary = "Make sure that a sync since a given time has completed.",
  description = "Makes sure that a sync which was triggered at or after a given time has "
    .. "completed, so that it covers every device imported before that time. A sync that counts is "
    .. "not asked for again, but awaited. Otherwise the command waits until Intune accepts a sync, "
    .. "asks for it, and waits until it has completed. It ends at once (exit code 4) if Intune "
    .. "accepts none before the deadline.",
  example = "ensure --since 2026-07-23T11:23:15Z --auth managed",
  options = waiting_options:format "now"
    .. [[
--max-age DURATION: Accept a sync that was triggered at most this long ago, instead of --since.
--no-wait: Do not wait for anything: ask for a sync if Intune accepts one now, and report what came
  of it, or when to try again.
]]
    .. dry_run_option
    .. options.one_tenant,
}

function ensure.arguments(given, context)
  options.exclude(given, "since", "max_age")
  local arguments = waiting_arguments(given, context)
  arguments.max_age, arguments.wait = given.max_age, not given.no_wait
  return arguments
end

return { sync = sync, wait = wait, ensure = ensure }
