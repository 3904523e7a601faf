--- What a token says of itself, for whoever asks why it is refused. Unverified, and never the token.

local inspect = require "autopilot.token.inspect"
local time_text = require "autopilot.cli.time_text"

local token_facts = {}

-- What the sync needs (Microsoft Graph, "windowsAutopilotSettings: sync").
local needed = "DeviceManagementServiceConfig.ReadWrite.All"

---@class autopilot.cli.TokenFacts
---@field ok true
---@field operation "token"
---@field audience string?
---@field tenant string?
---@field application string? its id
---@field user string? who signed in; nil for an application's own token
---@field roles string[]? permissions of an application
---@field scopes string[]? permissions that a user has delegated
---@field expires_at number? Unix seconds
---@field expires_in number? seconds, less than 0 when it is over
---@field permission string the one that a sync needs
---@field permitted boolean? whether it is there; nil when the token cannot be read
---@field message string? why nothing can be read

local function text(value)
  return (type(value) == "string" and value ~= "" and value)
    or (type(value) == "table" and text(value[1]))
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

local function contains(list, wanted)
  for _, entry in ipairs(list or {}) do
    if entry:lower() == wanted:lower() then
      return true
    end
  end
  return false
end

--- What can be known of a token. Opaque ones are no failure: the service alone has to understand them.
---@param token string
---@param now number Unix seconds
---@return autopilot.cli.TokenFacts
function token_facts.of(token, now)
  local claims, message = inspect(token)
  if not claims then
    return { ok = true, operation = "token", permission = needed, message = message }
  end
  local expires = type(claims.exp) == "number" and claims.exp or nil
  local roles, scopes = list_of(claims.roles), list_of(claims.scp)
  return {
    ok = true,
    operation = "token",
    audience = text(claims.aud),
    tenant = text(claims.tid),
    application = text(claims.appid) or text(claims.azp),
    user = text(claims.upn) or text(claims.preferred_username) or text(claims.unique_name),
    roles = roles,
    scopes = scopes,
    expires_at = expires,
    expires_in = expires and expires - now,
    permission = needed,
    permitted = contains(roles, needed) or contains(scopes, needed),
  }
end

local function expiry_of(facts)
  local left = facts.expires_in
  if not left or math.abs(facts.expires_at) > 1e11 then
    return left and "out of every range" or "not told"
  end
  local moment = time_text.moment(facts.expires_at)
  if left > 0 then
    return ("%s (in %s)"):format(moment, time_text.duration(left))
  end
  return ("%s (%s ago)"):format(moment, time_text.duration(-left))
end

--- The lines of a small table for people.
---@param facts autopilot.cli.TokenFacts
---@return string[]
function token_facts.lines(facts)
  if facts.message then
    return { "A token was given. " .. facts.message:gsub("^%l", string.upper) .. "." }
  end
  local rows = {
    { "Audience", facts.audience or "not told" },
    { "Tenant", facts.tenant or "not told" },
    { "Application", facts.application or "not told" },
  }
  local function add(title, value)
    if value then
      rows[#rows + 1] = { title, value }
    end
  end
  add("User", facts.user)
  add("Roles", facts.roles and table.concat(facts.roles, ", "))
  add("Scopes", facts.scopes and table.concat(facts.scopes, ", "))
  add("Expires", expiry_of(facts))
  add(
    "Permission",
    facts.permitted and facts.permission .. " is there"
      or facts.permission .. " is missing: grant it to the application, with admin consent"
  )
  local lines = {}
  for index, row in ipairs(rows) do
    lines[index] = ("%-13s %s"):format(row[1], row[2])
  end
  return lines
end

return token_facts
