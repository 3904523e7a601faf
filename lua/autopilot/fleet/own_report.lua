--- Reports of the fleet's own: for a tenant that was never begun with, and for code that raised.

local redact = require "autopilot.base.redact"
local report = require "autopilot.sync.report"
local sentence = require "autopilot.base.sentence"

local own_report = {}

local longest_message = 490 -- characters

local messages = {
  DEADLINE = "the deadline passed before this tenant was done",
  CANCELLED = "the run was cancelled before this tenant was done",
}

-- Operations that wait for something to happen: for them the time has run out.
local awaits = { wait = true, ensure = true }

-- Failures of requests that were not sent, by which the end of a run shows.
local ends_of_run = { CANCELLED = true, CLOSED = true, DEADLINE = true }

--- For a tenant for which nothing was sent.
---@param id string?
---@param operation string
---@param name "DEADLINE"|"CANCELLED"
---@return autopilot.Report
function own_report.not_begun(id, operation, name)
  return report.seal {
    operation = operation,
    outcome = "cancelled",
    tenant = id,
    delivered = operation ~= "status" and operation ~= "wait" and "no" or nil,
    answered_by = "client",
    gave_up = name == "DEADLINE" and "deadline" or "not_retryable",
    hint = "Nothing was asked of the service: " .. messages[name] .. ".",
    elapsed = 0,
  }
end

--- For a tenant whose task was given up when the run was cancelled or its time was over.
---@param task autopilot.fleet.Task
---@param operation string
---@param name "DEADLINE"|"CANCELLED"
---@param elapsed number
---@return autopilot.Report
function own_report.given_up(task, operation, name, elapsed)
  local made = own_report.not_begun(task.id, operation, name)
  if task.has_posted then
    made.outcome, made.delivered, made.answered_by = "interrupted", "unknown", nil
    made.network = {
      stage = "receive",
      name = name,
      message = messages[name],
      timeout = name == "DEADLINE",
      delivered = "unknown",
    }
  elseif name == "DEADLINE" and awaits[operation] then
    made.outcome = "timed_out"
  end
  if made.outcome ~= "cancelled" then
    made.hint = nil
    report.seal(made)
  end
  made.elapsed = elapsed
  return made
end

--- A report of the run's end: it tells of a tenant whose request was not sent any more that the run had ended,
-- and not that the service could not be reached.
---@param task autopilot.fleet.Task
---@param of_client autopilot.Report what the client made of it
---@return autopilot.Report
function own_report.of_run_end(task, of_client)
  local outcome, network, steps = of_client.outcome, of_client.network, of_client.steps or {}
  local was_not_sent = outcome == "unreachable" or (outcome == "timed_out" and not steps[1])
  if network and was_not_sent and ends_of_run[network.name] and not task.has_posted then
    of_client.outcome, of_client.network = "cancelled", nil
    of_client.hint = "Nothing was asked of the service: " .. network.message .. "."
  end
  return of_client
end

--- For a tenant of which the run's state cannot be read: it may be done, or asked for, already.
---@param id string
---@param operation string
---@param message string one clause about the file: `it is …`
---@return autopilot.Report
function own_report.state_unread(id, operation, message)
  return report.seal {
    operation = operation,
    outcome = "unexpected",
    tenant = id,
    delivered = operation ~= "status" and operation ~= "wait" and "unknown" or nil,
    answered_by = "client",
    error = { message = "the state file: " .. message },
    hint = "The state file could not be read, so this tenant may be done already: nothing was "
      .. "asked of the service.",
    elapsed = 0,
  }
end

--- For code that is not ours and raised, or returned no report.
---@param task autopilot.fleet.Task
---@param operation string
---@param message any
---@param elapsed number
---@return autopilot.Report
function own_report.of_mistake(task, operation, message, elapsed)
  local text = "an error that is a " .. type(message)
  if type(message) == "string" then
    -- The place in our own files at which an option was refused helps nobody.
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

return own_report
