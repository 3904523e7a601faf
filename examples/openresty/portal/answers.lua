--- A report as an HTTP answer: a status for programs, and the report as JSON for details.

local cjson = require "cjson.safe"

local answers = {}

-- HTTP status for each outcome. Where Graph refuses the portal itself (401, 403, no licence), the caller
-- did nothing wrong: the answer is 502, not 403.
local status_of = {
  started = 202, -- accepted: the sync runs, and its end was not awaited
  completed = 200,
  fresh = 200,
  in_progress = 409,
  cooldown = 429,
  throttled = 429,
  unauthenticated = 502,
  forbidden = 502,
  not_licensed = 502,
  not_found = 502,
  rejected = 502,
  redirected = 502,
  unexpected = 502,
  token_error = 502,
  sync_failed = 502,
  unavailable = 503,
  unreachable = 503, -- surely not sent: repeating it is safe
  interrupted = 504, -- perhaps sent: read `delivered` before repeating it
  timed_out = 504,
}

--- The HTTP status that fits a report.
---@param report autopilot.Report
---@return integer
function answers.status_of(report)
  return status_of[report.outcome] or (report.ok and 200 or 502)
end

--- Sends JSON and ends the request.
---@param status integer
---@param text string
function answers.send_text(status, text)
  ngx.status = status
  ngx.header["Content-Type"] = "application/json"
  ngx.header["Cache-Control"] = "no-store"
  ngx.header["X-Content-Type-Options"] = "nosniff"
  ngx.header["Content-Length"] = #text + 1
  ngx.say(text)
  return ngx.exit(ngx.HTTP_OK)
end

--- Sends a table as JSON and ends the request.
---@param status integer
---@param body table
function answers.send(status, body)
  return answers.send_text(status, cjson.encode(body))
end

--- Sends an error that is the caller's.
---@param status integer
---@param message string
function answers.refuse(status, message)
  return answers.send(status, { ok = false, error = { message = message } })
end

--- Sets `Retry-After` from the report. Rounded up to whole seconds: an earlier request would be refused.
---@param report autopilot.Report
function answers.pass_retry_after(report)
  local seconds = report.retry_after
  if seconds then
    ngx.header["Retry-After"] = ("%d"):format(math.max(1, math.ceil(seconds)))
  end
end

--- Sends a report.
---@param report autopilot.Report
---@param status integer? default: the one that fits
function answers.send_report(report, status)
  local body = {}
  for name, value in pairs(report) do
    body[name] = value
  end
  -- JSON libraries cannot tell an empty list from an empty object.
  for _, list in ipairs { "attempts", "steps" } do
    body[list] = body[list] and body[list][1] and body[list] or nil
  end
  if not report.ok then
    answers.pass_retry_after(report)
  end
  return answers.send(status or answers.status_of(report), body)
end

return answers
