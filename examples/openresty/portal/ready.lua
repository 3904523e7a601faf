--- Readiness, as access handlers: they answer 503 when not ready, and let the request go on otherwise.

local answers = require "portal.answers"
local clients = require "portal.clients"
local settings = require "portal.settings"
local tenants = require "portal.tenants"

local ready = {}

-- Seconds. A check is often made every few seconds, and must not take longer than its caller waits.
local patience = 5

--- Whether a sync of this tenant would be accepted now. Reads the tenant's record.
---@param tenant string
function ready.check_tenant(tenant)
  local client, status, message = clients.of(tenant)
  if not client then
    return answers.refuse(status, message)
  end
  local report, failure = client:status { deadline = patience }
  tenants.note(tenant, report or failure)
  if not report then
    return answers.send_report(failure, 503)
  end
  ngx.ctx.report = report
  if not report.ready then
    ngx.header["Retry-After"] = ("%d"):format(math.max(1, math.ceil(report.cooldown_remaining)))
    return answers.send_report(report, 503)
  end
end

--- Whether the portal can serve. Sends nothing: a failure of Graph is no reason to restart the portal.
function ready.check_portal()
  if not settings.tenants[1] then
    return answers.refuse(503, "the list of tenants is empty")
  end
  local client, status, message = clients.of(settings.tenants[1])
  if not client then
    return answers.refuse(status, message)
  end
end

--- The answer of a location whose access handler let the request go on.
function ready.answer()
  if ngx.ctx.report then
    return answers.send_report(ngx.ctx.report)
  end
  return answers.send(200, { ready = true })
end

return ready
