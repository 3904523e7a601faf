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
  local variable = authority.environment(checked)
  return function(ask)
    local client_id = checked.client_id or variable "AZURE_CLIENT_ID"
    local path = checked.token_file or variable "AZURE_FEDERATED_TOKEN_FILE"
    local missing = not client_id and "AZURE_CLIENT_ID or the option client_id"
      or not path and "AZURE_FEDERATED_TOKEN_FILE or the option token_file"
    if missing then
      return provider.failure("workload identity is not set up: set " .. missing)
    end
    local token, expires_in, extra = oauth.sign_in(ask, checked, function()
      local assertion, message = read_assertion(path)
      return assertion and oauth.proof(assertion), message
    end, { client_id = client_id, tenant = variable "AZURE_TENANT_ID" })
    if extra.reason == not_within_its_time then
      extra.hint = (
        "The token in %s is not within its time: see that the platform renews the file, and "
        .. "check this machine's clock."
      ):format(secret_file.printable(path))
    end
    return token, expires_in, extra
  end
end)
