--- The one table of outcomes: what the library knows of an outcome by its name.
--
-- How an answer of the service gets its outcome is in `autopilot.graph.answer` and `autopilot.sync.failure`, which
-- outcomes are results is in `autopilot.sync.report`, and the hint of each failure in `autopilot.sync.hint`. Which
-- ones are retried by default is in `autopilot.retry.policy`, which can be used alone.

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
---| "unreachable" # network failure, and nothing was sent
---| "interrupted" # network failure after the request may have been sent
---| "token_error" # no token that fits, and nothing was sent
---| "cancelled" # fleet: the run ended before this tenant was begun
---| "sync_failed" # the awaited sync failed
---| "timed_out" # the awaited sync did not end in the time given

---@class autopilot.OutcomeRow
---@field name autopilot.Outcome
---@field exit integer what the command ends with: the contract with scripts that call it
--- Where the outcome comes from: `tenant`, an answer that the service gives to every client of the
--- tenant; `asker`, one that depends on the token or the network of this client; `record`, no answer to a
--- request for a sync, but the tenant's record; `client`, nothing was sent. Nil: an answer of the service.
---@field source ("tenant"|"asker"|"record"|"client")?
---@field is_passing boolean? a read of the record that failed so may succeed at the next try
---@field is_open boolean? the request may have started a sync, although the answer does not say so
---@field look_again boolean? after a request that ended so, the record may show that a sync was started

-- In the order in which the help of the command lists them.
---@type autopilot.OutcomeRow[]
local rows = {
  { name = "started", exit = 0 },
  { name = "completed", exit = 0, source = "record" },
  { name = "fresh", exit = 0, source = "record" },
  { name = "in_progress", exit = 3, source = "tenant", look_again = true },
  { name = "cooldown", exit = 4, source = "tenant", look_again = true },
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
  { name = "interrupted", exit = 6, is_passing = true, is_open = true, look_again = true },
  { name = "unavailable", exit = 6, is_passing = true, is_open = true },
  { name = "sync_failed", exit = 7, source = "record" },
  { name = "timed_out", exit = 8, source = "record" },
  { name = "cancelled", exit = 9, source = "client" },
}

---@type table<autopilot.Outcome, autopilot.OutcomeRow>
outcome.all = {}
for _, row in ipairs(rows) do
  outcome.all[row.name] = row
end

--- The row of a report's or an answer's outcome; an empty one where it has none, or one that is not known.
---@param answer { outcome: string? }
---@return autopilot.OutcomeRow
function outcome.of(answer)
  return outcome.all[answer.outcome] or {}
end

--- The outcomes with which the command ends in an exit code.
---@param code integer
---@return autopilot.Outcome[]
function outcome.ending_in(code)
  local names = {}
  for _, row in ipairs(rows) do
    names[#names + 1] = row.exit == code and row.name or nil
  end
  return names
end

--- The exit code for a report. A status that was read has no outcome and ends in 0.
---@param report autopilot.Report
---@return integer
function outcome.exit_code(report)
  return outcome.of(report).exit or (report.ok and 0 or 1)
end

return outcome
