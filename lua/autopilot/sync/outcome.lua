--- The one table of outcomes: what the library knows of an outcome by its name, and what an administrator can do
-- about it.
--
-- How an answer of the service gets its outcome is in `autopilot.graph.answer` and `autopilot.sync.failure`. Which
-- outcomes are retried by default is in `autopilot.retry.policy`, which can be used alone.

local lazy = require "autopilot.base.lazy"

local dates = lazy "autopilot.base.dates"
local hint_of_failure = lazy "autopilot.graph.hint"

local outcome = {}

---@alias autopilot.Outcome
---| "started" # 204, or the status proves that a sync was triggered
---| "completed" # the awaited sync has completed
---| "fresh" # there was such a sync already, and nothing was requested
---| "in_progress" # 409: a sync is running
---| "cooldown" # 429 without Retry-After, or a cooldown that is known
---| "throttled" # 429 with Retry-After
---| "unauthenticated" # 401
---| "forbidden" # 403, or a 401 that says Forbidden
---| "not_licensed" # no Intune licence, or no MDM authority
---| "not_found" # 404
---| "rejected" # other 4xx
---| "unavailable" # 5xx
---| "redirected" # 3xx, which is never followed
---| "unexpected" # any other answer, and a 4xx that is not Graph's
---| "unreachable" # network failure, and the request was not sent
---| "interrupted" # network failure after the request may have been sent
---| "token_error" # no token that fits, so the request was not sent
---| "cancelled" # fleet: the run ended before this tenant was begun
---| "sync_failed" # the awaited sync failed
---| "timed_out" # the awaited sync did not end in the time given

---@class autopilot.OutcomeRow
---@field name autopilot.Outcome
---@field exit integer what the command ends with, 0 for results: the contract with scripts that call it
--- Where the outcome comes from: `tenant`, an answer that the service gives to every client of the
--- tenant; `asker`, one that depends on the token or the network of this client; `record`, no answer to a
--- request for a sync, but the tenant's record; `client`, nothing was sent. Nil: an answer of the service.
---@field source ("tenant"|"asker"|"record"|"client")?
---@field is_passing boolean? a read of the record that failed so may succeed at the next try

-- In the order in which the help of the command lists them.
---@type autopilot.OutcomeRow[]
local rows = {
  { name = "started", exit = 0 },
  { name = "completed", exit = 0, source = "record" },
  { name = "fresh", exit = 0, source = "record" },
  { name = "in_progress", exit = 3, source = "tenant" },
  { name = "cooldown", exit = 4, source = "tenant" },
  { name = "throttled", exit = 4, source = "tenant", is_passing = true },
  { name = "token_error", exit = 5, source = "client" },
  { name = "unauthenticated", exit = 5, source = "asker" },
  { name = "forbidden", exit = 5, source = "asker" },
  { name = "not_licensed", exit = 5 },
  { name = "rejected", exit = 1 },
  { name = "unexpected", exit = 1, source = "asker" },
  { name = "redirected", exit = 1, source = "asker" },
  { name = "not_found", exit = 1 },
  { name = "unreachable", exit = 6, source = "asker", is_passing = true },
  { name = "interrupted", exit = 6, is_passing = true },
  { name = "unavailable", exit = 6, is_passing = true },
  { name = "sync_failed", exit = 7, source = "record" },
  { name = "timed_out", exit = 8, source = "record" },
  { name = "cancelled", exit = 9, source = "client" },
}

---@type table<autopilot.Outcome, autopilot.OutcomeRow>
outcome.all = {}
for _, row in ipairs(rows) do
  outcome.all[row.name] = row
end

--- The row of a report's or an answer's outcome; an empty one for none or an unknown one.
---@return autopilot.OutcomeRow
function outcome.of(answer)
  return outcome.all[answer.outcome] or {}
end

--- The outcomes with which the command ends in an exit code.
function outcome.ending_in(code)
  local names = {}
  for _, row in ipairs(rows) do
    names[#names + 1] = row.exit == code and row.name or nil
  end
  return names
end

--- The exit code for a report. A status that was read has no outcome and ends in 0.
function outcome.exit_code(report)
  return outcome.of(report).exit or (report.ok and 0 or 1)
end

local hints = {
  in_progress = "A sync is already running: wait for it to end. It may not include devices that "
    .. "were imported after it began.",
  cooldown = "The service usually accepts one sync in 10 minutes for each tenant, from all clients "
    .. "together: ask again when that time is over.",
  throttled = "The service is throttling this client: ask again after the time it names.",
  token_error = "The token provider gave no token: see the error.",
  unauthenticated = "The service refused the token: check that it is an access token, not a "
    .. "secret, and its audience, tenant and expiry.",
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
  cancelled = "Nothing was asked of the service: the run ended before this tenant was begun.",
}

local hint_of_stuck = "A sync is in progress, and none has completed since one was triggered "
  .. "%s ago: it may be stuck. If it does not end, open a support case with the request-id."

--- Returns the hint of a report: the one that it has already, else that a sync may be stuck, else one for its error,
-- its network failure or its outcome.
function outcome.hint_of(report)
  return report.hint
    or report.stuck_for and hint_of_stuck:format(dates.duration(report.stuck_for))
    or hint_of_failure(report.outcome, report.error, report.network)
    or hints[report.outcome]
end

return outcome
