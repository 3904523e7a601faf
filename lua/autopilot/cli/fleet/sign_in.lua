--- How each tenant of a list is signed in to: as the command's options say, or as its own line does.
--
-- Tenants with the same application and secret file share a provider, which is freed when none of them is in
-- progress any more.

local sign_in = require "autopilot.cli.sign_in"

---@class autopilot.cli.FleetSignIn
---@field mistake string? why there is no `default`
---@field package default autopilot.TokenProvider? of tenants whose line says nothing about signing in
---@field package options table
---@field package context autopilot.cli.Context
---@field package providers table<string, autopilot.TokenProvider> weak
local FleetSignIn = {}
FleetSignIn.__index = FleetSignIn

--- A provider for the options of the command with those of the tenant in their place; or nil and what is wrong.
local function open(self, tenant)
  local options = {}
  for name, value in pairs(self.options) do
    options[name] = value
  end
  options.tenant, options.has_several = tenant.tenant, true
  options.client_id = tenant.client_id or options.client_id
  if tenant.client_secret_file then
    options.auth, options.certificate, options.token_file = "secret", nil, nil
    options.client_secret_file = tenant.client_secret_file
  end
  return sign_in.open(options, self.context)
end

---@param options table<string, any> of the command
---@param context autopilot.cli.Context takes the secrets that are read
---@return autopilot.cli.FleetSignIn
function FleetSignIn.new(options, context)
  local self = setmetatable({
    options = options,
    context = context,
    providers = setmetatable({}, { __mode = "v" }),
  }, FleetSignIn)
  self.default, self.mistake = open(self, { tenant = "any" })
  return self
end

--- The provider for a tenant; or nil and what is wrong, with the names of the list's fields.
---@param tenant autopilot.cli.Tenant
---@return autopilot.TokenProvider? provider
---@return string? message
function FleetSignIn:provider(tenant)
  if not tenant.client_id and not tenant.client_secret_file then
    return self.default, self.mistake
  end
  local key = (tenant.client_id or "") .. "\n" .. (tenant.client_secret_file or "")
  local provider, message = self.providers[key], nil
  if not provider then
    provider, message = open(self, tenant)
    self.providers[key] = provider
  end
  if message and tenant.client_secret_file then
    message = message:gsub("^%-%-client%-secret%-file", "client_secret_file")
  end
  return provider, message
end

return FleetSignIn
