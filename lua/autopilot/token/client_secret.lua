--- Signs an application in with its secret (OAuth 2.0 client credentials, RFC 6749 section 4.4).

local authority = require "autopilot.token.authority"
local oauth = require "autopilot.token.oauth"
local options = require "autopilot.base.options"
local protected_call = require "autopilot.base.protected_call"
local provider = require "autopilot.token.provider"
local secret_file = require "autopilot.token.secret_file"

---@class autopilot.token.ClientSecretOptions: autopilot.token.CommonOptions
---@field client_id string
---@field client_secret (string|fun(ask: autopilot.TokenAsk): string?, string?)? the secret, or a function that is asked for it at each request
---@field client_secret_file string? a file that holds nothing else; read once
---@field allow_world_readable boolean? take a file that every user can read; default false

local name = "autopilot.token.client_secret"

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
  elseif type(secret) ~= "string" or secret == "" or secret:find "%c" then
    local said = provider.cleaner()(message)
    return nil, "the function client_secret gave no secret" .. (said and ": " .. said or "")
  end
  return secret
end

--- Makes a function that gives the secret; or nil and a sentence.
local function secret_source(checked)
  local given, from_file, message = checked.client_secret, nil, nil
  return function(ask)
    if type(given) == "string" then
      return given
    elseif given then
      return ask_for_secret(given, ask)
    elseif not from_file then
      from_file, message =
        secret_file.read_line(checked.client_secret_file, checked.allow_world_readable)
    end
    return from_file, message
  end
end

--- Makes a provider. It reads and sends nothing before it is asked.
---@param given autopilot.token.ClientSecretOptions
---@param level integer? where a mistake raises, as for `error`; default 2, the caller
---@return autopilot.TokenProvider
local function new(given, level)
  level = level or 2
  local checked = options.check(name, rules, given, level)
  if (checked.client_secret == nil) == (checked.client_secret_file == nil) then
    error(name .. ": needs one of the options 'client_secret' and 'client_secret_file'", level)
  end
  local find_secret = secret_source(checked)
  return function(ask)
    return oauth.sign_in(ask, checked, function()
      local secret, message = find_secret(ask)
      return secret and { client_secret = secret }, message
    end)
  end
end

return new
