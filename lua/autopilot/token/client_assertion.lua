--- Signs an application in with an assertion of any platform that it trusts: a function of the user gets it, or the
-- platform puts it into an environment variable, as GitLab does.

local by_assertion = require "autopilot.token.assertion"
local authority = require "autopilot.token.authority"
local provider = require "autopilot.token.provider"

---@class autopilot.token.ClientAssertionOptions: autopilot.token.CommonOptions
---@field client_id string
---@field assertion (string|fun(ask: autopilot.TokenAsk): string?, string?) a function that is asked at each request; or a variable's name
---@field tenant string? default: that of the client, else AZURE_TENANT_ID

-- An assertion may be given by mistake, so what was given is never quoted.
local function check_variable(value)
  local is_name = type(value) ~= "string" or value:find "^[%a_][%w_]*$" and #value <= 100
  return not is_name and "must be a function, or the name of an environment variable" or nil
end

local rules = {
  client_id = authority.required_client_id,
  assertion = {
    type = { "string", "function" },
    required = true,
    secret = true,
    check = check_variable,
  },
}

return by_assertion("client_assertion", rules, nil, function(ask, setting)
  local source = setting "assertion"
  if type(source) == "string" then
    return setting(source), source
  end
  return provider.ask_user("assertion", "assertion", source, ask)
end)
