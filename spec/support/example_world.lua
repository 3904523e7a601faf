--- The example for OpenResty as it stands in examples/openresty, in real nginx, with the emulated service.
--
-- Linked, not copied: what is put beside it is where it listens, the list of tenants, the environment.

local cjson = require "cjson.safe"
local emulated_service = require "support.emulated_service"
local nginx_world = require "support.nginx_world"
local overlay = require "support.overlay"

local example_world = {}

---@class ExampleWorld
---@field service table the emulated service
---@field server NginxWorld
local World = {}
World.__index = World

--- Starts both. A configuration of its own takes the place of the example's.
---@param given table configuration, tenants (a list), keep_fresh_every, max_age, environment, service; `beside`:
--- another portal of the same service
---@return ExampleWorld
function example_world.start(given)
  local service = given.beside and given.beside.service or emulated_service.start(given.service)
  local example = nginx_world.root() .. "/examples/openresty"
  local environment = service:environment {
    AZURE_CLIENT_ID = service.client_id,
    AZURE_CLIENT_SECRET = service.client_secret,
    PORTAL_KEEP_FRESH_EVERY = tostring(given.keep_fresh_every or 0),
  }
  overlay(environment, given.environment)
  local links = { portal = example .. "/portal" }
  links["nginx.conf"] = not given.configuration and example .. "/nginx.conf" or nil
  local is_fine, server = pcall(nginx_world.start, {
    files = {
      ["listen.conf"] = "listen 127.0.0.1:$PORT backlog=1024;",
      ["tenants.txt"] = table.concat(given.tenants, "\n") .. "\n",
      ["nginx.conf"] = given.configuration,
    },
    links = links,
    environment = environment,
  })
  if not is_fine then
    service.stop()
    error(server, 2)
  end
  return setmetatable({ service = service, server = server }, World)
end

--- Decodes the answer's body.
---@return table report
---@return { status: integer, headers: table, body: string } answer
function example_world.decoded(answer)
  return cjson.decode(answer.body) or {}, answer
end

---@param tenant string
function World:sync(tenant)
  return example_world.decoded(self.server:post("/sync/" .. tenant))
end

---@param tenant string
function World:ready(tenant)
  return example_world.decoded(self.server:get("/ready/" .. tenant))
end

--- The value of a metric whose name and labels are given as they are told; 0 where it is not told.
---@param sample string
---@return number
function World:metric(sample)
  for line in self.server:get("/metrics").body:gmatch "[^\n]+" do
    local key, value = line:match "^(.*) (%S+)$"
    if key == sample then
      return tonumber(value)
    end
  end
  return 0
end

--- How many requests of a kind the service has got: `sync`, `status`, `token`.
---@param kind string
---@return integer
function World:arrived(kind)
  return self.service:control("GET", "state").requests[kind] or 0
end

---@param fault table
function World:inject(fault)
  self.service:control("POST", "faults", fault)
end

function World:stop()
  self.server:stop()
  self.service.stop()
end

return example_world
