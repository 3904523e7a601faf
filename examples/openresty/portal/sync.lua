--- POST /sync/TENANT: asks for a sync and answers with its report.

local answers = require "portal.answers"
local clients = require "portal.clients"
local tenants = require "portal.tenants"

local sync = {}

-- Seconds: less than the minute after which callers and proxies commonly stop waiting.
local patience = 50

--- Answers the current request.
---@param tenant string
function sync.answer(tenant)
  local client, status, message = clients.of(tenant)
  if not client then
    return answers.refuse(status, message)
  end
  local report, failure = client:sync { deadline = patience }
  tenants.note(tenant, report or failure)
  return answers.send_report(report or failure)
end

return sync
