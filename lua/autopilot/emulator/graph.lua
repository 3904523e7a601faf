--- The Graph side: who may call, the sync action, the status record.

local answers = require "autopilot.emulator.answers"
local calendar = require "autopilot.emulator.calendar"
local challenges = require "autopilot.emulator.challenges"

local graph = {}

local write_permission = "DeviceManagementServiceConfig.ReadWrite.All"
local read_permission = "DeviceManagementServiceConfig.Read.All"

--- What an application gets whose roles are not told.
graph.default_roles = { write_permission }

--- Where Graph lives, in every cloud: the audiences that its tokens may have.
-- The same with a slash after it, which comes of the scope `https://graph.microsoft.com//.default`, and the
-- id of Graph's own application, are good as well.
graph.audiences = { "00000003-0000-0000-c000-000000000000" }
for _, root in ipairs {
  "https://graph.microsoft.com",
  "https://graph.microsoft.us",
  "https://dod-graph.microsoft.us",
  "https://microsoftgraph.chinacloudapi.cn",
} do
  table.insert(graph.audiences, root)
  table.insert(graph.audiences, root .. "/")
end

local plain_challenge = 'Bearer realm="", '
  .. 'authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", '
  .. 'client_id="00000003-0000-0000-c000-000000000000"'

local endpoints = {
  sync = { method = "POST", permissions = { write_permission } },
  status = { method = "GET", permissions = { read_permission, write_permission } },
}

--- The operation that a path stands for: `sync`, `status`, or nil when Graph has no such path. Version 1.0
-- has none of both.
---@param path string without query
---@return string?
function graph.operation(path)
  local resource = path:lower():match "^/beta/devicemanagement/(.+)$"
  if resource == "windowsautopilotsettings/sync" then
    return "sync"
  elseif resource == "windowsautopilotsettings" then
    return "status"
  end
  return nil
end

local function has_one_of(roles, permissions)
  for _, role in ipairs(roles) do
    for _, permission in ipairs(permissions) do
      if role == permission then
        return true
      end
    end
  end
  return false
end

local function sync(service, call, token, change)
  local reason, remaining = service.syncs:refusal(token.tenant, call.now)
  if reason == "in_progress" then
    return answers.intune_error(call, 409, "Conflict", "A sync is already in progress.")
  elseif reason == "cooldown" then
    local told = math.ceil(remaining)
    local in_header = service.retry_after == "header" and { ["retry-after"] = ("%d"):format(told) }
    return answers.intune_error(
      call,
      429,
      "TooManyRequests",
      "A sync was requested too soon after the previous one.",
      service.retry_after == "body" and told or nil,
      in_header or nil
    )
  end
  service.start_sync(token.tenant, call.now, change, {
    by = token.client_id or "token",
    client_request_id = call.client_request_id,
  })
  return answers.plain(call, 204)
end

local function status(service, call, token, change)
  local record = service.syncs:record(token.tenant, call.now - (change.age or 0))
  local value = {
    id = token.tenant,
    syncStatus = record.status,
    lastSyncDateTime = calendar.stamp(record.last_sync, service.zone),
    lastManualSyncTriggerDateTime = calendar.stamp(record.last_manual_trigger, service.zone),
  }
  if service.wrapped then
    return answers.json(call, { value = value })
  end
  value["@odata.context"] = ("https://graph.microsoft.com/%s/$metadata#"):format(
    call.path:match "^/([^/]+)"
  ) .. "deviceManagement/windowsAutopilotSettings/$entity"
  return answers.json(call, value)
end

endpoints.sync.answer = sync
endpoints.status.answer = status

--- The answer of general throttling, which has nothing to do with the cooldown.
---@param call autopilot.emulator.Call
---@param retry_after number|string seconds, or a text to send as it is
---@return table response
function graph.throttled(call, retry_after)
  local told = { ["retry-after"] = tostring(retry_after) }
  return answers.graph_error(call, 429, "TooManyRequests", "Too many requests.", told)
end

--- The answer to a token that lacks what is demanded of the tenant's tokens; nil when it has it.
local function refuse_unmet(service, call, token, change)
  local challenge = change.challenge or service.challenges[token.tenant]
  service.challenges[token.tenant] = challenge
  if not challenge or challenges.is_met(challenge, token) then
    return nil
  end
  local told = { ["www-authenticate"] = challenges.header(challenge) }
  local why = "Continuous access evaluation resulted in challenge with result: "
    .. "InteractionRequired and code: TokenIssuedBeforeRevocationTimestamp"
  return answers.graph_error(call, 401, "InvalidAuthenticationToken", why, told)
end

--- The answer to a path that Graph does not have.
local function no_such_path(call)
  local segment = call.path:match "^/[vV]1%.0/[^/]+/([^/]+)"
  if segment and segment:lower() == "windowsautopilotsettings" then
    local message = ("Resource not found for the segment '%s'."):format(segment)
    return answers.graph_error(call, 400, "BadRequest", message)
  end
  local message = "Resource not found for the path of the request."
  return answers.graph_error(call, 404, "ResourceNotFound", message)
end

--- Answers a request to Graph.
---@param service table syncs, tokens, challenges, start_sync, is_licensed and how records are written
---@param call autopilot.emulator.Call
---@param request table
---@param change table what is unlike the usual effect of this one request
---@return table response
function graph.answer(service, call, request, change)
  local token, why = service.tokens:check(call.authorization, service.audiences, call.now)
  if not token then
    local told = { ["www-authenticate"] = plain_challenge }
    return answers.graph_error(call, 401, "InvalidAuthenticationToken", why, told)
  end
  call.tenant = token.tenant
  local unmet = refuse_unmet(service, call, token, change)
  if unmet then
    return unmet
  end
  local endpoint = endpoints[call.operation]
  if not endpoint then
    return no_such_path(call)
  elseif request.method ~= endpoint.method then
    local message = ("The requested resource does not support http method '%s'."):format(
      request.method
    )
    local told = { allow = endpoint.method }
    return answers.graph_error(call, 405, "MethodNotAllowed", message, told)
  elseif not has_one_of(token.roles, endpoint.permissions) then
    local sentence = "Application is not authorized to perform this operation. "
      .. "Application must have one of the following scopes: "
      .. table.concat(endpoint.permissions, ", ")
    return answers.intune_error(call, 403, "Forbidden", sentence)
  elseif not service.is_licensed(token.tenant) then
    local sentence = "Request not applicable to target tenant."
    return answers.intune_error(call, 400, "BadRequest", sentence)
  end
  return endpoint.answer(service, call, token, change)
end

return graph
