--- The endpoints of Graph: who may call, the sync action, the status record.
--
-- A claims challenge is what Graph requires of a tenant's tokens from some time on, and names in a 401 (Microsoft Entra,
-- "Claims challenges, claims requests, and client capabilities"). A token meets it when it was asked for with the same
-- claims by a client that declares in `xms_cc` that it understands challenges: Entra gives such a token to no other
-- client. The token of a machine meets it when it was asked for in place of a refused one.

local AccessTokens = require "autopilot.emulator.access_tokens"
local answers = require "autopilot.emulator.answers"
local base64url = require "autopilot.base.base64url"
local clouds = require "autopilot.base.clouds"
local contains = require("autopilot.base.options").contains
local dates = require "autopilot.base.dates"
local json = require "autopilot.base.json"

local demand = answers.demand

local graph = {}

local write_permission = AccessTokens.default_roles[1]
local read_permission = "DeviceManagementServiceConfig.Read.All"

-- The audiences that Graph accepts: its id, and its address in each cloud, also with the second slash that comes of
-- the scope `https://graph.microsoft.com//.default`.
local audiences = { ["00000003-0000-0000-c000-000000000000"] = true }
for _, cloud in pairs(clouds) do
  audiences[cloud.graph], audiences[cloud.graph .. "/"] = true, true
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

-- ---- Who may call ------------------------------------------------------------------------------------

--- What every 401 of Graph says.
local plain_header = 'Bearer realm="", '
  .. 'authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", '
  .. 'client_id="00000003-0000-0000-c000-000000000000"'

--- The challenge that a fault describes: the decoded `claims` that are required, and the value of WWW-Authenticate.
---@param fault autopilot.emulator.Fault
---@return { claims: table, header: string }
local function new_challenge(fault, now)
  local from_now_on = '{"access_token":{"nbf":{"essential":true,"value":"%d"}}}'
  local text = fault.claims or from_now_on:format(math.floor(now))
  local encoded = base64url.encode(text)
  if fault.encoding ~= "base64url" then
    encoded = encoded:gsub("-", "+"):gsub("_", "/") .. ("="):rep(-#encoded % 4)
  end
  return {
    claims = json.decode(text),
    header = (fault.noise and "Negotiate, " or "")
      .. plain_header
      .. (', error="insufficient_claims", claims="%s"'):format(encoded),
  }
end

--- Whether a decoded value has everything that another one has.
local function includes(value, wanted)
  if type(value) ~= "table" or type(wanted) ~= "table" then
    return value == wanted
  end
  for key, field in pairs(wanted) do
    if not includes(value[key], field) then
      return false
    end
  end
  return true
end

--- Whether claims declare the capability `cp1`. MSAL for Python writes `CP1`.
local function declares_capability(claims)
  local wanted = claims.access_token
  local declared = type(wanted) == "table" and wanted.xms_cc
  local values = type(declared) == "table" and declared.values
  for _, value in ipairs(type(values) == "table" and values or {}) do
    if tostring(value):lower() == "cp1" then
      return true
    end
  end
  return false
end

--- Whether a token has what a challenge requires.
local function is_met(challenge, token)
  local claims = token.claims
  return token.replaces_refused
    or claims ~= nil and includes(claims, challenge.claims) and declares_capability(claims)
end

--- The token of a request. Refuses a request that has none, or one that is not accepted.
local function authenticate(service, call)
  local headers = { ["www-authenticate"] = plain_header }
  local function check(is_right, mistake)
    return demand(call, is_right, mistake, nil, headers)
  end
  local scheme, text = (call.headers.authorization or ""):match "^(%a+) +(%S+)$"
  check(scheme and scheme:lower() == "bearer", "no_token")
  local token = check(service.tokens.issued[text], "unknown_token")
  check(not token.expires or token.expires > call.now, "expired_token")
  local only = service.options.audience
  local accepted = only and { [only] = true } or audiences
  check(not token.audience or accepted[token.audience], "foreign_token")
  call.tenant = service:id_of(token.tenant)
  if call.fault.kind == "claims_challenge" then
    service.challenges[call.tenant] = new_challenge(call.fault, call.now)
  end
  local challenge = service.challenges[call.tenant]
  headers["www-authenticate"] = challenge and challenge.header
  check(not challenge or is_met(challenge, token), "challenged_token")
  return token
end

--- Refuses a request by another method, without one of the permissions, or for a tenant without licence. Returns
-- the tenant and the name of the client.
local function admit(service, call, method, permissions)
  local token = authenticate(service, call)
  demand(call, call.method == method, "unsupported_method", call.method, { allow = method })
  local is_permitted = contains(token.roles, permissions[1])
    or contains(token.roles, write_permission)
  demand(call, is_permitted, "not_permitted", table.concat(permissions, ", "))
  local tenant = (service.options.tenants or {})[call.tenant]
  demand(call, not tenant or tenant.licensed ~= false, "not_licensed")
  return call.tenant, token.client_id or "token"
end

function graph.sync(service, call)
  local tenant, client = admit(service, call, "POST", { write_permission })
  local obstacle, remaining = service.syncs:refusal(tenant, call.now)
  local left = { [service.options.retry_after] = remaining and ("%d"):format(math.ceil(remaining)) }
  demand(call, not obstacle, obstacle, nil, { ["retry-after"] = left.header }, left.body)
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
  value["@odata.context"] = "https://graph.microsoft.com/beta/$metadata"
    .. "#deviceManagement/windowsAutopilotSettings/$entity"
  return answers.json(call, value)
end

--- Refuses an unknown path. Only the beta version of Graph has the Autopilot settings, not version 1.0.
function graph.other(service, call)
  authenticate(service, call)
  local segment = call.path:match "^/[vV]1%.0/[^/]+/([^/]+)"
  local is_ours = segment and segment:lower() == "windowsautopilotsettings"
  demand(call, not is_ours, "unknown_segment", segment)
  demand(call, false, "unknown_path")
end

return graph
