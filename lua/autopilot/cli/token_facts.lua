--- What a token says of itself, for whoever asks why it is refused. Unverified, and never the token.

local time_text = require "autopilot.cli.time_text"
local token_claims = require "autopilot.graph.access_token"

local token_facts = {}

---@class autopilot.cli.TokenFacts
---@field ok boolean false: it does not permit a sync, and `outcome`, `error` and `hint` tell why
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

--- What can be known of a token. Opaque ones are no failure: the service alone has to understand them.
---@param token string
---@param now number Unix seconds
---@return autopilot.cli.TokenFacts
function token_facts.of(token, now)
  local known = token_claims.of(token)
  if known.message then
    return {
      ok = true,
      operation = "token",
      permission = token_claims.permission,
      message = known.message,
    }
  end
  return {
    ok = true,
    operation = "token",
    audience = known.audience,
    tenant = known.tenant_id,
    application = known.application,
    user = known.user,
    roles = known.roles,
    scopes = known.scopes,
    expires_at = known.expires_at,
    expires_in = known.expires_at and known.expires_at - now,
    permission = token_claims.permission,
    permitted = token_claims.permits(known, true) == true,
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
