-- lua_http.lua BASE_URL TOKEN_FILE COUNT CA_FILE: the calls made with lua-http on one connection.
-- Prints the microseconds that each but the first took.
local client = require "http.client"
local headers = require "http.headers"
local http_tls = require "http.tls"
local x509 = require "openssl.x509"
local store = require "openssl.x509.store"
local monotime = require("cqueues").monotime

local function read(name, what)
  local file = assert(io.open(name))
  local text = file:read(what)
  file:close()
  return text
end

local base_url, token, count = arg[1], read(arg[2], "*l"), tonumber(arg[3])
local host, port = base_url:match "^https://(.-):(%d+)$"
local context = http_tls.new_client_context()
context:setStore(store.new():add(x509.new(read(arg[4], "*a"))))
local connection = assert(client.connect {
  host = host,
  port = tonumber(port),
  tls = true,
  ctx = context,
  sendname = false, -- an address is no server name
})

local digits = "0123456789abcdef"
local function uuid()
  local text = ("xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx"):gsub("x", function()
    local digit = math.random(16)
    return digits:sub(digit, digit)
  end)
  return text
end

local function call()
  local request = headers.new()
  request:append(":method", "POST")
  request:append(":scheme", "https")
  request:append(":authority", host .. ":" .. port)
  request:append(":path", "/beta/deviceManagement/windowsAutopilotSettings/sync")
  request:append("authorization", "Bearer " .. token, true)
  request:append("client-request-id", uuid())
  request:append("accept", "application/json")
  request:append("user-agent", "lua-http")
  request:append("content-length", "0")
  local stream = assert(connection:new_stream())
  assert(stream:write_headers(request, true, 60))
  local response = assert(stream:get_headers(60))
  assert(response:get ":status" == "204")
  assert(stream:get_body_as_string(60))
  stream:shutdown()
end

call()
local began = monotime()
for _ = 2, count do
  call()
end
print(("%.3f"):format((monotime() - began) / (count - 1) * 1e6))
