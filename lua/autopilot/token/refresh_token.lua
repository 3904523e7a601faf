--- Signs an application in for a person who has signed in before, with the refresh token of that sign-in (RFC 6749
-- section 6): for partners, whose one refresh token is good in the tenants of all their customers (Partner Center,
-- "Secure Application Model").
--
-- An answer may bring a newer refresh token, which replaces the one before in memory, for all tenants. It is handed
-- to the option `on_rotation`, which keeps it for the next start.

local authority = require "autopilot.token.authority"
local merged = require "autopilot.base.merged"
local oauth = require "autopilot.token.oauth"
local proof = require "autopilot.token.proof"
local protected_call = require "autopilot.base.protected_call"
local provider = require "autopilot.token.provider"

---@class autopilot.token.RefreshTokenOptions: autopilot.token.CommonOptions
---@field client_id string of the application that the person has signed in to
--- The refresh token, or a function that is asked for it: first, and again after a refresh token was refused.
---@field refresh_token string|fun(ask: autopilot.TokenAsk): string?, string?
---@field on_rotation fun(refresh_token: string)? keeps a newer refresh token; called again at the next sign-in if it raises an error
---@field client_secret (string|fun(ask: autopilot.TokenAsk): string?, string?)? as for `client_secret`; a public client has neither secret nor certificate
---@field client_secret_file string?
---@field certificate string? as for `client_certificate`, with `private_key`, `passphrase` and `algorithm`
---@field allow_world_readable boolean?

local function is_token(text)
  return text:find "^[\33-\126]+$"
end

local rules = authority.rules(proof.secret.rules, proof.certificate.rules, {
  client_id = authority.required_client_id,
  certificate = merged(proof.certificate.rules.certificate, { required = false }),
  refresh_token = {
    type = { "string", "function" },
    required = true,
    secret = true,
    check = function(value)
      local is_wrong = type(value) == "string" and not is_token(value)
      return is_wrong and "must be one word of ASCII characters" or nil
    end,
  },
  on_rotation = { type = "function" },
})

-- Entra also answers `invalid_grant` where the person may not sign in to the tenant.
local was_refused = "If it is refused in every tenant, the refresh token has expired or was "
  .. "revoked: let the person sign in again, with a second factor, and replace it."

--- The proof of the application: none for a public client.
local function proof_of(checked)
  local has_secret = checked.client_secret or checked.client_secret_file
  if has_secret and checked.certificate then
    return nil, "takes a secret or a certificate, and not both"
  elseif has_secret then
    return proof.secret.prepare(checked)
  elseif checked.certificate then
    return proof.certificate.prepare(checked)
  end
  return function()
    return {}
  end
end

return provider.kind("refresh_token", rules, function(checked)
  local prove, mistake = proof_of(checked)
  if not prove then
    return nil, mistake
  end
  local source, newest, refused, unsaved = checked.refresh_token, nil, nil, nil

  --- The refresh token to redeem. A function is asked for another one when the newest was refused; that may also be
  -- due to the tenant, so a text stays in use.
  local function find(ask)
    if type(source) == "string" then
      newest = newest or source
    elseif not newest or newest == refused then
      newest = provider.ask_user("refresh_token", "refresh token", source, ask, is_token)
    end
    return newest
  end

  local function save()
    local token = unsaved
    if token and checked.on_rotation and protected_call(checked.on_rotation, token) then
      unsaved = unsaved ~= token and unsaved or nil -- meanwhile another sign-in may have brought a newer one
    end
  end

  return function(ask)
    local place, current = authority.find(checked, ask), find(ask)
    local token, expires_in, extra = oauth.sign_in(ask, place, prove, {
      grant_type = "refresh_token",
      refresh_token = current,
      scope = place.scope .. " offline_access", -- which asks for a newer refresh token
    })
    if not token then
      if extra.code == "invalid_grant" then
        refused = current
        extra.hint = extra.hint or was_refused
      end
      return nil, expires_in, extra
    end
    local newer = extra.refresh_token
    if newer and newer ~= current then
      newest, unsaved = newer, newer
    end
    save()
    return token, expires_in, { refresh_in = extra.refresh_in }
  end
end)
