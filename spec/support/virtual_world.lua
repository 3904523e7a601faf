--- A world for clients in specs: time passes only while a client sleeps, and nothing is random.
--
-- It serves one client, or several that share the time (a fleet: `support.fleet_world`). The service can be an emulator, whose clock
-- may be ahead of ours, or a list of answers.

local cjson = require "cjson.safe"
local emulator = require "autopilot.emulator"
local graph = require "autopilot.emulator.graph"
local new_client = require "autopilot.client"
local overlay = require "support.overlay"
local scripted = require "autopilot.transport.scripted"
local service_text = require "support.service_text"

---@class support.VirtualWorld
---@field time number Unix seconds
---@field clock_begin number the moment at which the monotonic clock shows 0
---@field slept number[] every sleep, in order
---@field events table[] every event of the clients, in order
---@field service autopilot.Emulator? once it was made
local VirtualWorld = {}
VirtualWorld.__index = VirtualWorld

-- A fraction, so that nothing works by the accident of whole seconds.
local start = 1767225600.25

local world = { start = start, class = VirtualWorld }

---@param given { ahead: number?, random: number? }? `ahead`: seconds by which the service's clock is ahead of ours
---@return support.VirtualWorld
function world.new(given)
  given = given or {}
  return setmetatable({
    time = start,
    clock_begin = start - 5000, -- it has a beginning of its own
    ahead = given.ahead or 0,
    drawn = given.random or 0,
    slept = {},
    events = {},
  }, VirtualWorld)
end

--- Lets time pass.
function VirtualWorld:pass(seconds)
  self.time = self.time + seconds
end

--- What the service's clock shows.
function VirtualWorld:service_time()
  return self.time + self.ahead
end

--- What is injected into whatever runs in this world.
---@return table
function VirtualWorld:injected()
  return {
    sleep = function(seconds)
      self.slept[#self.slept + 1] = seconds
      self:pass(seconds)
    end,
    clock = function()
      return self.time - self.clock_begin
    end,
    now = function()
      return self.time
    end,
    random = function()
      return self.drawn
    end,
    on_event = function(event)
      self.events[#self.events + 1] = event
    end,
  }
end

--- A client in this world; token "good" and tenant "contoso" unless `given` differs.
---@param given table? options of the client
---@return autopilot.Client
function VirtualWorld:client(given)
  local options = overlay(self:injected(), { token = "good", tenant = "contoso" })
  return new_client(overlay(options, given))
end

--- A client whose service answers from a list.
---@param answers table as for the scripted transport
---@param given table? options of the client
---@return autopilot.Client client
---@return autopilot.ScriptedTransport transport
function VirtualWorld:scripted(answers, given)
  local options = overlay({ transport = scripted(answers) }, given)
  return self:client(options), options.transport
end

--- A client of an emulated service, which accepts the token "good" for the tenant.
---@param rules table? options of the emulator
---@param given table? options of the client
---@return autopilot.Client client
---@return autopilot.Emulator service
function VirtualWorld:emulated(rules, given)
  local options = {
    tokens = { good = { tenant = "contoso" } },
    now = function()
      return self:service_time()
    end,
    sleep = function(seconds)
      self:pass(seconds)
    end,
  }
  overlay(options, rules)
  self.service = emulator.new(options)
  local client_options = overlay({ transport = self.service:transport() }, given)
  return self:client(client_options), self.service
end

--- The events of one type.
function VirtualWorld:events_of(event_type)
  local found = {}
  for _, event in ipairs(self.events) do
    if event.type == event_type then
      found[#found + 1] = event
    end
  end
  return found
end

--- A `Date` header.
---@param seconds number Unix seconds
function world.date(seconds)
  return service_text.http_date(seconds)
end

--- A stamp of the record.
---@param seconds number Unix seconds
function world.stamp(seconds)
  return graph.stamp(seconds, "Z")
end

--- The answer to a read of the status.
---@param record { status: string?, last_sync: number?, trigger: number?, date: number? } Unix seconds
---@return table answer for the scripted transport
function world.record(record)
  return {
    status = 200,
    headers = {
      ["Content-Type"] = "application/json",
      ["Date"] = record.date and service_text.http_date(record.date) or nil,
    },
    body = cjson.encode {
      syncStatus = record.status or "completed",
      lastSyncDateTime = graph.stamp(record.last_sync, "Z"),
      lastManualSyncTriggerDateTime = graph.stamp(record.trigger, "Z"),
    },
  }
end

--- The events of an emulator's log: how often a sync was started.
---@param service autopilot.Emulator
---@return integer
function world.syncs_started(service)
  local count = 0
  for _, event in ipairs(service.log) do
    count = count + (event.event == "sync" and 1 or 0)
  end
  return count
end

return world
