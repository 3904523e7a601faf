--- What an access token says of itself, and why it cannot be of use for a request: whose it is, for which
-- service, until when, and what it permits.
--
-- Nothing is verified, and only what is plainly wrong counts: a token that cannot be read, or that does
-- not mention something, may still be right. The service decides.

local inspect = require "autopilot.base.jwt"

local facts = {}

---@class autopilot.graph.TokenFacts each field is nil when the token does not tell it
---@field message string? why the token cannot be read; then there is nothing else
---@field tenant_id string?
---@field audience string?
---@field application string? its id
---@field user string? who signed in; nil for an application's own token
---@field roles string[]? permissions of an application
---@field scopes string[]? permissions that a user has delegated
---@field expires_at number? Unix seconds

--- The permission that a sync needs (Microsoft Graph, "windowsAutopilotSettings: sync").
facts.permission = "DeviceManagementServiceConfig.ReadWrite.All"

-- What each permission allows, by its name in lower case. `sync` includes reading the record.
local allowed_by = {
  ["devicemanagementserviceconfig.readwrite.all"] = "sync",
  ["devicemanagementconfiguration.readwrite.all"] = "sync",
  ["devicemanagementserviceconfig.read.all"] = "read",
  ["devicemanagementconfiguration.read.all"] = "read",
}

-- Microsoft Graph's application id, which stands for it in every cloud.
local graph_id = "00000003-0000-0000-c000-000000000000"

-- The application of the Azure CLI. It has no permission of Intune, and none can be added to it.
local azure_cli_id = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"

local azure_cli_hint = "A person's token of the Azure CLI never permits a sync, as its "
  .. "application cannot be granted Intune's permissions (AADSTS65002): sign in to az as a "
  .. "service principal or a managed identity, or sign in another way."

--- A claim's text, or the first of its list.
local function text_of(value)
  return (type(value) == "string" and value ~= "" and value)
    or (type(value) == "table" and text_of(value[1]))
    or nil
end

--- The texts of a list, or the words of a text; nil when there are none.
local function list_of(value)
  local list = {}
  if type(value) == "string" then
    for word in value:gmatch "%S+" do
      list[#list + 1] = word
    end
  elseif type(value) == "table" then
    for _, entry in ipairs(value) do
      list[#list + 1] = type(entry) == "string" and entry or nil
    end
  end
  return list[1] and list or nil
end

---@param token string
---@return autopilot.graph.TokenFacts
function facts.of(token)
  local claims, message = inspect(token)
  if not claims then
    return { message = message }
  end
  return {
    tenant_id = text_of(claims.tid),
    audience = text_of(claims.aud),
    application = text_of(claims.appid) or text_of(claims.azp),
    user = text_of(claims.upn) or text_of(claims.preferred_username) or text_of(claims.unique_name),
    roles = list_of(claims.roles),
    scopes = list_of(claims.scp),
    expires_at = type(claims.exp) == "number" and claims.exp or nil,
  }
end

--- A tenant id in its one form: lower case, without braces. Nil for anything else, such as a domain.
---@param tenant any
---@return string?
function facts.guid(tenant)
  local id = type(tenant) == "string" and tenant:lower():match "^{?([%x-]+)}?$" or ""
  local is_guid = id:gsub("%x", "x") == "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
  return is_guid and id or nil
end

--- Whether the token permits a request; nil when it does not tell.
---@param known autopilot.graph.TokenFacts
---@param is_sync boolean false: the record is to be read
---@return boolean?
function facts.permits(known, is_sync)
  if not known.roles and not known.scopes then
    return nil
  end
  for _, list in ipairs { known.roles or {}, known.scopes or {} } do
    for _, permission in ipairs(list) do
      local allowed = allowed_by[permission:lower()]
      if allowed == "sync" or (allowed and not is_sync) then
        return true
      end
    end
  end
  return false
end

local function is_audience(audience, expected)
  local found = audience:lower():gsub("/+$", "")
  return found == graph_id or found == expected:lower()
end

local units = { { 172800, 86400, "d" }, { 7200, 3600, "h" }, { 120, 60, "min" }, { 0, 1, "s" } }

--- Seconds as text, in one unit: `3 h`.
local function duration_text(seconds)
  for _, unit in ipairs(units) do
    if seconds >= unit[1] then
      return ("%.0f %s"):format(math.floor(seconds / unit[2]), unit[3])
    end
  end
end

---@class autopilot.token.Misfit why a token must not be sent
---@field code "TenantMismatch"|"TokenExpired"|"WrongAudience"|"MissingPermission"
---@field message string
---@field hint string

local function misfit(code, hint, message, ...)
  return { code = code, hint = hint, message = message:format(...) }
end

--- Whether the token is of another tenant, or for another service.
---@param known autopilot.graph.TokenFacts
---@param tenant string? the one that was asked for
---@param audience string? the service's URL, nil when it may have any
---@return autopilot.token.Misfit?
function facts.misdirected(known, tenant, audience)
  local wanted, found = facts.guid(tenant), facts.guid(known.tenant_id)
  if wanted and found and wanted ~= found then
    local hint = "Sign in to the tenant that is meant, or name the token's own. Check "
      .. "AZURE_TENANT_ID too."
    local message = "the token is of the tenant %s, and %s was asked for"
    return misfit("TenantMismatch", hint, message, found, wanted)
  elseif audience and known.audience and not is_audience(known.audience, audience) then
    local hint = ("Ask for a token of the scope %s/.default."):format(audience)
    local message = "the token is for %s, and the service is %s"
    return misfit("WrongAudience", hint, message, known.audience, audience)
  end
end

--- Whether the token has expired.
---@param known autopilot.graph.TokenFacts
---@param now number Unix seconds
---@return autopilot.token.Misfit?
function facts.expired(known, now)
  if known.expires_at and now >= known.expires_at then
    local hint = "Get a new token, and check this machine's clock."
    local message = "the token has expired %s ago"
    return misfit("TokenExpired", hint, message, duration_text(now - known.expires_at))
  end
end

--- Whether the token surely does not permit a request.
---@param known autopilot.graph.TokenFacts
---@param is_sync boolean false: the record is to be read
---@return autopilot.token.Misfit?
function facts.unpermitted(known, is_sync)
  if facts.permits(known, is_sync) ~= false then
    return nil
  end
  local is_azure_cli = known.scopes and known.application == azure_cli_id
  local hint = "Grant the application %s with admin consent, and get a new token."
  hint = is_azure_cli and azure_cli_hint or hint:format(facts.permission)
  local message = "the token does not have the permission %s"
  return misfit("MissingPermission", hint, message, facts.permission)
end

return facts
