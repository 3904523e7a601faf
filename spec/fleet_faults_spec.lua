-- A fleet when things go wrong: one tenant's trouble is nobody else's, and no report is lost.

local world = require "support.fleet_world"

local function count(reports)
  local number = 0
  for _ in pairs(reports) do
    number = number + 1
  end
  return number
end

local function all_but(reports, exception, outcome)
  for name, report in pairs(reports) do
    if name ~= exception then
      assert.are.equal(outcome, report.outcome, name)
    end
  end
end

describe("what fails for one tenant of a fleet", function()
  local function run(given)
    local w = world.new()
    given.tenants = world.names(12)
    given.concurrency = 3
    local fleet = w:fleet(given)
    local reports = world.collect(fleet)
    assert.are.equal(12, count(reports))
    all_but(reports, "t5", "started")
    assert.are.equal(0, fleet:progress().in_flight)
    return reports.t5, w
  end

  it("may be the function that gives its options", function()
    local report = run {
      client = function(tenant)
        if tenant == "t5" then
          error("no such customer", 0)
        end
        return { token = "token-" .. tenant }
      end,
    }
    assert.are.equal("unexpected", report.outcome)
    assert.are.equal("no", report.delivered)
    assert.are.equal("no such customer", report.error.message)
    assert.are.equal("t5", report.tenant)
  end)

  it("may be its options", function()
    local report = run {
      client = function(tenant)
        return { token = "token-" .. tenant, cloud = tenant == "t5" and "mars" or nil }
      end,
    }
    assert.are.equal("unexpected", report.outcome)
    assert.matches("^autopilot.client: option 'cloud' must be one of", report.error.message)
  end)

  it("may be its token, which no report quotes", function()
    local report = run {
      client = function(tenant)
        local token = "token-" .. tenant
        return { token = tenant == "t5" and token .. "\r\nInjected: yes" or token }
      end,
    }
    assert.are.equal("unexpected", report.outcome)
    assert.is_nil(tostring(report):find("Injected", 1, true))
    assert.is_nil(report.error.message:find("token-t5", 1, true))
  end)

  it("may be its provider, which raises", function()
    local report = run {
      client = function(tenant)
        return {
          token = function()
            if tenant == "t5" then
              error "the vault is closed"
            end
            return "token-" .. tenant
          end,
        }
      end,
    }
    assert.are.equal("token_error", report.outcome)
    assert.are.equal("no", report.delivered)
  end)

  it("may be the operation, also after something was sent", function()
    local report = run {
      operation = function(client, tenant)
        local report, failure = client:sync()
        if tenant == "t5" then
          error { "not even a text" }
        end
        return report, failure
      end,
    }
    assert.are.equal("unexpected", report.outcome)
    assert.are.equal("unknown", report.delivered)
    assert.are.equal("an error that is a table", report.error.message)
  end)

  it("may be an operation that returns no report", function()
    local report = run {
      operation = function(client, tenant)
        if tenant == "t5" then
          return "done"
        end
        local report, failure = client:sync()
        return report, failure
      end,
    }
    assert.are.equal("the operation returned no report", report.error.message)
  end)

  it("may be an HTTP layer that raises, which keeps no place", function()
    local report = run {
      client = function(tenant)
        local options = { token = "token-" .. tenant }
        if tenant == "t5" then
          options.transport = function()
            error "the wire is cut"
          end
        end
        return options
      end,
    }
    assert.are.equal("unexpected", report.outcome)
    assert.are.equal("unknown", report.delivered)
  end)

  it("may be who takes the reports: that is counted", function()
    local w = world.new()
    local seen = 0
    local summary = w:fleet({ tenants = world.names(9) }):run {
      on_report = function(tenant)
        seen = seen + 1
        if tenant == "t5" then
          error "the database is gone"
        end
      end,
    }
    assert.are.equal(9, seen)
    assert.are.equal(9, summary.ok)
    assert.are.equal(1, summary.callback_errors)
  end)
end)

describe("a fleet's deadline", function()
  it("ends everything in time, and tells who was not begun with", function()
    local w = world.new()
    local fleet = w:fleet { tenants = world.names(100), concurrency = 5, deadline = 1 }
    local reports = world.collect(fleet)
    assert.are.equal(100, count(reports))
    assert.is_true(w.time - world.start <= 1.001)
    local started, not_begun = 0, 0
    for name, report in pairs(reports) do
      if report.outcome == "started" then
        started = started + 1
        assert.are.equal(1, #w:requests_of(name))
      else
        not_begun = not_begun + 1
        assert.are.equal("unreachable", report.outcome)
        assert.are.equal("no", report.delivered)
        assert.are.equal("deadline", report.gave_up)
        assert.are.equal("DEADLINE", report.network.name)
        assert.are.equal(0, #w:requests_of(name))
      end
    end
    assert.are.equal(25, started)
    assert.are.equal(75, not_begun)
  end)

  it("shortens the time that requests may take", function()
    local w = world.new()
    world.collect(w:fleet { tenants = { "t1" }, deadline = 3 })
    assert.is_true(w.requests[1].timeout.total <= 3)
  end)

  it("holds for a request that had to wait for its place", function()
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

  it("holds for what waits, which has timed out then", function()
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

  it("holds for an operation that never ends by itself", function()
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
    assert.are.equal("unreachable", reports.t1.outcome)
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
    assert.are.equal(count(begun), count(reports))
    assert.is_true(count(reports) >= 16 and count(reports) < 40)
    local started = 0
    for _ in pairs(reports) do
      started = started + 1
    end
    assert.are.equal(started, #w.requests)
    all_but(reports, nil, "started")
  end)

  it("wakes who sleeps, and tells the truth of what was sent", function()
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
    assert.are.equal(7, count(reports))
    assert.is_true(w.time - world.start < 30)
    for index = 1, 5 do
      local report = reports["t" .. index]
      assert.is_false(report.ok)
      assert.are.equal("no", report.delivered)
    end
  end)

  it("keeps what is known of a sync whose end it does not wait for", function()
    local w = world.new { duration = 500 }
    local fleet = w:fleet { tenants = world.names(3), arguments = { wait = true } }
    local next_report = fleet:run()
    local sleeps = 0
    fleet.scheduler.world.sleep = function(seconds)
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

  it("gives up what does not end within the grace", function()
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
    assert.are.equal(2, count(reports))
    assert.are.equal("interrupted", reports.t1.outcome)
    assert.are.equal("unknown", reports.t1.delivered)
    assert.is_true(w.time - world.start <= 6)
  end)
end)

describe("a fleet's spread", function()
  it("gives each tenant the same moment every time, and uses all of it", function()
    local function starts()
      local w, at = world.new(), {}
      local fleet = w:fleet { tenants = world.names(200), spread = 1000 }
      world.collect(fleet)
      local third = { 0, 0, 0 }
      for _, request in ipairs(w.requests) do
        at[request.tenant] = request.at
        local index = math.min(3, math.floor((request.at - world.start) / 1000 * 3) + 1)
        third[index] = third[index] + 1
      end
      return at, third
    end
    local first, third = starts()
    local second = starts()
    assert.are.same(first, second)
    for _, number in ipairs(third) do
      assert.is_true(number > 40 and number < 100, number)
    end
  end)

  it("does not turn in circles while those that are due wait for a place", function()
    local w, sleeps = world.new(), 0
    local fleet = w:fleet {
      tenants = world.names(50),
      spread = 1,
      concurrency = 1,
      sleep = function(seconds)
        sleeps = sleeps + 1
        assert(seconds > 0 and sleeps < 1000)
        w:pass(seconds)
      end,
    }
    assert.are.equal(50, count(world.collect(fleet)))
  end)

  it("leaves a deadline its due", function()
    local w = world.new()
    local fleet = w:fleet { tenants = world.names(100), spread = 1000, deadline = 500 }
    local reports = world.collect(fleet)
    assert.are.equal(100, count(reports))
    assert.is_true(w.time - world.start <= 501)
    assert.is_true(fleet.summary.by_outcome.started > 30)
    assert.is_true(fleet.summary.by_outcome.unreachable > 30)
  end)
end)

describe("what a fleet knows from before", function()
  local function new_state(known, cooldowns)
    local state = { noted = {}, flushed = 0 }
    function state.known(_, key)
      return known[key]
    end
    function state.cooldown(_, key)
      return cooldowns[key]
    end
    function state.note(self, key, report)
      self.noted[key] = report
    end
    function state.flush(self)
      self.flushed = self.flushed + 1
    end
    return state
  end

  it("is not repeated", function()
    local w = world.new()
    local before = { ok = true, outcome = "started", tenant = "t2" }
    local state = new_state({ t2 = before }, {})
    local fleet = w:fleet { tenants = world.names(3), state = state }
    local reports = world.collect(fleet)
    assert.are.equal(before, reports.t2)
    assert.are.equal(0, #w:requests_of "t2")
    assert.are.equal(1, fleet.summary.known)
    assert.are.equal(reports.t1, state.noted.t1)
    assert.are.equal(reports.t3, state.noted.t3)
    assert.is_nil(state.noted.t2)
    assert.is_true(state.flushed > 0)
  end)

  it("is a cooldown, in which nothing is asked", function()
    local w = world.new()
    local state = new_state({}, { t1 = world.start + 300, ["t2@china"] = world.start + 300 })
    local fleet = w:fleet {
      tenants = { "t1", { tenant = "t2", cloud = "china" }, "t3" },
      state = state,
    }
    local reports = world.collect(fleet)
    assert.are.equal("cooldown", reports.t1.outcome)
    assert.are.equal("client", reports.t1.answered_by)
    assert.are.equal(world.start + 300, reports.t1.retry_at)
    assert.are.equal("cooldown", reports.t2.outcome)
    assert.are.equal("started", reports.t3.outcome)
    assert.are.equal(1, #w.requests)
  end)

  it("may fail to be written: the run goes on, and an event tells", function()
    local w = world.new()
    local state = new_state({}, {})
    function state.note()
      error "disk full"
    end
    local fleet = w:fleet { tenants = world.names(3), state = state }
    assert.are.equal(3, count(world.collect(fleet)))
    assert.are.equal(3, #w:events_of "state_error")
  end)
end)
