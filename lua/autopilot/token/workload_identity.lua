--- Signs an application in with a token of its platform, such as Kubernetes: the file that holds that
-- token is the assertion (RFC 7523 section 2.2; Microsoft Entra Workload ID).
--
-- The platform renews the file, so it is read at each request.

local authority = require "autopilot.token.authority"
local oauth = require "autopilot.token.oauth"
local provider = require "autopilot.token.provider"
local secret_file = require "autopilot.token.secret_file"

local need = provider.need

---@class autopilot.token.WorkloadIdentityOptions: autopilot.token.CommonOptions
---@field token_file string? default: AZURE_FEDERATED_TOKEN_FILE
---@field client_id string? default: AZURE_CLIENT_ID
---@field tenant string? default: that of the client, else AZURE_TENANT_ID

local rules = authority.rules { token_file = { type = "string" } }

-- The AADSTS number of an assertion that has expired, or is not valid yet.
local not_within_its_time = "700024"

local not_set_up = "workload identity is not set up: set %s or the option %s"

return provider.kind("workload_identity", rules, function(checked)
  local variable = authority.environment(checked)
  local function setting(option, name)
    return need(checked[option] or variable(name), not_set_up:format(name, option))
  end
  return function(ask)
    local client_id = setting("client_id", "AZURE_CLIENT_ID")
    local path = setting("token_file", "AZURE_FEDERATED_TOKEN_FILE")
    local token, expires_in, extra = oauth.sign_in(ask, checked, function()
      -- Platforms mount the file readable within the container, which has one user.
      local text = need(secret_file.read_line(path, true))
      local must = "the file of the platform's token must hold a token and nothing else"
      return oauth.proof(need(text:match "^[\33-\126]+$", must))
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
