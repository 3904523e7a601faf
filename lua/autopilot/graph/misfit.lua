--- Why a token must not be sent, in words: it is of another tenant, for another service, has expired, or lacks a
-- permission. `autopilot.graph.access_token` finds out.

local misfit = {}

-- The application of the Azure CLI. It has no permission of Intune, and none can be added to it.
local azure_cli_id = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"

local azure_cli_hint = "A person's token of the Azure CLI never permits a sync, as its "
  .. "application cannot be granted Intune's permissions (AADSTS65002): sign in to az as a "
  .. "service principal or a managed identity, or sign in another way."

local units = { { 172800, 86400, "d" }, { 7200, 3600, "h" }, { 120, 60, "min" }, { 0, 1, "s" } }

--- Seconds as text, in one unit: `3 h`.
local function duration_text(seconds)
  for _, unit in ipairs(units) do
    if seconds >= unit[1] then
      return ("%.0f %s"):format(math.floor(seconds / unit[2]), unit[3])
    end
  end
end

---@class autopilot.Misfit why a token must not be sent
---@field code "TenantMismatch"|"TokenExpired"|"WrongAudience"|"MissingPermission"
---@field message string
---@field hint string

local function made(code, hint, message, ...)
  return { code = code, hint = hint, message = message:format(...) }
end

--- The token is of another tenant than the one that was asked for.
function misfit.tenant(found, wanted)
  local hint = "Sign in to the tenant that is meant, or name the token's own. Check "
    .. "AZURE_TENANT_ID too."
  local message = "the token is of the tenant %s, and %s was asked for"
  return made("TenantMismatch", hint, message, found, wanted)
end

--- The token's audience is another service than the one with this URL.
function misfit.audience(found, service)
  local hint = ("Ask for a token of the scope %s/.default."):format(service)
  return made("WrongAudience", hint, "the token is for %s, and the service is %s", found, service)
end

--- The token has expired so many seconds ago.
function misfit.expiry(seconds)
  local hint = "Get a new token, and check this machine's clock."
  return made("TokenExpired", hint, "the token has expired %s ago", duration_text(seconds))
end

--- The token surely lacks the permission that is needed. The application is named for a person's token only.
function misfit.permission(permission, application)
  local hint = "Grant the application %s with admin consent, and get a new token."
  hint = application == azure_cli_id and azure_cli_hint or hint:format(permission)
  return made("MissingPermission", hint, "the token does not have the permission %s", permission)
end

return misfit
