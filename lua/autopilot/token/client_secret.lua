--- Signs an application in with its secret (OAuth 2.0 client credentials, RFC 6749 section 4.4).

local authority = require "autopilot.token.authority"
local oauth = require "autopilot.token.oauth"
local protected_call = require "autopilot.base.protected_call"
local provider = require "autopilot.token.provider"
local secret_file = require "autopilot.token.secret_file"

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

--- The secret that a function of the user returns; or nil and a sentence.
local function ask_for_secret(callable, ask)
  local ok, secret, message = protected_call(callable, ask)
  if not ok then
    -- The error is not repeated, because it may quote the secret.
    return nil, "the function client_secret raised an error"
  elseif type(secret) ~= "string" or check_secret(secret) then
    local said = provider.cleaner()(message)
    return nil, "the function client_secret gave no secret" .. (said and ": " .. said or "")
  end
  return secret
end

return provider.kind("client_secret", rules, function(checked)
  if (checked.client_secret == nil) == (checked.client_secret_file == nil) then
    return nil, "needs one of the options 'client_secret' and 'client_secret_file'"
  end
  local secret = checked.client_secret
  return function(ask)
    return oauth.sign_in(ask, checked, function()
      local found, message = secret, nil
      if secret == nil then
        found, message =
          secret_file.read_line(checked.client_secret_file, checked.allow_world_readable)
        secret = found
      elseif type(secret) ~= "string" then
        found, message = ask_for_secret(secret, ask)
      end
      return found and { client_secret = found }, message
    end)
  end
end)
