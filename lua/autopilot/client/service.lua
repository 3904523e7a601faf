--- What clients of the same service have in common: options, HTTP layer, retry policy and requests.
--
-- A fleet makes one service, and of it a client for each tenant, which then costs little.

local Client = require "autopilot.client.client"
local Request = require "autopilot.graph.request"
local client_options = require "autopilot.client.options"
local clouds = require "autopilot.base.clouds"
local curl = require "autopilot.transport.curl"
local read_ahead = require "autopilot.base.read_ahead"

local resource = "/deviceManagement/windowsAutopilotSettings"

-- Modules that an operation or a failure needs. They are loaded when they are first used, so that a script
-- does not pay for what it does not use; but their files are read here, before anything is sent.
local needed_later = "base.claims base.interrupt base.network_hint base.option_mistake "
  .. "base.redact base.sentence "
  .. "graph.answer graph.error graph.error_forms graph.hint graph.loose_json graph.trace "
  .. "retry.policy "
  .. "sync.ensure sync.failure sync.record sync.sync sync.wait"

---@class autopilot.Service
---@field options table checked
---@field base_url string
---@field record_url string of the record that tells of syncs
---@field scope string of the tokens
---@field audience string? for which tokens must be; nil: a gateway may want tokens of its own
---@field transport function
---@field owns_transport boolean the clients close it
---@field policy autopilot.RetryPolicy? nil: the default, or none
---@field on_event function|false
---@field package client_metatable table
local service = {}

local service_metatable = { __index = Client } -- clients find their methods through their service

--- Makes a service. Nothing is sent.
---@param given autopilot.ClientOptions
---@param make_transport function? takes `{ http = }`; default libcurl that blocks
---@param level integer? whose line a mistake is told at, as for `error`; default 2
---@return autopilot.Service
---@return string|autopilot.TokenProvider token
---@return string? tenant
function service.new(given, make_transport, level)
  local checked, is_gateway = client_options.check(given, level or 2)
  local graph, base_url = clouds[checked.cloud].graph, checked.base_url
  local token, tenant = checked.token, checked.tenant
  checked.token, checked.tenant = nil, nil -- each client has its own
  local self = setmetatable({
    options = checked,
    base_url = base_url,
    scope = graph .. "/.default",
    audience = not is_gateway and graph or nil,
    transport = checked.transport,
    policy = checked.retry or nil,
    owns_transport = not checked.transport,
    on_event = checked.on_event or false,
  }, service_metatable)
  if self.owns_transport then
    self.transport = (make_transport or curl.new) { http = checked.http }
  end
  self.client_metatable = {
    __index = self,
    __gc = self.owns_transport and Client.close or nil,
    __close = Client.close,
    __tostring = Client.__tostring,
  }
  local url = ("%s/%s%s"):format(base_url, checked.api_version, resource)
  self.record_url = url
  read_ahead(needed_later)
  if checked.trace then
    require "autopilot.transport.foreign" -- with which it makes a request from a prepared one
  end
  self.sync_request = Request.new(self, "POST", url .. "/sync", 204)
  self.status_request = Request.new(self, "GET", url, 200)
  return self, token, tenant
end

return service
