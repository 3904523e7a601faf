--- The claims of an access token, and why it is unusable for a request: its tenant, its service,
-- its expiry and its permissions.
--
-- Nothing is verified, and only certain errors count: a token that cannot be read, or that does
-- not have a claim, may still be right. The service decides.

local dates = require "autopilot.base.dates"
local inspect = require "autopilot.base.jwt"
local lazy = require "autopilot.base.lazy"

local answers = lazy "autopilot.graph.answer"

local access_token = {}

---@class autopilot.graph.TokenFacts each field is nil when the token does not tell it
---@field message string? why the token cannot be read; then there is nothing else
---@field tenant_id string?
---@field audience string?
---@field application string? its id
---@field user string? who signed in; nil for an application's own token
---@field roles string[]? permissions of an application
---@field scopes string[]? permissions that a user has delegated
---@field allows ("sync"|"read"|"nothing")? what the permissions allow; `sync` includes reading
---@field expires_at number? Unix seconds

--- The permission that a sync needs (Microsoft Graph, "windowsAutopilotSettings: sync").
access_token.permission = "DeviceManagementServiceConfig.ReadWrite.All"

-- What each permission allows, by its name in lower case.
local allowed_by = {
  ["devicemanagementserviceconfig.readwrite.all"] = "sync",
  ["devicemanagementconfiguration.readwrite.all"] = "sync",
  ["devicemanagementserviceconfig.read.all"] = "read",
  ["devicemanagementconfiguration.read.all"] = "read",
}

-- Microsoft Graph's application id, which stands for it in every cloud.
local graph_id = "00000003-0000-0000-c000-000000000000"

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

--- What the permissions of a list allow, where `before` is known to be allowed already.
local function allowed_by_list(list, before)
  for _, permission in ipairs(list or {}) do
    local allowed = allowed_by[permission:lower()]
    before = before ~= "sync" and allowed or before
  end
  return before
end

---@return autopilot.graph.TokenFacts
function access_token.of(token)
  local claims, message = inspect(token)
  if not claims then
    return { message = message }
  end
  local roles, scopes = list_of(claims.roles), list_of(claims.scp)
  local nothing = (roles or scopes) and "nothing" or nil
  return {
    tenant_id = text_of(claims.tid),
    audience = text_of(claims.aud),
    application = text_of(claims.appid) or text_of(claims.azp),
    user = text_of(claims.upn) or text_of(claims.preferred_username) or text_of(claims.unique_name),
    roles = roles,
    scopes = scopes,
    allows = allowed_by_list(scopes, allowed_by_list(roles, nothing)),
    expires_at = type(claims.exp) == "number" and claims.exp or nil,
  }
end

--- A tenant id in its one form: lower case, without braces. Nil for anything else, such as a domain.
function access_token.guid(tenant)
  local id = type(tenant) == "string" and tenant:lower():match "^{?([%x-]+)}?$" or ""
  local is_guid = id:gsub("%x", "x") == "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
  return is_guid and id or nil
end

local function is_audience(audience, expected)
  if audience == expected then
    return true
  end
  local found = audience:lower():gsub("/+$", "")
  return found == graph_id or found == expected:lower()
end

-- The application of the Azure CLI. It has no permission of Intune, and none can be added to it.
local azure_cli_id = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"

local azure_cli_hint = "A person's token of the Azure CLI never permits a sync, as its "
  .. "application cannot be granted Intune's permissions (AADSTS65002): sign in to az as a "
  .. "service principal or a managed identity, or sign in another way."

--- Why a token must not be sent: message and hint of each error.
access_token.misfits = {
  TenantMismatch = {
    "the token is of the tenant %s, and %s was asked for",
    "Sign in to the tenant that is meant, or name the token's own. Check AZURE_TENANT_ID too.",
  },
  WrongAudience = {
    "the token is for %s, and the service is %s",
    "Ask for a token of the scope %s/.default.",
  },
  TokenExpired = {
    "the token has expired %s ago",
    "Get a new token, and check this machine's clock.",
  },
  MissingPermission = {
    "the token does not have the permission " .. access_token.permission,
    ("Grant the application %s with admin consent, and get a new token."):format(
      access_token.permission
    ),
  },
}

--- The error with a code of `misfits`. The values go into its message, and those after the first into its hint.
local function misfit(code, ...)
  local form, hint = access_token.misfits[code][1], access_token.misfits[code][2]
  return { code = code, message = form:format(...), hint = hint:format(select(2, ...)) }
end

--- Why the token is wrong for this client: it is of another tenant, or for another service.
local function misdirected(known, client)
  local wanted, found = access_token.guid(client.tenant), access_token.guid(known.tenant_id)
  local audience = client.audience
  if wanted and found and wanted ~= found then
    return misfit("TenantMismatch", found, wanted)
  elseif audience and known.audience and not is_audience(known.audience, audience) then
    return misfit("WrongAudience", known.audience, audience)
  end
end

--- Why the token surely does not permit a request.
local function unpermitted(known, is_sync)
  if known.allows == "nothing" or (is_sync and known.allows == "read") then
    local wrong = misfit "MissingPermission"
    local is_persons = known.scopes and known.application == azure_cli_id
    wrong.hint = is_persons and azure_cli_hint or wrong.hint
    return wrong
  end
end

--- Why a token must not be sent with a request, or nil. A token is read once, when it is first seen.
---@param client autopilot.Client
---@param is_sync boolean false: the record is to be read
---@param is_vouched boolean? its provider has returned a lifetime for it, so that its expiry is not checked
---@return table? answer in the shape of a report
---@return boolean? may_refresh a newer token may be without this fault
function access_token.misfit(client, token, is_sync, is_vouched)
  local known = client.facts
  local is_new = not known or known.token ~= token
  if is_new then
    known = access_token.of(token)
    known.token, known.misdirected = token, misdirected(known, client)
    client.facts = known
  end
  local lacking, wrong = unpermitted(known, is_sync), known.misdirected
  local since = not is_vouched and known.expires_at and client.options.now() - known.expires_at
  if not wrong and since and since >= 0 then
    wrong = misfit("TokenExpired", dates.duration(math.min(since, 1e11)))
  end
  wrong = wrong or lacking
  if not wrong then
    return nil
  end
  -- A permission may have been granted since the token was first seen.
  local may_refresh = not known.misdirected and not (is_new and wrong == lacking)
  return answers.without_token(client, wrong.message, wrong), may_refresh
end

return access_token
