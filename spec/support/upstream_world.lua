--- A stand-in for Microsoft Graph that does what the token tells it: real nginx, over TLS.
--
-- Tokens: `answer-SECONDS` answers 204 after that time; `held` when the spec says so (`release`); `together-COUNT`
-- when so many of them are there; `stall` never. `reset` resets the connection. `phase` answers at once and is counted
-- apart.
-- Each answer has the request's own client-request-id as its request-id.

local certificates = require "support.certificates"
local cjson = require "cjson.safe"
local https = require "ssl.https"
local nginx_configuration = require "support.nginx_configuration"
local nginx_world = require "support.nginx_world"

local upstream_world = {}

local http = [[
  lua_shared_dict counts 1m;
  lua_shared_dict gates 1m;
  keepalive_requests 1000000;
  reset_timedout_connection on;
  server {
    $LISTEN
    ssl_certificate $CERTIFICATE;
    ssl_certificate_key $KEY;
    location = /counts {
      content_by_lua_block {
        local counts = { requests = 0, phases = 0, http1 = 0, http2 = 0, connections = 0 }
        for _, key in ipairs(ngx.shared.counts:get_keys(0)) do
          counts[key] = ngx.shared.counts:get(key)
          counts.connections = counts.connections + (key:match "^connection " and 1 or 0)
        end
        ngx.print(require("cjson").encode(counts))
      }
    }
    location = /release {
      content_by_lua_block { ngx.shared.gates:set("is_open", true) }
    }
    location /beta/ {
      content_by_lua_block {
        local headers = ngx.req.get_headers()
        local token = (headers.authorization or "Bearer nobody"):match "^Bearer (.*)$"
        if token == "nobody" then
          return ngx.exit(401)
        elseif token == "phase" then
          ngx.shared.counts:incr("phases", 1, 0)
          return ngx.exit(204)
        end
        ngx.shared.counts:incr("requests", 1, 0)
        ngx.shared.counts:incr(ngx.req.http_version() == 2 and "http2" or "http1", 1, 0)
        ngx.shared.counts:incr("connection " .. ngx.var.connection, 1, 0)
        ngx.header["request-id"] = headers["client-request-id"]
        if token == "stall" then
          ngx.sleep(600)
        elseif token == "reset" then
          return ngx.exit(444)
        end
        local gates, wanted = ngx.shared.gates, tonumber(token:match "^together%-(.*)$")
        local number = gates:incr("arrived", wanted and 1 or 0, 0)
        while token == "held" and not gates:get "is_open"
          or wanted and gates:get "arrived" < math.ceil(number / wanted) * wanted
        do
          ngx.sleep(0.01)
        end
        local seconds = tonumber(token:match "^answer%-(.*)$") or 0
        if seconds > 0 then
          ngx.sleep(seconds)
        end
        ngx.exit(204)
      }
    }
  }
]]

---@class UpstreamWorld
---@field server NginxWorld
---@field port integer
---@field ca_file string
local Upstream = {}
Upstream.__index = Upstream

local function get(self, path)
  local parts = {}
  local done, status = https.request {
    url = ("https://127.0.0.1:%d%s"):format(self.port, path),
    sink = require("ltn12").sink.table(parts),
    cafile = self.ca_file,
    verify = "peer",
    protocol = "any",
  }
  assert(done and status == 200, status)
  return table.concat(parts)
end

--- What has arrived since it started.
---@return { requests: integer, phases: integer, http1: integer, http2: integer, connections: integer }
function Upstream:counts()
  return assert(cjson.decode(get(self, "/counts")))
end

--- Answers all requests with the token `held`, from now on.
function Upstream:release()
  get(self, "/release")
end

function Upstream:stop()
  self.server:stop()
  certificates.remove(self.certificates)
end

--- Starts one that offers HTTP/1.1 and HTTP/2. Its certificate is for 127.0.0.1 and *.example.test.
---@return UpstreamWorld
function upstream_world.start()
  local made = certificates.make()
  local values = {
    LISTEN = nginx_world.listen_with_tls(),
    CERTIFICATE = made.good,
    KEY = made.key,
  }
  local configuration = nginx_configuration((http:gsub("%$(%u+)", values)))
  local server = nginx_world.start { files = { ["nginx.conf"] = configuration } }
  return setmetatable({
    server = server,
    port = server.port,
    ca_file = made.ca,
    certificates = made,
  }, Upstream)
end

return upstream_world
