--- The example for OpenResty as it stands in examples/openresty, in real nginx, with the emulated service.
--
-- Linked, not copied, as `prepare` does: what is put beside it is where it listens, the list of tenants, the sizes
-- of its dictionaries, the environment.

local cjson = require "cjson.safe"
local emulated_service = require "support.emulated_service"
local files = require "support.files"
local nginx_world = require "support.nginx_world"
local overlay = require "support.overlay"
local shell = require "autopilot.cli.emulate.shell"

local example_world = {}

---@class ExampleWorld
---@field service table the emulated service
---@field server NginxWorld
local World = {}
World.__index = World

--- So many tenants.
---@param count integer
---@return string[]
function example_world.named(count)
  local tenants = {}
  for index = 1, count do
    tenants[index] = ("tenant-%d.example"):format(index)
  end
  return tenants
end

--- What `prepare` makes of a list of tenants: its dictionaries.conf.
---@param list string
---@return string
function example_world.dictionaries_for(list)
  local folder = shell.read("mktemp -d"):match "^[^\n]+"
  files.write(folder .. "/tenants.txt", list)
  shell.read('examples/openresty/prepare "$1"', folder)
  local text = files.read(folder .. "/dictionaries.conf")
  shell.read('rm -r "$1"', folder)
  return text
end

--- Starts both. A given configuration replaces the example's.
---@param given table configuration, tenants (a list), keep_fresh_every, read_again_after, environment, service, dictionaries;
--- `beside`: another portal of the same service
---@return ExampleWorld
function example_world.start(given)
  local service = given.beside and given.beside.service or emulated_service.start(given.service)
  local example = nginx_world.root() .. "/examples/openresty"
  local environment = service:environment {
    AZURE_CLIENT_ID = service.client_id,
    AZURE_CLIENT_SECRET = service.client_secret,
    PORTAL_KEEP_FRESH_EVERY = tostring(given.keep_fresh_every or 0),
    PORTAL_READ_AGAIN_AFTER = tostring(given.read_again_after or 0),
  }
  overlay(environment, given.environment)
  local links = {
    portal = example .. "/portal",
    ["dashboard.html"] = example .. "/dashboard.html",
  }
  local list = table.concat(given.tenants, "\n") .. "\n"
  links["nginx.conf"] = not given.configuration and example .. "/nginx.conf" or nil
  local is_fine, server = pcall(nginx_world.start, {
    files = {
      ["listen.conf"] = "listen 127.0.0.1:$PORT backlog=1024;",
      ["tenants.txt"] = list,
      ["dictionaries.conf"] = given.dictionaries or example_world.dictionaries_for(list),
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

--- Begins a request for a sync; its answer is read by the returned call's `answer()`.
---@param tenant string
function World:begin_sync(tenant)
  return self.server:send("POST", "/sync/" .. tenant, { ["X-Requested-With"] = "spec" })
end

---@param tenant string
function World:sync(tenant)
  return example_world.decoded(self:begin_sync(tenant):answer())
end

--- The last results of a tenant.
---@param tenant string
---@return table[]
function World:history(tenant)
  local path = "/tenants/" .. tenant .. "/history"
  return example_world.decoded(self.server:get(path)).history
end

--- How often an operation of a tenant had an outcome, by its history.
---@param tenant string
---@param operation string
---@param outcome string
---@return integer
function World:count(tenant, operation, outcome)
  local count = 0
  for _, entry in ipairs(self:history(tenant)) do
    if entry.operation == operation and entry.outcome == outcome then
      count = count + entry.times
    end
  end
  return count
end

---@param tenant string
function World:ready(tenant)
  return example_world.decoded(self.server:get("/ready/" .. tenant))
end

--- The value of a metric with this name and labels, in the order of the page; 0 if it is missing.
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
