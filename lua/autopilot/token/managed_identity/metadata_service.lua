--- Azure's metadata service on a virtual machine: how to find out whether there is one, and when to ask it
-- again.

local endpoint = require "autopilot.token.endpoint"

local metadata_service = {}

-- Seconds before each further attempt. A service that is being replaced (410) is back after 70 s at most.
local waits = { 1, 2, 4, 8 }
local waits_while_gone = { 10, 10, 10, 10, 10, 10, 10 }

-- Seconds. A Retry-After above this ends the attempts.
local longest_wait = 30

local function is_worth_retrying(status)
  return status == 404 or status == 410 or status == 429 or (status >= 500 and status <= 599)
end

--- Seconds to wait before the next attempt; nil when there should be none.
local function wait_after(answer, attempt, details)
  local planned = (answer.status == 410 and waits_while_gone or waits)[attempt]
  local told = answer.headers["retry-after"] and details.retry_after or 0
  if is_worth_retrying(answer.status) and planned and told <= longest_wait then
    return math.max(planned, told)
  end
end

local function unavailable(is_transient)
  return nil,
    "there is no managed identity: no metadata service of Azure answers: no machine in Azure",
    {
      is_transient = is_transient,
      hint = "Sign in another way, or run this in Azure with a managed identity assigned.",
    }
end

--- Whether Azure's service answers there within so many seconds. Without the header it refuses at once: it
-- answers 400. Services of other clouds, and relays for containers without a service behind them, forbid.
local function answers(ask, request, seconds)
  local object, _, _, answer = endpoint.request(ask, {
    url = request.url:match "^[^?]*" .. "?api-version=2018-02-01",
    headers = {},
    timeout = { connect = seconds, total = seconds },
  })
  return object ~= nil or (answer ~= nil and answer.status ~= 401 and answer.status ~= 403)
end

--- Adds to the details of a refusal what its status tells.
local function explain(answer, details)
  if answer.status == 400 and answer.body:lower():find("identity not found", 1, true) then
    details.hint = "Assign a managed identity to this machine; with several, or one that is only "
      .. "assigned by the user, set client_id."
  end
  details.is_transient = details.is_transient or is_worth_retrying(answer.status)
end

--- Sends a request until it succeeds or another attempt is of no use. With a `probe`, of the options or of
-- a chain, a machine outside Azure is recognized within that many seconds.
---@param ask autopilot.TokenAsk
---@param request autopilot.token.HttpRequest
---@param context { probe: number?, has_answered: boolean? } kept between requests
---@return table? object, string? message, autopilot.token.Details? details
function metadata_service.send(ask, request, context)
  local probe = context.probe or ask.probe
  if probe and not context.has_answered then
    if not answers(ask, request, probe) then
      return unavailable(false)
    end
    context.has_answered = true
  end
  local attempt = 0
  while true do
    local object, message, details, answer = endpoint.request(ask, request)
    if not answer then
      if details and details.is_transient then
        return unavailable(true)
      end
      return object, message, details
    end
    attempt = attempt + 1
    local seconds = ask.sleep and wait_after(answer, attempt, details)
    if not seconds then
      explain(answer, details)
      return nil, message, details
    end
    ask.sleep(seconds)
  end
end

return metadata_service
