--- nginx with `autopilot.openresty` in every phase, and an upstream for it: what its specs start.

local await = require "support.await"
local cjson = require "cjson.safe"
local nginx_configuration = require "support.nginx_configuration"
local nginx_world = require "support.nginx_world"
local overlay = require "support.overlay"
local upstream_world = require "support.upstream_world"

local openresty_world = {}

local kept = { "UPSTREAM", "CA_FILE", "HTTP_VERSION", "DRIVER", "DNS_GATE", "DNS_OTHERS", "STORE" }

local http = [[
  lua_shared_dict notes 1m;
  lua_shared_dict shared 1m;
  init_by_lua_block { handlers = require "support.openresty_handlers"; handlers.init() }
  init_worker_by_lua_block { handlers.init_worker() }
  server {
    listen 127.0.0.1:$PORT backlog=1024$REUSEPORT;
    location /run/ {
      lua_check_client_abort on;
      content_by_lua_block { handlers.answer() }
    }
    location = /token {
      content_by_lua_block { ngx.print "answer-0" }
    }
    location = /alive {
      return 200 alive;
    }
    location = /rewrite {
      rewrite_by_lua_block { handlers.try "rewrite" }
      content_by_lua_block { ngx.print "done" }
    }
    location = /access {
      access_by_lua_block { handlers.try "access" }
      content_by_lua_block { ngx.print "done" }
    }
    location = /content {
      content_by_lua_block { handlers.try "content"; ngx.print "done" }
    }
    location = /filters {
      content_by_lua_block { ngx.print "done" }
      header_filter_by_lua_block { handlers.try "header_filter" }
      body_filter_by_lua_block { if ngx.arg[1] ~= "" then handlers.try "body_filter" end }
      log_by_lua_block { handlers.try "log" }
    }
  }
]]

---@class OpenrestyWorld
---@field upstream UpstreamWorld
---@field server NginxWorld
local World = {}
World.__index = World

---@param given table? workers, connections, descriptors, shutdown_timeout, driver, http_version, host, environment, upstream
---@return OpenrestyWorld
function openresty_world.start(given)
  given = given or {}
  local upstream = given.upstream or upstream_world.start()
  -- With it the system spreads connections over the workers.
  local with_port = http:gsub("%$REUSEPORT", given.workers and " reuseport" or "")
  local configuration = nginx_configuration(with_port, {
    workers = given.workers,
    connections = given.connections,
    descriptors = given.descriptors,
    shutdown_timeout = given.shutdown_timeout,
    environment = kept,
  })
  local environment = {
    UPSTREAM = ("https://%s:%d"):format(given.host or "127.0.0.1", upstream.port),
    CA_FILE = upstream.ca_file,
    HTTP_VERSION = given.http_version or "2",
    DRIVER = given.driver or "thread",
  }
  overlay(environment, given.environment)
  local is_fine, server = pcall(nginx_world.start, {
    files = { ["nginx.conf"] = configuration },
    environment = environment,
  })
  if not is_fine then
    upstream:stop()
    error(server, 2)
  end
  return setmetatable({ upstream = upstream, server = server }, World)
end

--- Calls one of the handlers and waits for what it returns.
---@param name string
---@param query string?
---@return table
function World:run(name, query)
  local answer = self.server:get(("/run/%s?%s"):format(name, query or ""))
  local result = cjson.decode(answer.body)
  if not result then
    error(("%s answers %d: %s\n%s"):format(name, answer.status, answer.body, self.server:log()), 2)
  end
  return result
end

--- Calls one of the handlers; the result's `answer()` is to be decoded.
function World:begin(name, query)
  return self.server:send("GET", ("/run/%s?%s"):format(name, query or ""))
end

--- Waits until so many requests have arrived upstream since it started.
---@param count integer
function World:await_arrivals(count)
  await(count .. " requests upstream", function()
    return self.upstream:counts().requests >= count
  end)
end

function World:stop()
  self.server:stop()
  self.upstream:stop()
end

return openresty_world
