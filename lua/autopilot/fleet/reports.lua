--- Reports that a fleet makes itself, without a client: for tenants that were not begun with, or whose
-- code raised.

local redact = require "autopilot.base.redact"
local report = require "autopilot.sync.report"
local sentence = require "autopilot.base.sentence"

local reports = {}

local longest_message = 490 -- characters

---@alias autopilot.fleet.RunEnd "DEADLINE"|"CANCELLED" why a run ended before all tenants were done

local messages = {
  DEADLINE = "the deadline passed before this tenant was done",
  CANCELLED = "the run was cancelled before this tenant was done",
}

-- Names of network failures (`fleet.wire`) that come from the end of a run.
local ends_of_run = { CANCELLED = true, CLOSED = true, DEADLINE = true }

--- `delivered` of an operation, which says nothing where no sync is asked for.
local function delivered(operation, value)
  return operation ~= "status" and operation ~= "wait" and value or nil
end

local function nothing_asked(message)
  return "Nothing was asked of the service: " .. message .. "."
end

--- For a tenant that was not begun with when the run ended.
---@param id string?
---@param operation string
---@param why autopilot.fleet.RunEnd
---@return autopilot.Report
function reports.not_begun(id, operation, why)
  return report.seal {
    operation = operation,
    outcome = "cancelled",
    tenant = id,
    delivered = delivered(operation, "no"),
    answered_by = "client",
    gave_up = why == "DEADLINE" and "deadline" or "not_retryable",
    hint = nothing_asked(messages[why]),
    elapsed = 0,
  }
end

--- For a tenant that was given up when the run ended.
---@param task autopilot.fleet.Task
---@param operation string
---@param why autopilot.fleet.RunEnd
---@param elapsed number
---@return autopilot.Report
function reports.given_up(task, operation, why, elapsed)
  local made = reports.not_begun(task.id, operation, why)
  if task.has_posted then
    made.outcome, made.delivered, made.answered_by = "interrupted", "unknown", nil
    made.network = {
      stage = "receive",
      name = why,
      message = messages[why],
      timeout = why == "DEADLINE",
      delivered = "unknown",
    }
  elseif why == "DEADLINE" and (operation == "wait" or operation == "ensure") then
    made.outcome = "timed_out"
  end
  made.elapsed = elapsed
  if made.outcome == "cancelled" then
    return made
  end
  made.hint = nil
  return report.seal(made)
end

--- Changes a client's report that came after the end of the run: a request that was not sent because of that
-- end does not mean that the service could not be reached.
---@param task autopilot.fleet.Task
---@param of_client autopilot.Report
---@return autopilot.Report of_client
function reports.after_run_end(task, of_client)
  local outcome, network, steps = of_client.outcome, of_client.network, of_client.steps or {}
  local was_not_sent = outcome == "unreachable" or (outcome == "timed_out" and not steps[1])
  if network and was_not_sent and ends_of_run[network.name] and not task.has_posted then
    of_client.outcome, of_client.network = "cancelled", nil
    of_client.hint = nothing_asked(network.message)
  end
  return of_client
end

--- For a tenant whose state cannot be read: it may be done, or asked for, already.
---@param id string
---@param operation string
---@param message string one clause about the state file: `it is …`
---@return autopilot.Report
function reports.state_unread(id, operation, message)
  return report.seal {
    operation = operation,
    outcome = "unexpected",
    tenant = id,
    delivered = delivered(operation, "unknown"),
    answered_by = "client",
    error = { message = "the state file: " .. message },
    hint = "The state file could not be read, so this tenant may be done already: nothing was "
      .. "asked of the service.",
    elapsed = 0,
  }
end

--- For a tenant for which the user's code raised, or returned no report.
---@param task autopilot.fleet.Task
---@param operation string
---@param message any what was raised
---@param elapsed number
---@return autopilot.Report
function reports.of_mistake(task, operation, message, elapsed)
  local text = "an error that is a " .. type(message)
  if type(message) == "string" then
    -- Where an option was refused, the message begins with a place in our own files: that is left out.
    text = redact.text(message:match ":%d+: (autopilot%.client: .*)$" or message, { task.token })
  end
  return report.seal {
    operation = operation,
    outcome = "unexpected",
    tenant = task.id,
    delivered = task.has_posted and "unknown" or "no",
    answered_by = "client",
    error = { message = sentence.clean(text, longest_message) or "an error without a message" },
    hint = "The code for this tenant failed: see the error. The other tenants are not affected.",
    elapsed = elapsed,
  }
end

return reports
