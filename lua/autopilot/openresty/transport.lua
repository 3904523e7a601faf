--- The HTTP layer inside an nginx worker: as `autopilot.transport.curl`, but a light thread that waits lets
-- the others run.

local adapter = require "autopilot.transport.foreign"
local curl = require "autopilot.transport.curl"
local options = require "autopilot.base.options"
local phase = require "autopilot.openresty.phase"
local worker = require "autopilot.openresty.worker"

---@class autopilot.openresty.Transport: autopilot.CurlTransport
local Transport = {}
Transport.__index = Transport

local default_timeout = { connect = 10, total = 60 }

--- Sends one attempt. A finished transfer, or nil and a network failure.
local function exchange(prepared, connect, total, token, client_request_id, retry_attempt)
  local obstacle, message = phase.obstacle()
  if obstacle then
    return nil, phase.unsent(obstacle, message)
  end
  local driver = worker.driver()
  return driver:run(prepared, connect, total, token, client_request_id, retry_attempt)
end

--- Makes a request once that is sent many times. An attempt adds only what differs.
---@param request autopilot.HttpRequest without timeout and authorization
---@return fun(connect: number, total: number, token: string?, client_request_id: string?, retry_attempt: integer?): autopilot.Reply send
function Transport:prepare_replies(request)
  local prepared = curl.prepare(self.http, request)
  return function(connect, total, token, client_request_id, retry_attempt)
    local transfer, failure =
      exchange(prepared, connect, total, token, client_request_id, retry_attempt)
    return transfer or adapter.reply(nil, failure)
  end
end

function Transport:__call(request)
  local timeout = request.timeout or default_timeout
  local transfer, failure = exchange(
    curl.prepare(self.http, request),
    timeout.connect or default_timeout.connect,
    timeout.total or default_timeout.total
  )
  if not transfer then
    return nil, failure
  end
  return curl.read_result(transfer)
end

--- Nothing is to be closed: the connections are the worker's, and other clients use them.
function Transport.close() end

local transport = {}

local rules = { http = { type = "table", fields = curl.rules } }

--- A transport for light threads.
---@param given { http: table? }? as in the client's options
---@return autopilot.openresty.Transport
function transport.new(given)
  local checked = options.check("autopilot.transport.curl", rules, given)
  return setmetatable({ http = checked.http }, Transport)
end

return transport
