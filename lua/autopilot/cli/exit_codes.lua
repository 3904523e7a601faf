--- How the command ends for each outcome: the contract with scripts that call it.

local exit_codes = {}

local by_outcome = {
  started = 0,
  completed = 0,
  fresh = 0,
  rejected = 1,
  unexpected = 1,
  redirected = 1,
  not_found = 1,
  in_progress = 3,
  cooldown = 4,
  throttled = 4,
  token_error = 5,
  unauthenticated = 5,
  forbidden = 5,
  not_licensed = 5,
  unreachable = 6,
  interrupted = 6,
  unavailable = 6,
  sync_failed = 7,
  timed_out = 8,
}

--- For `--help`.
exit_codes.help = [[
Exit codes:
   0  started, completed, fresh; the status was read
   1  rejected, unexpected, redirected, not_found; an internal error
   2  wrong usage
   3  in_progress
   4  cooldown, throttled
   5  token_error, unauthenticated, forbidden, not_licensed
   6  unreachable, interrupted, unavailable
   7  sync_failed
   8  timed_out
   9  fleet: some tenants failed
 130  interrupted by Ctrl-C]]

--- The exit code of a report: 0 for a result (a status that was read has no outcome).
---@param report autopilot.Report
---@return integer
function exit_codes.of(report)
  return by_outcome[report.outcome] or (report.ok and 0 or 1)
end

return exit_codes
