--- Signs an application in with a token of its platform, such as Kubernetes: the file that holds that
-- token is the assertion (RFC 7523 section 2.2; Microsoft Entra Workload ID).
--
-- The platform renews the file, so it is read at each request.

local authority = require "autopilot.token.authority"
local oauth = require "autopilot.token.oauth"
local options = require "autopilot.base.options"
local provider = require "autopilot.token.provider"
local secret_file = require "autopilot.token.secret_file"

---@class autopilot.token.WorkloadIdentityOptions: autopilot.token.CommonOptions
---@field token_file string? default: AZURE_FEDERATED_TOKEN_FILE
---@field client_id string? default: AZURE_CLIENT_ID
---@field tenant string? default: that of the client, else AZURE_TENANT_ID

local name = "autopilot.token.workload_identity"

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

--- The name of the file; or nil and what to set.
local function path_of(checked)
  return option_or_variable(checked, "token_file", "AZURE_FEDERATED_TOKEN_FILE")
end

--- The assertion that the file holds now; or nil and a sentence.
local function read_assertion(checked)
  local path, message = path_of(checked)
  if not path then
    return nil, message
  end
  local assertion
  -- Platforms mount the file readable within the container, which has one user.
  assertion, message = secret_file.read_line(path, true)
  if not assertion then
    return nil, message
  elseif assertion:find "[^\33-\126]" then
    return nil, "the file of the platform's token must hold a token and nothing else"
  end
  return assertion
end

--- Makes a provider. It reads and sends nothing before it is asked, and tells then what is missing.
---@param given autopilot.token.WorkloadIdentityOptions?
---@param level integer? where a mistake raises, as for `error`; default 2, the caller
---@return autopilot.TokenProvider
local function new(given, level)
  local checked = options.check(name, rules, given, level)
  return function(ask)
    local client_id, message = option_or_variable(checked, "client_id", "AZURE_CLIENT_ID")
    if not client_id then
      return provider.failure(message)
    end
    local token, expires_in, extra = oauth.sign_in(ask, checked, function()
      local assertion, reason = read_assertion(checked)
      return assertion and { client_assertion = assertion }, reason
    end, { client_id = client_id, tenant = authority.environment(checked, "AZURE_TENANT_ID") })
    if not token and extra.reason == not_within_its_time then
      extra.hint = (
        "The token in %s is not within its time: see that the platform renews the file, and "
        .. "check this machine's clock."
      ):format(secret_file.printable(path_of(checked) or ""))
    end
    return token, expires_in, extra
  end
end

return new
