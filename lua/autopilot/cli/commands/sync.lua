--- `autopilot-sync sync`: asks for a sync.

local options = require "autopilot.cli.options"
local progress = require "autopilot.cli.progress"

---@type autopilot.cli.Command
local sync = {
  name = "sync",
  summary = "Ask for a sync.",
  description = "Asks Intune to sync the Windows Autopilot devices of a tenant. A request that "
    .. "failed for a passing reason is sent again. Intune accepts one sync in 10 minutes for each "
    .. "tenant, and refuses others in that time (exit code 4).",
  example = "sync --tenant contoso.example --client-id ID \\\n"
    .. "      --client-secret-file secret.txt --wait",
}

function sync.declare(parser)
  options.declare_service(parser)
  local deadline = "Stop after this many seconds, retries and pauses included."
  options.declarer(parser)("--deadline", "SECONDS", deadline, options.seconds)
  parser:flag("--wait", "Wait until the sync has completed, an hour at most or as --deadline says.")
end

--- Adds to a refusal that does not say until when what the tenant's record says.
local function look_up_end(client, failure)
  local status = client:status { deadline = 10 }
  if status and status.cooldown_remaining > 0 then
    failure.retry_after = status.cooldown_remaining
    failure.retry_at = client.options.now() + status.cooldown_remaining
  end
end

function sync.run(given, context)
  local shown = progress.of_waiting(context, given)
  local client, mistake = options.client(given, context, {
    sleep = shown.sleep,
    on_event = context:request_observer(),
  })
  if not client then
    return nil, mistake
  end
  local report, failure = client:sync {
    deadline = given.deadline,
    wait = given.wait,
    on_progress = shown.on_progress,
  }
  shown.erase()
  if failure and failure.outcome == "cooldown" and not failure.retry_at then
    look_up_end(client, failure)
  end
  return options.finish(client, report or failure, given, context)
end

return sync
