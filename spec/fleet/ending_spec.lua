-- A fleet that reaches its deadline or is cancelled ends in time and loses no report.

local state_file = require "support.state_file"
local world = require "support.fleet_world"

describe("a fleet's deadline", function()
  it("ends everything in time, and reports the tenants that were not begun", function()
    local w = world.new()
    local fleet = w:fleet { tenants = world.names(100), concurrency = 5, deadline = 1 }
    local reports = world.collect(fleet)
    assert.are.equal(100, world.count(reports))
    assert.is_true(w.time - world.start <= 1.001)
    local started, not_begun = 0, 0
    for name, report in pairs(reports) do
      if report.outcome == "started" then
        started = started + 1
        assert.are.equal(1, #w:requests_of(name))
      else
        not_begun = not_begun + 1
        assert.are.equal("cancelled", report.outcome)
        assert.is_false(report.ok)
        assert.are.equal("no", report.delivered)
        assert.are.equal("deadline", report.gave_up)
        assert.is_nil(report.network)
        assert.matches("No sync was requested", report.hint)
        assert.are.equal(0, #w:requests_of(name))
      end
    end
    assert.are.equal(25, started)
    assert.are.equal(75, not_begun)
    assert.are.same({ started = 25, cancelled = 75 }, fleet.summary.by_outcome)
  end)

  it("reports cancelled for a waiting operation, too, if it was not begun", function()
    for _, operation in ipairs { "ensure", "wait", "status" } do
      local w = world.new()
      w.latency = 1
      local fleet = w:fleet {
        tenants = world.names(3),
        concurrency = 1,
        operation = operation,
        deadline = 0.5,
      }
      local reports = world.collect(fleet)
      assert.are.equal("cancelled", reports.t3.outcome)
      assert.are.equal(0, #w:requests_of "t3")
    end
  end)

  it("shortens the time that requests may take", function()
    local w = world.new()
    world.collect(w:fleet { tenants = { "t1" }, deadline = 3 })
    assert.is_true(w.requests[1].timeout.total <= 3)
  end)

  it("includes the time that a request waits for its turn", function()
    for _, operation in ipairs {
      "sync",
      function(client)
        local report, failure = client:sync()
        return report, failure
      end,
    } do
      local w = world.new()
      w.latency = 2
      world.collect(w:fleet {
        tenants = world.names(2),
        concurrency = 2,
        host_concurrency = 1,
        deadline = 3,
        operation = operation,
      })
      assert.are.equal(2, #w.requests)
      assert.is_true(w.requests[2].timeout.total <= 1.001)
    end
  end)

  it("ends waiting operations with timed_out", function()
    local w = world.new()
    assert(w.service:trigger "t1")
    w.time = w.time + 1
    local fleet = w:fleet { tenants = { "t1", "t2" }, operation = "ensure", deadline = 60 }
    local reports = world.collect(fleet)
    assert.are.equal("cooldown", reports.t1.outcome)
    assert.are.equal("deadline", reports.t1.gave_up)
    assert.are.equal("completed", reports.t2.outcome)
    assert.is_true(w.time - world.start <= 61)
  end)

  it("ends an operation that never ends by itself", function()
    local w = world.new()
    local fleet = w:fleet {
      tenants = { "t1", "t2" },
      deadline = 10,
      operation = function(client, tenant)
        while tenant == "t1" do
          client.options.sleep(3)
        end
        local report, failure = client:sync()
        return report, failure
      end,
    }
    local reports = world.collect(fleet)
    assert.are.equal("started", reports.t2.outcome)
    assert.are.equal("cancelled", reports.t1.outcome)
    assert.are.equal("no", reports.t1.delivered)
    assert.is_true(w.time - world.start <= 12)
  end)
end)

describe("a fleet that is cancelled", function()
  it("finishes what was sent, begins nothing new, and loses no report", function()
    local w, begun = world.new(), {}
    local done = 0
    local fleet = w:fleet {
      tenants = world.names(100),
      concurrency = 8,
      client = function(tenant)
        begun[tenant] = true
        return { token = "token-" .. tenant }
      end,
    }
    local reports = {}
    for tenant, report in fleet:run() do
      reports[tenant] = report
      done = done + 1
      if done == 10 then
        fleet:cancel()
      end
    end
    assert.are.equal(world.count(begun), world.count(reports))
    assert.is_true(world.count(reports) >= 16 and world.count(reports) < 40)
    local started = 0
    for _ in pairs(reports) do
      started = started + 1
    end
    assert.are.equal(started, #w.requests)
    assert.are.same({ started = started }, world.outcomes(reports))
  end)

  it("wakes sleeping tenants, and reports truthfully what was sent", function()
    local w = world.new()
    for _, name in ipairs(world.names(5)) do
      assert(w.service:trigger(name))
    end
    w.time = w.time + 1
    local fleet = w:fleet { tenants = world.names(7), operation = "ensure" }
    local reports = {}
    for tenant, report in fleet:run() do
      reports[tenant] = report
      fleet:cancel()
    end
    assert.are.equal(7, world.count(reports))
    assert.is_true(w.time - world.start < 30)
    for index = 1, 5 do
      local report = reports["t" .. index]
      assert.is_false(report.ok)
      assert.are.equal("no", report.delivered)
      assert.are.equal("cooldown", report.outcome)
      assert.are.equal("not_retryable", report.gave_up)
      assert.is_true(report.retry_at >= world.start + 600, "before the cooldown ends")
    end
  end)

  it("reports the end of a cooldown that was waited for, also after a failed sync", function()
    for outcome, trigger in pairs {
      cooldown = {},
      sync_failed = { failed = true },
      in_progress = { duration = 500 },
    } do
      local w, file = world.new { duration = trigger.duration }, state_file.new()
      assert(w.service:trigger("t1", trigger))
      w.time = w.time + 60
      local since = outcome == "sync_failed" and world.start - 60 or nil
      local fleet = w:fleet {
        tenants = { "t1" },
        operation = "ensure",
        arguments = { since = since },
        state = file.path,
      }
      fleet.options.sleep = function(seconds)
        if seconds > 15 then
          seconds = 1
          fleet:cancel()
        end
        w:pass(seconds)
      end
      local reports = world.collect(fleet)
      assert.are.equal(outcome, reports.t1.outcome)
      assert.is_true(reports.t1.retry_at >= world.start + 600, outcome)
      fleet:close()

      local sent = #w.requests
      local later = world.collect(w:fleet { tenants = { "t1" }, state = file.path })
      assert.are.equal("cooldown", later.t1.outcome)
      assert.are.equal(sent, #w.requests)
      file:close()
    end
  end)

  it("reports what is known of a sync that it no longer waits for", function()
    local w = world.new { duration = 500 }
    local fleet = w:fleet { tenants = world.names(3), arguments = { wait = true } }
    local next_report = fleet:run()
    local sleeps = 0
    fleet.options.sleep = function(seconds)
      sleeps = sleeps + 1
      if sleeps == 4 then
        fleet:cancel()
      end
      w:pass(seconds)
    end
    for _ = 1, 3 do
      local _, report = next_report()
      assert.are.equal("yes", report.delivered)
      assert.are.equal("response", report.confirmed_by)
      assert.is_false(report.ok)
    end
    assert.is_nil((next_report()))
  end)

  it("abandons operations that do not end within the grace period", function()
    local w = world.new()
    w.latency = 1000
    local fleet, attempts = nil, 0
    fleet = w:fleet {
      tenants = world.names(2),
      concurrency = 2,
      on_event = function(event)
        attempts = attempts + (event.type == "attempt" and 1 or 0)
        if attempts == 2 then
          fleet:cancel(5)
        end
      end,
    }
    local reports = world.collect(fleet)
    assert.are.equal(2, world.count(reports))
    assert.are.equal("interrupted", reports.t1.outcome)
    assert.are.equal("unknown", reports.t1.delivered)
    assert.is_true(w.time - world.start <= 6)
  end)
end)

describe("a fleet that is closed by its user's code", function()
  it("reads no further tenant, and ends without a summary", function()
    for _, seconds in ipairs { 0, 5 } do -- at once, and when the tenant has slept
      local w, fleet, read = world.new(), nil, 0
      fleet = w:fleet {
        tenants = function()
          read = read + 1
          return read < 10 and "t" .. read or nil
        end,
        concurrency = 1,
        client = {
          token = function(ask)
            ask.sleep(seconds)
            fleet:close()
          end,
        },
      }
      assert.same({}, world.collect(fleet))
      assert.is_nil(fleet.summary)
    end
  end)
end)
