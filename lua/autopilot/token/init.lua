--- Token providers: each is a way to sign in, and a function that a client takes as its `token`.
--
-- The facade. A provider is loaded when it is first used. Those that ask a service for a token come with a cache,
-- so that a token is fetched once and kept as long as it is valid.

---@class autopilot.token
---@field client_secret fun(given: autopilot.token.ClientSecretOptions): autopilot.TokenProvider
---@field client_certificate fun(given: autopilot.token.ClientCertificateOptions): autopilot.TokenProvider
---@field client_assertion fun(given: autopilot.token.ClientAssertionOptions): autopilot.TokenProvider
---@field refresh_token fun(given: autopilot.token.RefreshTokenOptions): autopilot.TokenProvider
---@field workload_identity fun(given: autopilot.token.WorkloadIdentityOptions?): autopilot.TokenProvider
---@field github_actions fun(given: autopilot.token.GithubActionsOptions?): autopilot.TokenProvider
---@field azure_pipelines fun(given: autopilot.token.AzurePipelinesOptions?): autopilot.TokenProvider
---@field managed_identity fun(given: autopilot.token.ManagedIdentityOptions?): autopilot.TokenProvider
---@field azure_cli fun(given: autopilot.token.AzureCliOptions?): autopilot.TokenProvider
---@field device_code fun(given: autopilot.token.DeviceCodeOptions): autopilot.TokenProvider
---@field environment fun(given: autopilot.token.EnvironmentOptions?): autopilot.TokenProvider
---@field default fun(given: autopilot.token.DefaultOptions?): autopilot.TokenProvider
---@field chain fun(members: autopilot.TokenProvider[]): autopilot.TokenProvider
---@field static fun(token: string): autopilot.TokenProvider
---@field cached fun(provider: autopilot.TokenProvider, given: autopilot.token.CachedOptions?): autopilot.TokenProvider
---@field inspect fun(token: any): table<string, any>?, string?

local complaint_about = require("autopilot.base.options").token_complaint

local token = {}

--- Makes a provider that always returns this token, fetched elsewhere, also after it was refused: it has no other.
function token.static(text)
  local complaint = complaint_about(text)
  if complaint then
    error("autopilot.token.static: the token " .. complaint, 2)
  end
  return function(ask)
    if ask and ask.has_several then
      local message = "a ready token is of one tenant, and there are several"
      return nil, message, { code = "TenantMismatch", is_transient = false }
    end
    return text
  end
end

-- The functions that are used unchanged.
local functions = {
  chain = "autopilot.token.chain",
  cached = "autopilot.token.cached",
  inspect = "autopilot.base.jwt",
}

return setmetatable(token, {
  __index = function(self, name)
    local provider = require "autopilot.token.provider"
    if provider.modules[name] then
      self[name] = function(given)
        local made = provider.maker(name)(given, 3) -- a mistake raises at its caller's line
        -- The members of `default` have caches.
        return name == "default" and made or require "autopilot.token.cached"(made)
      end
    elseif functions[name] then
      self[name] = require(functions[name])
    end
    return rawget(self, name)
  end,
})
