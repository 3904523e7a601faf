-- A user's own state: how a fleet reports requests to it, and how the fleet uses its answers.

local autopilot = require "autopilot"
local core = require "autopilot.core"
local fleet_world = require "support.fleet_world"
local hostile = require "support.hostile_server"
local overlay = require "support.overlay"
local wire = require "support.wire"

--- A state that knows nothing, with other methods in the place of some.
local function new_state(methods)
  local function nothing() end
  local state = {
    known = nothing,
    cooldown = nothing,
    note = nothing,
    posted = nothing,
    note_posting = nothing,
  }
  return overlay(state, methods)
end

local function sync(client)
  local report, failure = client:sync()
  return report, failure
end

describe("a user's own state", function()
  local world

  before_each(function()
    world = fleet_world.new()
  end)

  after_each(wire.close)
  teardown(wire.teardown)

  for name, operation in pairs { sync = "sync", ["a function"] = sync } do
    it("is notified of each request before it is sent, by " .. name, function()
      local told = {}
      local state = new_state {
        note_posting = function(_, key)
          told[#told + 1] = ("%s after %d"):format(key, #world.requests)
        end,
      }
      local tenants = fleet_world.names(2)
      local given = { tenants = tenants, state = state, operation = operation, concurrency = 1 }
      fleet_world.collect(world:fleet(given))
      assert.same({ "t1 after 0", "t2 after 1" }, told)
    end)

    it("can prevent a request, by " .. name, function()
      local state = new_state {
        note_posting = function()
          return false
        end,
      }
      local given = { tenants = { "t1" }, state = state, operation = operation }
      local reports = fleet_world.collect(world:fleet(given))
      assert.same({}, world.requests)
      assert.equal("unreachable", reports.t1.outcome)
      assert.equal("no", reports.t1.delivered)
      assert.equal("LEASE_ENDED", reports.t1.network.name)
      local hint =
        "The request to the service was not sent: another machine may have taken this tenant over."
      assert.equal(hint, reports.t1.hint)
    end)

    it("has the record read first after a possible request, by " .. name, function()
      local state = new_state {
        posted = function()
          return world.time - 20
        end,
      }
      world.service:trigger "t1"
      local given = { tenants = { "t1" }, state = state, operation = operation }
      local reports = fleet_world.collect(world:fleet(given))
      assert.equal(1, #world.requests)
      assert.equal("GET", world.requests[1].method)
      assert.equal(operation == sync and "cooldown" or "started", reports.t1.outcome)
    end)

    it("prevents a request if that record cannot be read, by " .. name, function()
      local faults = {}
      for index = 1, 10 do
        faults[index] = { kind = "status", on = "status", status = 503 }
      end
      world = fleet_world.new { faults = faults }
      local state = new_state {
        posted = function()
          return world.time - 20
        end,
      }
      local given = { tenants = { "t1" }, state = state, operation = operation }
      local reports = fleet_world.collect(world:fleet(given))
      assert.equal("unavailable", reports.t1.outcome)
      assert.equal("unknown", reports.t1.delivered)
      for _, request in ipairs(world.requests) do
        assert.equal("GET", request.method)
      end
    end)
  end

  --- The report of a tenant for which an earlier process may have requested a sync 20 seconds ago.
  local function resumed(given)
    local state = new_state {
      posted = function()
        return world.time - 20
      end,
    }
    given = overlay({ tenants = { "t1" }, state = state }, given)
    return fleet_world.collect(world:fleet(given)).t1
  end

  it("makes the report of a start that the record shows one of a sync, not of a status", function()
    world.service:trigger "t1"
    local report = resumed {}
    assert.same({ "started", "yes", "status" }, {
      report.outcome,
      report.delivered,
      report.confirmed_by,
    })
    for _, name in ipairs {
      "sync_status",
      "last_sync",
      "cooldown_until",
      "cooldown_remaining",
      "ready",
      "service_time",
      "steps",
    } do
      assert.is_nil(report[name], name)
    end
  end)

  it("does not call a tenant cancelled that is waited for because of an earlier request", function()
    world = fleet_world.new { duration = 300 }
    world.service:trigger "t1"
    world.latency = 3
    local report = resumed { arguments = { wait = true }, deadline = 5 }
    assert.equal("interrupted", report.outcome)
    assert.equal("unknown", report.delivered)
  end)

  it("lets no request be sent if the record does not tell of the last trigger", function()
    local report = resumed {
      transport = function(request)
        assert.equal("GET", request.method)
        local headers = { ["request-id"] = "1" }
        return { status = 200, headers = headers, body = '{"syncStatus":"failed"}' }
      end,
    }
    assert.same({ "interrupted", "unknown" }, { report.outcome, report.delivered })
  end)

  it("makes an ensure that cannot read the record say that a request may have arrived", function()
    local report = resumed {
      operation = "ensure",
      transport = function()
        return { status = 403, headers = { ["request-id"] = "1" }, body = "" }
      end,
    }
    assert.same({ "forbidden", "unknown" }, { report.outcome, report.delivered })
  end)

  it("does not matter to a user's function what its arguments are", function()
    local given = {
      tenants = { "t1" },
      state = new_state(),
      arguments = function()
        return 5
      end,
      operation = function(client, _, arguments)
        assert.equal(5, arguments)
        return sync(client)
      end,
    }
    assert.equal("started", fleet_world.collect(world:fleet(given)).t1.outcome)
  end)

  it("that raises frees the request's place, even if an operation catches the error", function()
    local state = new_state {
      note_posting = function()
        error "the state is broken"
      end,
    }
    local fleet = world:fleet {
      tenants = fleet_world.names(3),
      state = state,
      concurrency = 1,
      operation = function(client)
        pcall(client.sync, client)
        return { ok = true, outcome = "started" }
      end,
    }
    fleet_world.collect(fleet)
    assert.equal(3, fleet.summary.ok)
    assert.equal(0, fleet:progress().in_flight)
  end)

  it("that uses up a request's time does not make its host count as unreachable", function()
    local server = hostile.listen(function(connection)
      connection:serve()
    end)
    local events = {}
    local fleet = autopilot.fleet {
      tenants = fleet_world.names(20),
      concurrency = 1,
      state = new_state {
        note_posting = function()
          local ends = core.clock() + 0.01
          while core.clock() < ends do
          end -- as if the process had been stopped
          return 0.005
        end,
      },
      client = {
        token = function()
          return "token"
        end,
        base_url = server:url "",
        retry = false,
      },
      wait = function(set)
        hostile.step()
        set:step(0.001)
      end,
      on_event = function(event)
        events[event.type] = (events[event.type] or 0) + 1
      end,
    }
    for _, report in fleet:run() do
      assert.equal("LEASE_ENDED", report.network.name)
    end
    fleet:close()
    assert.is_nil(events.circuit_opened)
  end)

  it("is named in the report if it cannot be read", function()
    local state = new_state {
      known = function()
        return nil, "it is away"
      end,
    }
    local reports = fleet_world.collect(world:fleet { tenants = { "t1" }, state = state })
    assert.equal("the state: it is away", reports.t1.error.message)
    assert.matches("^The state could not be read", reports.t1.hint)
    assert.same({}, world.requests)
  end)
end)
