--- What an administrator can do about a failure: the hint of its report.

local dates = require("autopilot.base.lazy") "autopilot.base.dates"
local hint_of = require "autopilot.graph.hint"

local hints = {
  in_progress = "A sync is already running: wait for it to end. It may not include devices that "
    .. "were imported after it began.",
  cooldown = "The service accepts one sync in 10 minutes for each tenant, from all clients "
    .. "together: ask again when that time is over.",
  throttled = "The service is throttling this client: ask again after the time it names.",
  token_error = "No token could be had: see what its provider said.",
  unauthenticated = "The service refused the token: check its audience, tenant and expiry.",
  forbidden = "Grant the application DeviceManagementServiceConfig.ReadWrite.All with admin "
    .. "consent; a signed-in user also needs an Intune role.",
  not_licensed = "The tenant has no Intune licence, or Intune is not its MDM authority.",
  rejected = "The service refused the request: see the error it gave.",
  unexpected = "The answer is not the service's: check for a captive portal or a proxy in between.",
  redirected = "The answer is a redirect, which is never followed: check base_url and proxies.",
  not_found = "The service does not know this address: check base_url and api_version.",
  unreachable = "The service could not be reached and the request was not sent: check network, DNS "
    .. "and certificates.",
  interrupted = "The connection broke after the request may have been sent: a sync may "
    .. "have started.",
  unavailable = "The service failed: ask again later.",
  sync_failed = "The service says that the sync failed: ask for another.",
  timed_out = "The sync did not finish in the time given; it may still.",
  cancelled = "Nothing was asked of the service: the run ended before this tenant was begun with.",
}

local hint_of_stuck = "A sync is in progress, and none has completed since one was triggered "
  .. "%s ago: it may be stuck. If it does not end, open a support case with the request-id."

--- Returns the hint of a report: the one that it has already, else that a sync may be stuck, else one for its error,
-- its network failure or its outcome.
---@param report autopilot.Report
---@return string? hint
return function(report)
  return report.hint
    or report.stuck_for and hint_of_stuck:format(dates.duration(report.stuck_for))
    or hint_of(report.outcome, report.error, report.network)
    or hints[report.outcome]
end
