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

-- The providers that ask for a token and get a cache; and the other functions, of which `default` has members with
-- caches.
local with_cache = " client_secret client_certificate client_assertion workload_identity "
  .. "github_actions azure_pipelines refresh_token managed_identity azure_cli device_code "
  .. "environment "
local others = " default chain static cached inspect "

return setmetatable({}, {
  __index = function(self, name)
    local word = " " .. tostring(name) .. " "
    if with_cache:find(word, 1, true) then
      self[name] = function(given)
        local make = require("autopilot.token.provider").maker(name)
        local made = make(given, 3) -- a mistake raises at its caller's line
        return require "autopilot.token.cached"(made)
      end
    elseif others:find(word, 1, true) then
      self[name] = require(name == "inspect" and "autopilot.base.jwt" or "autopilot.token." .. name)
    end
    return rawget(self, name)
  end,
})
