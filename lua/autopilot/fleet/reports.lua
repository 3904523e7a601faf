--- Reports that a fleet makes itself, without a client: for tenants that were not begun, or whose
-- code raised.

local redact = require "autopilot.base.redact"
local report = require "autopilot.sync.report"
local sentence = require "autopilot.base.sentence"

--- They get the fleet (`autopilot.Fleet`) and a task of it, and return an `autopilot.Report`.
local reports = {}

local longest_message = 490 -- characters

local messages = {
  DEADLINE = "the deadline passed before this tenant was done",
  CANCELLED = "the run was cancelled before this tenant was done",
}

-- Names of network failures (`fleet.wire`) that come from the end of a run.
local ends_of_run = { CANCELLED = true, CLOSED = true, DEADLINE = true }

local function not_requested_hint(message)
  return "No sync was requested: " .. message .. "."
end

--- The fleet's own report for a task.
local function own(fleet, task, fields)
  fields.operation, fields.tenant = fleet.operation_name, task.id
  fields.elapsed = fleet.clock() - task.began
  if fleet.only_reads then
    fields.delivered = nil
  end
  return report.new(fields)
end

--- For a tenant that is abandoned because the run ends, or was not begun.
function reports.given_up(fleet, task, has_begun)
  local operation, is_late = fleet.operation_name, not fleet.wire.is_cancelled
  local why = is_late and "DEADLINE" or "CANCELLED"
  local gave_up = is_late and "deadline" or "not_retryable"
  if task.has_posted then
    return own(fleet, task, {
      outcome = "interrupted",
      delivered = "unknown",
      gave_up = gave_up,
      network = {
        stage = "receive",
        name = why,
        message = messages[why],
        timeout = is_late,
        delivered = "unknown",
      },
    })
  end
  local is_awaited = is_late and has_begun and (operation == "wait" or operation == "ensure")
  return own(fleet, task, {
    outcome = is_awaited and "timed_out" or "cancelled",
    delivered = "no",
    answered_by = "client",
    gave_up = gave_up,
    hint = not is_awaited and not_requested_hint(messages[why]) or nil,
  })
end

--- Changes a client's report that came after the end of the run: a request that was not sent because of that
-- end does not mean that the service could not be reached.
function reports.after_run_end(task, of_client)
  local outcome, network, steps = of_client.outcome, of_client.network, of_client.steps or {}
  local was_not_sent = outcome == "unreachable" or (outcome == "timed_out" and not steps[1])
  local is_untouched = not task.has_posted and not of_client.confirmed_by
  if network and was_not_sent and ends_of_run[network.name] and is_untouched then
    of_client.outcome, of_client.network = "cancelled", nil
    of_client.hint = not_requested_hint(network.message)
  end
end

--- For a tenant whose state cannot be read (`message` is a clause about it): it may be done, or requested,
-- already.
function reports.state_unread(fleet, task, message)
  local name = fleet.state.is_file and "state file" or "state"
  local hint = "The %s could not be read, so this tenant may be done already: nothing was asked "
    .. "of the service."
  return own(fleet, task, {
    outcome = "unexpected",
    delivered = "unknown",
    answered_by = "client",
    error = { message = ("the %s: %s"):format(name, message) },
    hint = hint:format(name),
  })
end

--- For a tenant for which the user's code raised, or returned no report.
function reports.of_mistake(fleet, task, message)
  local text = "an error that is a " .. type(message)
  if type(message) == "string" then
    local secrets = { task.token, obtained = task.client and task.client.last_token or nil }
    -- Where an option was refused, the message begins with a place in our own files: that is left out.
    text = redact.text(message:match ":%d+: (autopilot%.client: .*)$" or message, secrets)
  end
  return own(fleet, task, {
    outcome = "unexpected",
    delivered = task.has_posted and "unknown" or "no",
    answered_by = "client",
    error = { message = sentence.clean(text, longest_message) or "an error without a message" },
    hint = "The code for this tenant failed: see the error. The other tenants are not affected.",
  })
end

return reports
