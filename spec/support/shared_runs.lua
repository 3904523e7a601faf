--- Machines that share the runs of a fleet in one PostgreSQL, all of them in this process.

local Tenants = require "autopilot.fleet.tenants"
local core = require "autopilot.core"
local database = require "autopilot.store.database"
local database_server = require "support.database_server"
local fleet_state = require "autopilot.fleet.state"
local report = require "autopilot.sync.report"
local shared_run = require "autopilot.fleet.shared_run"

local shared_runs = {}

--- Why there can be no PostgreSQL here, or nil.
shared_runs.obstacle = database_server.obstacle "PostgreSQL"

--- A report of `sync`.
---@param outcome string
---@param delivered "yes"|"no"|"unknown"
---@param network_name string?
function shared_runs.report(outcome, delivered, network_name)
  local network = network_name and { name = network_name, stage = "send", message = "not sent" }
  return report.new {
    operation = "sync",
    outcome = outcome,
    delivered = delivered,
    network = network,
    elapsed = 1,
  }
end

function shared_runs.started()
  return shared_runs.report("started", "yes")
end

--- That of a tenant for which the lease was over before a request could be sent.
function shared_runs.left()
  return shared_runs.report("unreachable", "no", "LEASE_ENDED")
end

--- The tenants of a list, as a fleet reads them.
function shared_runs.reader(list)
  return Tenants.new(list, 0, core.clock)
end

--- All tenants of a list that a machine is given now.
function shared_runs.take(state, list)
  local reader, found = shared_runs.reader(list), {}
  local tenant = state:next(reader, false)
  while tenant do
    found[#found + 1] = tenant
    tenant = state:next(reader, false)
  end
  table.sort(found)
  return found
end

--- The same, of those that other machines held before.
function shared_runs.take_again(state, list)
  state.next_look = -math.huge
  return shared_runs.take(state, list)
end

--- Has a machine renew its lease now.
function shared_runs.renew(state)
  state.renewed_at = -math.huge
  return state:renew()
end

--- Runs a statement in the database of a machine.
function shared_runs.run(state, ...)
  return assert(state.connection:call(database.run, ...))
end

--- Ends the lease of a machine, as time does.
function shared_runs.expire(state)
  local text = "UPDATE autopilot_part_3 SET held_until = 1 WHERE worker = ?"
  shared_runs.run(state, text, state.worker)
end

--- The name of another tenant of the same part.
function shared_runs.neighbour_of(name)
  local function part_of(tenant)
    return math.floor(Tenants.fraction_of(tenant) * shared_run.part_count)
  end
  local number = 0
  repeat
    number = number + 1
  until part_of("t" .. number) == part_of(name)
  return "t" .. number
end

---@class support.SharedRuns
---@field server table the database's
---@field ahead number seconds by which the steady clock of all machines is set forward
local World = {}
World.__index = World

--- Starts a database for the specs of a `describe`, in each of which the machines have a run of their own.
---@param setup function busted's, as are the others
---@return support.SharedRuns
function shared_runs.for_specs(setup, teardown, before_each, after_each)
  local world = setmetatable({ runs = 0, opened = {}, ahead = 0 }, World)
  setup(function()
    world.server = database_server.start "PostgreSQL"
  end)
  teardown(function()
    world.server:remove()
  end)
  before_each(function()
    world.runs, world.ahead = world.runs + 1, 0
  end)
  after_each(function()
    world:close_machines()
  end)
  return world
end

--- The subject of the run.
function World:subject()
  return "run " .. self.runs
end

function World:address(password, name)
  return ("postgresql://tester:%s@127.0.0.1:%d/%s"):format(
    password or self.server.password,
    self.server.port,
    name or "postgres"
  )
end

--- A machine that joins the run.
---@param given { subject: string?, database: string?, resume_within: number? }?
---@return autopilot.fleet.SharedState
function World:machine(given)
  given = given or {}
  local state = assert(fleet_state.open {
    path = self:address(nil, given.database),
    subject = given.subject or self:subject(),
    host = "graph",
    resume_within = given.resume_within,
    clock = function()
      return core.clock() + self.ahead
    end,
  })
  table.insert(self.opened, state)
  return state
end

function World:close_machines()
  for _, state in ipairs(self.opened) do
    state:close()
  end
  self.opened = {}
end

return shared_runs
