--- How each tenant of a list is signed in to: as the options say, or as its own line does.
--
-- A provider is shared by all tenants whose application and secret are the same, and is let go of when
-- none of them is in progress any more.

local sign_in = require "autopilot.cli.sign_in"

---@class autopilot.cli.FleetSignIn
---@field package options table
---@field package context autopilot.cli.Context
---@field package providers table<string, autopilot.TokenProvider> weak
---@field package default autopilot.TokenProvider? of tenants that say nothing of their own
---@field mistake string? why there is no `default`
local FleetSignIn = {}
FleetSignIn.__index = FleetSignIn

--- Standard input that can be read again and again.
local function remembering(stdin)
  local text
  return {
    read = function(_, most)
      text = text or stdin:read(most) or ""
      return text
    end,
  }
end

--- Secrets that are told more than once are kept once.
local function collector(secrets)
  local is_known = {}
  return setmetatable({}, {
    __newindex = function(_, _, secret)
      if secret and not is_known[secret] then
        is_known[secret] = true
        secrets[#secrets + 1] = secret
      end
    end,
  })
end

--- The command's context, for what is read more than once.
local function context_of(context)
  local own = { stdin = remembering(context.stdin), secrets = collector(context.secrets) }
  return setmetatable(own, { __index = context })
end

--- The options of the command, with those of the tenant in their place.
local function options_for(self, tenant)
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
  return options
end

--- A provider, or nil and what is wrong.
local function open(self, tenant)
  return sign_in.open(options_for(self, tenant), self.context)
end

---@param options table<string, any> of the command
---@param context autopilot.cli.Context takes the secrets that are read
---@return autopilot.cli.FleetSignIn
function FleetSignIn.new(options, context)
  local self = setmetatable({
    options = options,
    context = context_of(context),
    providers = setmetatable({}, { __mode = "v" }),
  }, FleetSignIn)
  self.default, self.mistake = open(self, { tenant = "any" })
  return self
end

--- The provider for a tenant; or nil and what is wrong, in the words of the list.
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
