--- Signs an application in with a token of its platform, such as Kubernetes: the file that holds that
-- token is the assertion (RFC 7523 section 2.2; Microsoft Entra Workload ID).
--
-- The platform renews the file, so it is read at each request.

local authority = require "autopilot.token.authority"
local oauth = require "autopilot.token.oauth"
local provider = require "autopilot.token.provider"
local secret_file = require "autopilot.token.secret_file"

---@class autopilot.token.WorkloadIdentityOptions: autopilot.token.CommonOptions
---@field token_file string? default: AZURE_FEDERATED_TOKEN_FILE
---@field client_id string? default: AZURE_CLIENT_ID
---@field tenant string? default: that of the client, else AZURE_TENANT_ID

local rules = authority.rules { token_file = { type = "string" } }

-- The AADSTS number of an assertion that has expired, or is not valid yet.
local not_within_its_time = "700024"

--- The option, else the variable; or nil and which one to set.
local function option_or_variable(checked, option, variable)
  local value = checked[option] or authority.environment(checked, variable)
  if value then
    return value
  end
  return nil, ("workload identity is not set up: set %s or the option %s"):format(variable, option)
end

--- The assertion that the file holds now; or nil and a sentence. Platforms mount the file readable within
-- the container, which has one user.
local function read_assertion(path)
  local assertion, message = secret_file.read_line(path, true)
  if assertion and assertion:find "[^\33-\126]" then
    return nil, "the file of the platform's token must hold a token and nothing else"
  end
  return assertion, message
end

return provider.kind("workload_identity", rules, function(checked)
  return function(ask)
    local client_id, message = option_or_variable(checked, "client_id", "AZURE_CLIENT_ID")
    local path
    if client_id then
      path, message = option_or_variable(checked, "token_file", "AZURE_FEDERATED_TOKEN_FILE")
    end
    if not path then
      return provider.failure(message)
    end
    local token, expires_in, extra = oauth.sign_in(ask, checked, function()
      local assertion, complaint = read_assertion(path)
      return assertion and oauth.proof(assertion), complaint
    end, { client_id = client_id, tenant = authority.environment(checked, "AZURE_TENANT_ID") })
    if extra.reason == not_within_its_time then
      extra.hint = (
        "The token in %s is not within its time: see that the platform renews the file, and "
        .. "check this machine's clock."
      ):format(secret_file.printable(path))
    end
    return token, expires_in, extra
  end
end)
