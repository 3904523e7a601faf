--- The endpoints of Graph: who may call, the sync action, the status record.

local AccessTokens = require "autopilot.emulator.access_tokens"
local answers = require "autopilot.emulator.answers"
local challenges = require "autopilot.emulator.challenges"
local clouds = require "autopilot.base.clouds"
local contains = require("autopilot.base.options").contains
local dates = require "autopilot.base.dates"

local graph = {}

local write_permission = AccessTokens.default_roles[1]
local read_permission = "DeviceManagementServiceConfig.Read.All"

--- The audiences that Graph accepts: its id, and its address in each cloud, also with the second slash that comes
-- of the scope `https://graph.microsoft.com//.default`.
graph.audiences = { ["00000003-0000-0000-c000-000000000000"] = true }
for _, cloud in pairs(clouds) do
  graph.audiences[cloud.graph], graph.audiences[cloud.graph .. "/"] = true, true
end

--- Seconds by which a zone, `Z` or an offset such as `-08:00`, is ahead of UTC; nil when it cannot be read.
function graph.zone_offset(zone)
  local moment = zone:find "^[Z+-]" and dates.read_timestamp("1970-01-01T00:00:00" .. zone)
  return moment and -moment or nil
end

--- A time as the record shows it, with seven fractional digits. `seconds`: Unix time; nil for never.
function graph.stamp(seconds, zone)
  if not seconds then
    return "0001-01-01T00:00:00Z"
  end
  local ticks = math.floor((seconds - math.floor(seconds)) * 1e7 + 0.5)
  local whole = math.floor(seconds) + math.floor(ticks / 1e7) -- the fraction may be rounded up to 1
  local date_and_time = os.date("!%Y-%m-%dT%H:%M:%S", whole + graph.zone_offset(zone))
  return ("%s.%07d%s"):format(date_and_time, ticks % 1e7, zone)
end

--- The token of a request. Refuses a request that has none, or one that is not accepted.
local function authenticate(service, call)
  local token, why = service.tokens:check(call.headers.authorization, service.audiences, call.now)
  if not token then
    answers.refuse_graph(call, 401, why, { ["www-authenticate"] = challenges.plain_header })
  end
  call.tenant = service:id_of(token.tenant)
  local challenge = service.challenges[call.tenant]
  if call.fault.kind == "claims_challenge" then
    challenge = challenges.new(call.fault, call.now)
    service.challenges[call.tenant] = challenge
  end
  if challenge and not challenges.is_met(challenge, token) then
    why = "Continuous access evaluation resulted in challenge with result: "
      .. "InteractionRequired and code: TokenIssuedBeforeRevocationTimestamp"
    answers.refuse_graph(call, 401, why, { ["www-authenticate"] = challenge.header })
  end
  return token
end

--- Refuses a request by another method, without one of the permissions, or for a tenant without licence. Returns
-- the tenant and the name of the client.
local function admit(service, call, method, permissions)
  local token = authenticate(service, call)
  local is_permitted = contains(token.roles, permissions[1])
    or contains(token.roles, write_permission)
  if call.method ~= method then
    local why = "The requested resource does not support http method '%s'."
    answers.refuse_graph(call, 405, why:format(call.method), { allow = method })
  elseif not is_permitted then
    local why = "Application is not authorized to perform this operation. "
      .. "Application must have one of the following scopes: "
    answers.refuse_intune(call, 403, why .. table.concat(permissions, ", "))
  end
  local tenant = service.options.tenants and service.options.tenants[call.tenant]
  if tenant and tenant.licensed == false then
    answers.refuse_intune(call, 400, "Request not applicable to target tenant.")
  end
  return call.tenant, token.client_id or "token"
end

function graph.sync(service, call)
  local tenant, client = admit(service, call, "POST", { write_permission })
  local reason, remaining = service.syncs:refusal(tenant, call.now)
  if reason == "in_progress" then
    answers.refuse_intune(call, 409, "A sync is already in progress.")
  elseif reason == "cooldown" then
    local retry_after = { [service.options.retry_after] = ("%d"):format(math.ceil(remaining)) }
    local why = "A sync was requested too soon after the previous one."
    answers.refuse_intune(call, 429, why, retry_after)
  end
  local fault, id = call.fault, call.client_request_id
  local has_failed = fault.kind == "failed_sync"
  local is_unusual = has_failed or fault.kind == "slow_sync"
  local change = { failed = has_failed, duration = is_unusual and fault.seconds }
  service:note(service.syncs:start(tenant, call.now, change, client, id))
  return answers.plain(call, 204)
end

function graph.status(service, call)
  local tenant = admit(service, call, "GET", { read_permission, write_permission })
  local zone = service.options.zone
  local age = call.fault.kind == "stale_read" and call.fault.seconds or 0
  local record = service.syncs:record(tenant, call.now - age)
  local value = {
    id = tenant,
    syncStatus = record.status,
    lastSyncDateTime = graph.stamp(record.last_sync, zone),
    lastManualSyncTriggerDateTime = graph.stamp(record.last_manual_trigger, zone),
  }
  if service.options.wrapped then
    return answers.json(call, { value = value })
  end
  value["@odata.context"] = ("https://graph.microsoft.com/%s/$metadata#%s/$entity"):format(
    call.path:match "^/([^/]+)",
    "deviceManagement/windowsAutopilotSettings"
  )
  return answers.json(call, value)
end

--- Refuses an unknown path. Only the beta version of Graph has the Autopilot settings, not version 1.0.
function graph.other(service, call)
  authenticate(service, call)
  local segment = call.path:match "^/[vV]1%.0/[^/]+/([^/]+)"
  if segment and segment:lower() == "windowsautopilotsettings" then
    local why = ("Resource not found for the segment '%s'."):format(segment)
    answers.refuse_graph(call, 400, why)
  end
  answers.refuse_graph(call, 404, "Resource not found for the path of the request.")
end

return graph
