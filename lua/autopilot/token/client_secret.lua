--- Signs an application in with its secret (OAuth 2.0 client credentials, RFC 6749 section 4.4).

local authority = require "autopilot.token.authority"
local oauth = require "autopilot.token.oauth"
local protected_call = require "autopilot.base.protected_call"
local provider = require "autopilot.token.provider"
local secret_file = require "autopilot.token.secret_file"

local need = provider.need

---@class autopilot.token.ClientSecretOptions: autopilot.token.CommonOptions
---@field client_id string
---@field client_secret (string|fun(ask: autopilot.TokenAsk): string?, string?)? the secret, or a function that is asked for it at each request
---@field client_secret_file string? a file that holds nothing else; read once
---@field allow_world_readable boolean? take a file that every user can read; default false

local function check_secret(value)
  if value == "" then
    return "must not be empty"
  elseif type(value) == "string" and value:find "%c" then
    return "must not contain control characters"
  end
end

local rules = authority.rules {
  client_secret = { type = { "string", "function" }, secret = true, check = check_secret },
  client_secret_file = { type = "string" },
  allow_world_readable = { type = "boolean", default = false },
}
rules.client_id.required = true

--- The secret that a function of the user returns.
local function ask_for_secret(callable, ask)
  local ok, secret, message = protected_call(callable, ask)
  need(ok, "the function client_secret raised an error") -- not repeated: it may quote the secret
  if type(secret) ~= "string" or check_secret(secret) then
    local said = provider.cleaner()(message)
    provider.fail("the function client_secret gave no secret" .. (said and ": " .. said or ""))
  end
  return secret
end

return provider.kind("client_secret", rules, function(checked)
  local secret, path = checked.client_secret, checked.client_secret_file
  if (secret == nil) == (path == nil) then
    return nil, "needs one of the options 'client_secret' and 'client_secret_file'"
  end
  return function(ask)
    return oauth.sign_in(ask, checked, function()
      secret = secret or need(secret_file.read_line(path, checked.allow_world_readable))
      return { client_secret = type(secret) == "string" and secret or ask_for_secret(secret, ask) }
    end)
  end
end)
