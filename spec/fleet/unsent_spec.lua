-- A request that was abandoned in a fleet's queue was not sent: no report says that it was, or may have been.

local autopilot = require "autopilot"
local fleet_world = require "support.fleet_world"
local hostile = require "support.hostile_server"
local socket = require "socket"

describe("a fleet's request that was abandoned in its queue", function()
  -- One place for each host, and a server that never answers: the first has it, the others wait for it.
  local function run_against_silence(operation)
    local listener = assert(socket.bind("127.0.0.1", 0)) -- never accepts
    local url = "http://127.0.0.1:" .. select(2, listener:getsockname())
    local fleet, reports, waited = nil, {}, 0
    fleet = autopilot.fleet {
      tenants = { "t1", "t2", "t3" },
      host_concurrency = 1,
      operation = operation,
      client = function(tenant)
        return { token = "token-" .. tenant, base_url = url }
      end,
      wait = function(set, seconds)
        set:step(math.min(seconds, 0.01))
        waited = waited + 1
        if waited == 3 then
          fleet:cancel(0.05)
        end
      end,
    }
    for tenant, report in fleet:run() do
      reports[tenant] = report
    end
    listener:close()
    return reports
  end

  it("was not delivered, even if its code fails afterwards", function()
    local reports = run_against_silence(function(client)
      local report, failure = client:sync()
      assert(report, "what the operation of the user makes of it")
      return report, failure
    end)
    assert.equal("interrupted", reports.t1.outcome)
    assert.equal("unknown", reports.t1.delivered)
    for _, tenant in ipairs { "t2", "t3" } do
      assert.equal("cancelled", reports[tenant].outcome)
      assert.equal("no", reports[tenant].delivered)
      assert.equal("client", reports[tenant].answered_by)
    end
  end)

  it(
    "was not delivered where no connection was made, also where its code fails afterwards",
    function()
      local refusing = hostile.refusing()
      local fleet = autopilot.fleet {
        tenants = { "t1" },
        operation = function(client)
          return assert(client:sync())
        end,
        client = {
          token = "token",
          base_url = refusing:url "",
          retry = false,
        },
      }
      for _, report in fleet:run() do
        assert.equal("no", report.delivered)
      end
      refusing:close()
      assert.equal(1, fleet.summary.total)
    end
  )

  it("is not reported as a network failure", function()
    local reports = run_against_silence "sync"
    assert.equal("unknown", reports.t1.delivered)
    assert.equal("cancelled", reports.t2.outcome)
    assert.is_nil(reports.t2.network)
    assert.equal("no", reports.t2.delivered)
    assert.equal(
      "No sync was requested: the run was cancelled before the request could be sent.",
      reports.t2.hint
    )
  end)
end)

describe("a fleet that is cancelled", function()
  it("reports that a sleeping tenant was throttled, and until when", function()
    local world = fleet_world.new {
      faults = { { kind = "throttle", on = "sync", retry_after = 100 } },
    }
    local fleet = world:fleet { tenants = { "t1", "t2" }, concurrency = 1 }
    local reports = {}
    for tenant, report in fleet:run() do
      reports[tenant] = report
      fleet:cancel()
    end
    assert.equal("started", reports.t2.outcome)
    assert.equal("throttled", reports.t1.outcome)
    assert.equal("yes", reports.t1.delivered)
    assert.near(100, reports.t1.retry_after, 1)
  end)
end)
