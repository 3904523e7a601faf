--- A virtual world for fleets: many tenants of an emulated service.
--
-- Requests take time in it, and run beside each other: what the network saw is written down, so that
-- a spec can compare it with what is reported.

local autopilot = require "autopilot"
local emulator = require "autopilot.emulator"
local overlay = require "support.overlay"
local virtual_world = require "support.virtual_world"

local start = virtual_world.start

-- Unix times are whole multiples of it, which a number of their size can hold.
local grain = 2 ^ -20

---@class support.FleetWorld: support.VirtualWorld
---@field in_flight integer requests under way
---@field most_in_flight integer
---@field requests { tenant: string, at: number, method: string, host: string }[]
---@field service autopilot.Emulator
---@field latency number|fun(request: table): number seconds that a request takes
local FleetWorld = setmetatable({}, { __index = virtual_world.class })
FleetWorld.__index = FleetWorld

local fleet_world = { start = start }

--- Names of tenants: t1, t2, ...
---@return string[]
function fleet_world.names(count)
  local names = {}
  for index = 1, count do
    names[index] = "t" .. index
  end
  return names
end

---@param given table? options of the emulator
---@return support.FleetWorld
function fleet_world.new(given)
  local self = setmetatable(virtual_world.new(), FleetWorld)
  self.clock_begin = start -- so that what is yielded is soon said
  self.in_flight, self.most_in_flight = 0, 0
  self.requests, self.latency = {}, 0.2
  local tokens = {}
  for index = 1, 3000 do
    tokens["token-t" .. index] = { tenant = "t" .. index }
  end
  local rules = {
    tokens = tokens,
    log_limit = 1000000,
    now = function()
      return self.time
    end,
    sleep = function(seconds)
      coroutine.yield(self.time - start + seconds) -- a moment of the fleet's clock
    end,
  }
  overlay(rules, given)
  self.service = emulator.new(rules)
  self.serve = self.service:transport()
  return self
end

--- The HTTP layer: a request is under way for `latency` seconds.
function FleetWorld:transport()
  return function(request)
    local authorization = request.headers and request.headers["Authorization"] or ""
    self.in_flight = self.in_flight + 1
    self.most_in_flight = math.max(self.most_in_flight, self.in_flight)
    self.requests[#self.requests + 1] = {
      tenant = authorization:match "token%-(.*)$",
      at = self.time,
      method = request.method,
      host = request.url:match "^%a+://([^/]*)",
      timeout = request.timeout,
    }
    local latency = self.latency
    if type(latency) == "function" then
      latency = latency(request)
    end
    coroutine.yield(self.time - start + latency / 2)
    local response, network = self.serve(request)
    coroutine.yield(self.time - start + latency / 2)
    self.in_flight = self.in_flight - 1
    return response, network
  end
end

--- Lets time pass.
function FleetWorld:pass(seconds)
  self.time = start + math.ceil((self.time - start + seconds) / grain) * grain
end

--- A fleet in this world; the tenants' tokens are those that the service knows.
---@param given autopilot.FleetOptions
---@param new function? what makes it; default `autopilot.fleet`
---@return autopilot.Fleet
function FleetWorld:fleet(given, new)
  local options = overlay(self:injected(), {
    client = function(tenant)
      return { token = "token-" .. (type(tenant) == "table" and tenant.tenant or tenant) }
    end,
    transport = self:transport(),
  })
  return (new or autopilot.fleet)(overlay(options, given))
end

--- Runs a fleet to its end; every tenant's report, by name. Fails when one has two.
---@param fleet autopilot.Fleet
---@return table<string, autopilot.Report> reports
---@return string[] order
function fleet_world.collect(fleet)
  local reports, order = {}, {}
  for tenant, report in fleet:run() do
    local name = type(tenant) == "table" and tenant.tenant or tenant
    assert(reports[name] == nil, "a second report of " .. tostring(name))
    assert(type(report) == "table" and type(report.ok) == "boolean", "no report")
    reports[name] = report
    order[#order + 1] = name
  end
  return reports, order
end

--- How many there are.
---@param reports table<string, autopilot.Report>
---@return integer
function fleet_world.count(reports)
  local count = 0
  for _ in pairs(reports) do
    count = count + 1
  end
  return count
end

--- How many there are of each outcome.
---@param reports table<string, autopilot.Report>
---@return table<string, integer>
function fleet_world.outcomes(reports)
  local outcomes = {}
  for _, report in pairs(reports) do
    outcomes[report.outcome] = (outcomes[report.outcome] or 0) + 1
  end
  return outcomes
end

--- The requests of one tenant.
function FleetWorld:requests_of(tenant)
  local found = {}
  for _, request in ipairs(self.requests) do
    if request.tenant == tenant then
      found[#found + 1] = request
    end
  end
  return found
end

return fleet_world
