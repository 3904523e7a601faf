--- Gets tokens for an application with the refresh token of a person who has signed in before (RFC 6749 section 6). It
-- is for partners, whose refresh token is valid in the tenants of all their customers (Partner Center, "Secure
-- Application Model").
--
-- An answer may contain a newer refresh token, which replaces the earlier one in memory for all tenants. The function
-- `on_rotation` gets it, to store it for the next start.

local application = require "autopilot.token.application"
local authority = require "autopilot.token.authority"
local merged = require "autopilot.base.merged"
local protected_call = require "autopilot.base.protected_call"
local provider = require "autopilot.token.provider"

---@class autopilot.token.RefreshTokenOptions: autopilot.token.CommonOptions
---@field client_id string of the application that the person has signed in to
--- The refresh token, or a function that returns it. The function is called at the first sign-in, and again after a
--- refresh token was refused.
---@field refresh_token string|fun(ask: autopilot.TokenAsk): string?, string?
---@field on_rotation fun(refresh_token: string)? stores a newer refresh token; called again at the next sign-in if it raises an error
---@field client_secret (string|fun(ask: autopilot.TokenAsk): string?, string?)? as for `client_secret`; a public client has neither secret nor certificate
---@field client_secret_file string?
---@field certificate string? as for `client_certificate`, with `private_key` and `passphrase`
---@field allow_world_readable boolean?

local function check_token(value)
  local is_wrong = type(value) == "string" and not value:find "^[\33-\126]+$"
  return is_wrong and "must be one word of ASCII characters" or nil
end

local rules = authority.rules(application.secret_rules, application.certificate_rules, {
  client_id = authority.required_client_id,
  certificate = merged(application.certificate_rules.certificate, { required = false }),
  refresh_token = {
    type = { "string", "function" },
    required = true,
    secret = true,
    check = check_token,
  },
  on_rotation = { type = "function" },
})

-- Entra also answers `invalid_grant` where the person may not sign in to the tenant.
local was_refused = "If it is refused in every tenant, the refresh token has expired or was "
  .. "revoked: let the person sign in again, with a second factor, and replace it."

return provider.kind("refresh_token", rules, function(checked)
  local prove, mistake = application.proof_of(checked)
  if mistake then
    return nil, mistake
  end
  local source, newest, refused, unsaved = checked.refresh_token, nil, nil, nil

  --- Returns the refresh token to use. The user's function is called again when the newest token was refused. A token
  -- given as text stays in use, because the refusal may concern one tenant only.
  local function find(ask)
    local known = newest
    if not known or (known == refused and type(source) ~= "string") then
      local given = provider.ask_user("refresh_token", source, ask, check_token)
      -- If the function yields, another sign-in may bring a newer one meanwhile.
      newest = newest == known and given or newest
    end
    return newest
  end

  --- Passes a newer refresh token to `on_rotation`. If that raises an error, the next sign-in tries again.
  local function save()
    local token = unsaved
    if token and checked.on_rotation and protected_call(checked.on_rotation, token) then
      unsaved = unsaved ~= token and unsaved or nil -- meanwhile another sign-in may have brought a newer one
    end
  end

  return function(ask)
    local place, current = authority.find(checked, ask), find(ask)
    local token, expires_in, extra = authority.request(ask, place, {
      grant_type = "refresh_token",
      refresh_token = current,
      scope = place.scope .. " offline_access", -- which asks for a newer refresh token
    }, prove)
    if token then
      local newer = extra.refresh_token
      if newer and newer ~= current then
        newest, unsaved = newer, newer
      end
      extra.refresh_token = nil -- not for the caller
      save()
    elseif extra.code == "invalid_grant" then
      refused = current
      extra.hint = extra.hint or was_refused
    end
    return token, expires_in, extra
  end
end)
