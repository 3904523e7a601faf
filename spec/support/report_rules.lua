--- Rules for every report of one call, for the judges of random histories.

local report_rules = {}

-- The outcomes that a page of a filter may have: none that Graph itself would have.
local of_filter = { unexpected = true, unavailable = true, redirected = true }

--- Names the page of a filter that was reported as Graph's own answer.
local function check_filters(call, complain)
  local told = {}
  for _, attempt in ipairs(call.report.attempts or {}) do
    told[attempt.client_request_id or false] = attempt
  end
  for _, request in ipairs(call.requests) do
    local attempt = request.answer and request.answer.kind == "filter" and told[request.id]
    if attempt and (attempt.delivered ~= "unknown" or not of_filter[attempt.outcome]) then
      complain("filter", "request %d was told as %s", request.number, attempt.outcome)
    end
  end
end

--- Whether a request of the call was answered by anything but a filter.
local function was_answered(call)
  for _, request in ipairs(call.requests) do
    local answer = request.method == "POST" and request.answer
    if answer and answer.kind ~= "filter" then
      return true
    end
  end
  return false
end

-- The outcomes that follow from the record, and so from the answer that a sync was started.
local of_record = { completed = true, sync_failed = true, timed_out = true }

local function check_answered_by(call, complain)
  local report, sent, is_of_request = call.report, 0, of_record[call.report.outcome]
  for _, attempt in ipairs(report.attempts or {}) do
    sent = sent + attempt.sends
    is_of_request = is_of_request or attempt.outcome == report.outcome
  end
  if report.answered_by == "client" and sent > 0 and not report.joined then
    complain("answered_by", "client, though it posted")
  elseif report.answered_by == "service" and not was_answered(call) then
    complain("answered_by", "service, which has answered no request of the call")
  elseif report.answered_by == "service" and not is_of_request then
    complain("answered_by", "service, though it answered no request so")
  elseif report.answered_by == "intermediary" then
    if not of_filter[report.outcome] and report.outcome ~= "timed_out" then
      complain("answered_by", "intermediary, though it was %s", report.outcome)
    end
  elseif report.confirmed_by == "status" and report.answered_by and not report.joined then
    complain("answered_by", "%s, though the record tells it", report.answered_by)
  end
end

--- Judges a report.
---@param call table see support.history
---@param complain fun(rule: string, format: string, ...: any)
function report_rules.check(call, complain)
  local report = call.report
  if report.outcome == "unreachable" and report.delivered ~= "no" and report.delivered then
    complain("unreachable", "beside delivered %s", report.delivered)
  elseif report.outcome == "cancelled" then
    complain("cancelled", "outside a fleet")
  end
  check_answered_by(call, complain)
  check_filters(call, complain)
  local steps = report.steps or {}
  for index = 2, #steps do
    local step, before = steps[index], steps[index - 1]
    if step.action == before.action and step.reason == before.reason then
      complain("steps", "%s: %s, twice", step.action, step.reason)
    end
  end
end

return report_rules
