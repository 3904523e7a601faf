--- Virtual machines and what runs on them: the Azure Instance Metadata Service ("use managed identities
-- on a virtual machine to acquire access token").
--
-- It is what is tried when nothing in the environment names another. With a probe, a machine outside
-- Azure is told by a request that may take that long at most.

local endpoint = require "autopilot.token.managed_identity.endpoint"
local exchange = require "autopilot.token.managed_identity.exchange"

local imds = {}

local source = "managed identity of the virtual machine"

local variable = "AZURE_POD_IDENTITY_AUTHORITY_HOST"
local default_host = "http://169.254.169.254"

local names = { client_id = "client_id", resource_id = "msi_res_id", object_id = "object_id" }

-- Seconds before each further attempt. While the service is replaced (410) that takes up to 70 s.
local waits = { 1, 2, 4, 8 }
local waits_while_gone = { 10, 10, 10, 10, 10, 10, 10 }

-- A service that wants a longer rest is not waited for.
local longest_wait = 30

local function is_worth_retrying(status)
  return status == 404 or status == 410 or status == 429 or (status >= 500 and status <= 599)
end

--- Seconds to wait before the next attempt, nil when there is to be none.
local function wait_after(answer, attempt, details)
  if not is_worth_retrying(answer.status) then
    return nil
  end
  local planned = (answer.status == 410 and waits_while_gone or waits)[attempt]
  local told = answer.headers["retry-after"] and details.retry_after or 0
  return planned and told <= longest_wait and math.max(planned, told) or nil
end

local function unavailable(is_transient)
  return nil,
    "there is no managed identity: no metadata service of Azure answers: no machine in Azure",
    {
      is_transient = is_transient,
      hint = "Sign in another way, or run this in Azure with a managed identity assigned.",
    }
end

--- Whether Azure's service answers there. The header is left out, so that it refuses at once.
local function answers(place, url)
  local seconds = place.probe
  local answer = exchange.send(place.ask, {
    source = source,
    url = url,
    headers = {},
    timeout = { connect = seconds, total = seconds },
  })
  -- Azure's own misses the header (400). Those of other clouds, and relays for containers with nothing
  -- behind them, forbid.
  return answer ~= nil and answer.status ~= 401 and answer.status ~= 403
end

--- Adds what the status means here.
local function explained(answer, message, details)
  if answer.status == 400 and answer.body:lower():find("identity not found", 1, true) then
    details.hint = "Assign a managed identity to this machine; with several, or one of its own "
      .. "name, set client_id."
  elseif is_worth_retrying(answer.status) then
    details.is_transient = true
  end
  return nil, message, details
end

--- Asks until there is a token, or no use in asking.
local function ask_patiently(place, request)
  local attempt = 0
  while true do
    local answer, failure, details = exchange.send(place.ask, request)
    if not answer then
      if details.is_transient then
        return unavailable(true)
      end
      return nil, failure, details
    end
    local token, second, third = exchange.read(place.ask, request, answer)
    if token then
      return token, second, third
    end
    attempt = attempt + 1
    local seconds = place.ask.sleep and wait_after(answer, attempt, third)
    if not seconds then
      return explained(answer, second, third)
    end
    place.ask.sleep(seconds)
  end
end

---@param place autopilot.token.IdentityPlace
function imds.request(place)
  local host, complaint = endpoint.parse(place.variable(variable) or default_host)
  if not host or host:find("?", 1, true) then
    complaint = complaint or "must have no query"
    return nil, variable .. " " .. complaint, { is_transient = false }
  end
  local parameters = { ["api-version"] = "2018-02-01", resource = place.resource }
  if place.identity then
    parameters[names[place.identity.kind]] = place.identity.value
  end
  local url = host:gsub("/+$", "") .. "/metadata/identity/oauth2/token"
  if place.probe and not place.memory.is_there then
    if not answers(place, endpoint.with_query(url, { ["api-version"] = "2018-02-01" })) then
      return unavailable(false)
    end
    place.memory.is_there = true
  end
  local token, expires_in, extra = ask_patiently(place, {
    source = source,
    url = endpoint.with_query(url, parameters),
    headers = { ["Metadata"] = "true" },
  })
  return token, expires_in, extra
end

return imds
