--- A client of one tenant: `require "autopilot.client" { token = …, tenant = … }`.

local Client = require "autopilot.client.client"
local service = require "autopilot.client.service"

--- Makes a client. Nothing is sent yet.
---@param given autopilot.ClientOptions
---@param make_transport function? for presets: takes `{ http = }`; default libcurl that blocks
---@param level integer? for presets: whose line a mistake is told at, as for `error`; default 2
---@return autopilot.Client
return function(given, make_transport, level)
  return Client.new(service.new(given, make_transport, (level or 2) + 1))
end
