--- Azure's metadata service on a virtual machine: how to find out whether there is one, and when to ask it
-- again.

local endpoint = require "autopilot.token.endpoint"
local provider = require "autopilot.token.provider"

local metadata_service = {}

-- Seconds before each further attempt. A service that is being replaced (410) is back after 70 s at most.
local waits = { 1, 2, 4, 8 }
local waits_while_gone = { 10, 10, 10, 10, 10, 10, 10 }

-- Seconds. A Retry-After above this ends the attempts.
local longest_wait = 30

local function fail_without_service(is_transient)
  provider.fail(
    "there is no managed identity: no metadata service of Azure answers: no machine in Azure",
    {
      is_transient = is_transient,
      hint = "Sign in another way, or run this in Azure with a managed identity assigned.",
    }
  )
end

--- Whether Azure's service answers there within so many seconds. Without the header it refuses at once: it
-- answers 400. Services of other clouds, and relays for containers without a service behind them, forbid.
local function answers(ask, request, seconds)
  local object, _, _, answer = endpoint.request(ask, {
    url = request.url,
    query = { ["api-version"] = request.query["api-version"] },
    headers = {},
    timeout = { connect = seconds, total = seconds },
  })
  return object ~= nil or (answer ~= nil and answer.status ~= 401 and answer.status ~= 403)
end

--- Adds to the details of a refusal what its status tells.
local function explain(status, message, details)
  if status == 400 and message:lower():find("identity not found", 1, true) then
    details.hint = "Assign a managed identity to this machine; with several, or one that is only "
      .. "assigned by the user, set client_id."
  end
  details.is_transient = details.is_transient or status == 404 or status == 410
end

--- Seconds to wait before the next attempt; nil when there should be none.
local function wait_after(attempt, answer, details)
  local planned = (answer.status == 410 and waits_while_gone or waits)[attempt]
  local told = answer.headers["retry-after"] and details.retry_after or 0
  return details.is_transient and planned and told <= longest_wait and math.max(planned, told)
    or nil
end

--- Sends a request until it succeeds or another attempt is of no use. With a `probe`, of the options or of
-- a chain, a machine outside Azure is recognized within that many seconds.
---@param ask autopilot.TokenAsk
---@param request autopilot.token.HttpRequest
---@param checked table the provider's options; `has_answered` is set there once the service has answered
---@return table? object, string? message, autopilot.token.Details? details
function metadata_service.send(ask, request, checked)
  local probe = checked.probe or ask.probe
  if probe and not checked.has_answered then
    checked.has_answered = answers(ask, request, probe) or fail_without_service(false)
  end
  for attempt = 1, math.huge do
    local object, message, details, answer = endpoint.request(ask, request)
    if object then
      return object
    elseif not answer then
      fail_without_service(true)
    end
    explain(answer.status, message, details)
    local seconds = ask.sleep and wait_after(attempt, answer, details)
    if not seconds then
      return nil, message, details
    end
    ask.sleep(seconds)
  end
end

return metadata_service
