--- One client for each tenant and worker, made when it is first needed.
--
-- They share the worker's connections. Through the store they share what the workers know: of many
-- requests for a tenant one posts, and a cooldown that one worker has met is known to all.

local autopilot = require "autopilot.openresty"
local metrics = require "portal.metrics"
local settings = require "portal.settings"

local clients = {}

local by_tenant, provider = {}, nil

--- One token function for all tenants: its cache keeps a token for each.
local function token_function()
  if not provider then
    provider = settings.secret_file
        and autopilot.token.client_secret {
          client_id = os.getenv "AZURE_CLIENT_ID",
          client_secret_file = settings.secret_file,
        }
      or autopilot.token.environment {}
  end
  return provider
end

--- What is wrong with the settings for signing in, or with the files that they name; nil if a token could be
-- asked for. Sends nothing.
---@return string? complaint
function clients.sign_in_complaint()
  local is_ready = false
  local token, message = token_function() {
    tenant = settings.tenants[1] or "any.example",
    transport = function()
      is_ready = true
      return nil, { stage = "connect", message = "nothing is sent", delivered = "no" }
    end,
    sleep = function() end,
  }
  return not (token or is_ready) and message or nil
end

--- The options of a tenant's client.
---@param tenant string
---@return autopilot.ClientOptions
function clients.options_of(tenant)
  return {
    tenant = tenant,
    token = token_function(),
    base_url = settings.base_url,
    http = { ca_file = settings.ca_file },
    store = settings.store,
    on_event = metrics.count_event,
  }
end

--- The client of one of the portal's tenants. There is none for a tenant that is not in the list, so that a request
-- cannot create clients and series of metrics; nor if a worker cannot read a file that the master could read.
---@param tenant string
---@return autopilot.Client?
---@return integer? status the HTTP status that says why there is none
---@return string? message
function clients.of(tenant)
  if not settings.is_tenant[tenant] then
    return nil, 404, "this portal does not serve that tenant"
  elseif not by_tenant[tenant] then
    local is_made, made = pcall(function()
      return autopilot.client(clients.options_of(tenant))
    end)
    if not is_made then
      return nil, 503, (made:gsub("^[^\n]-:%d+: ", ""))
    end
    by_tenant[tenant] = made
  end
  return by_tenant[tenant]
end

return clients
