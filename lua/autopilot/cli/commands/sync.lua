--- `autopilot-sync sync`: asks for a sync.

local client = require "autopilot.cli.client"
local options = require "autopilot.cli.options"

--- Adds to a refusal that does not say until when what the tenant's record says.
local function look_up_end(opened, report)
  local status = report.outcome == "cooldown"
    and not report.retry_at
    and opened:status { deadline = 10 }
  if status and status.cooldown_remaining > 0 then
    report.retry_after = status.cooldown_remaining
    report.retry_at = opened.options.now() + status.cooldown_remaining
  end
end

---@type autopilot.cli.Command
return {
  name = "sync",
  summary = "Ask for a sync.",
  description = "Asks Intune to sync the Windows Autopilot devices of a tenant. A request that "
    .. "failed for a passing reason is sent again. Intune accepts one sync in 10 minutes for each "
    .. "tenant, and refuses others in that time (exit code 4).",
  example = "sync --tenant contoso.example --client-id ID \\\n"
    .. "      --client-secret-file secret.txt --wait",
  options = options.tenant .. options.service .. [[
--deadline SECONDS: Stop after this many seconds, retries and pauses included.
--wait: Wait until the sync has completed, an hour at most or as --deadline says.
]],
  run = function(given, context)
    local arguments = { deadline = given.deadline, wait = given.wait }
    return client.run("sync", given, context, arguments, { complete = look_up_end })
  end,
}
