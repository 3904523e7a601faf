-- `state = "file"` of a fleet: opened, resumed and closed by the fleet itself.

local emulator = require "autopilot.emulator"
local files = require "support.files"
local fleet_state = require "autopilot.fleet.state"
local new_fleet = require "autopilot.fleet"
local overlay = require "support.overlay"

describe("a fleet with a state file", function()
  local path, remove, time, service, asked

  before_each(function()
    path, remove = files.temporary ""
    time, asked = 1790000000, 0
    service = emulator.new {
      now = function()
        return time
      end,
    }
  end)

  after_each(function()
    remove()
    os.remove(path .. "-wal")
  end)

  local function fleet_of(tenants, given)
    local answer = service:transport()
    local function now()
      return time
    end
    local options = {
      tenants = tenants,
      state = path,
      now = now,
      clock = now,
      sleep = function(seconds)
        time = time + seconds
      end,
      transport = function(request)
        asked = asked + 1
        return answer(request)
      end,
      client = function(tenant)
        return { token = service:issue_token { tenant = tenant } }
      end,
    }
    overlay(options, given)
    return new_fleet(options)
  end

  it(
    "goes on where a cancelled run ended, and begins anew after one that came to its end",
    function()
      local tenants = { "a.example", "b.example", "c.example", "d.example" }
      local fleet = fleet_of(tenants, { concurrency = 1 })
      local first = {}
      for tenant, report in fleet:run() do
        first[tenant] = report.ok
        fleet:cancel()
      end
      assert.is_true(first["a.example"])
      local before = asked
      fleet = fleet_of(tenants)
      local summary = fleet:run { on_report = function() end }
      assert.equal(4, summary.ok)
      assert.equal(4 - before, asked - before)
      time = time + 700
      assert.equal(4, fleet:run({ on_report = function() end }).ok)
      assert.equal(8, asked)
    end
  )

  it("keeps cooldowns for as long as the option of all clients says", function()
    local client = { token = service:issue_token { tenant = "a.example" }, cooldown = 1200 }
    for number, seconds in ipairs { 0, 700, 520 } do
      time = time + seconds
      fleet_of({ "a.example" }, { client = client }):run { on_report = function() end }
      assert.equal(number == 3 and 2 or 1, asked)
    end
  end)

  -- What a process leaves that was killed while it asked for a sync of that tenant.
  local function leave_asked(tenant)
    local state = assert(fleet_state.open {
      path = path,
      subject = "sync",
      now = function()
        return time
      end,
    })
    state:note_posting(tenant)
    state:close()
  end

  local function only_report(fleet)
    local found
    fleet:run {
      on_report = function(_, report)
        found = report
      end,
    }
    return found
  end

  it("finds the result of a killed process's request in the record", function()
    leave_asked "a.example"
    time = time + 0.2
    service:trigger "a.example"
    time = time + 1200 -- no cooldown would keep it from doing that again
    local report = only_report(fleet_of { "a.example" })
    assert.equal("started", report.outcome)
    assert.equal("status", report.confirmed_by)
    assert.equal("yes", report.delivered)
    assert.equal("sync", report.operation)
    assert.equal("a.example", report.tenant_id)
    assert.equal(0, service.requests.sync)
    assert.equal(1, service.requests.status)
  end)

  it(
    "does not take an old sync, of which the record has told, for the begin of a cooldown",
    function()
      leave_asked "a.example"
      time = time + 0.2
      service:trigger "a.example"
      time = time + 1200
      assert.equal("status", only_report(fleet_of { "a.example" }).confirmed_by)
      time = time + 1
      local report = only_report(fleet_of { "a.example" })
      assert.equal("started", report.outcome)
      assert.equal("response", report.confirmed_by)
    end
  )

  it(
    "waits for a sync that a killed process had asked for, where it is to be waited for",
    function()
      leave_asked "a.example"
      time = time + 0.2
      service:trigger("a.example", { duration = 30 })
      local report = only_report(fleet_of({ "a.example" }, { arguments = { wait = true } }))
      assert.equal("completed", report.outcome)
      assert.same({ "sync", "status" }, { report.operation, report.confirmed_by })
      assert.equal("yes", report.delivered)
      assert.equal(0, service.requests.sync)
    end
  )

  it("does not call a tenant cancelled whose sync the record showed before the deadline", function()
    leave_asked "a.example"
    time = time + 0.2
    service:trigger("a.example", { duration = 300 })
    local answer = service:transport()
    local function transport(request)
      local response = answer(request)
      time = time + 2
      return response
    end
    local given = { arguments = { wait = true }, transport = transport, deadline = 1 }
    local report = only_report(fleet_of({ "a.example" }, given))
    assert.same({ "timed_out", "yes" }, { report.outcome, report.delivered })
  end)

  it("asks again if the record shows no sync since the killed process's request", function()
    service:trigger "a.example"
    time = time + 1200
    leave_asked "a.example"
    time = time + 10
    local report = only_report(fleet_of { "a.example" })
    assert.equal("started", report.outcome)
    assert.equal("response", report.confirmed_by)
    assert.equal(1, service.requests.sync)
  end)

  it("sends no request if that record cannot be read", function()
    for _, case in ipairs {
      { "interrupted", { stage = "connect", name = "COULDNT_CONNECT", delivered = "no" } },
      { "interrupted", { stage = "receive", name = "RECV_ERROR", delivered = "unknown" } },
      { "unavailable" },
    } do
      local outcome, network = case[1], case[2]
      leave_asked "a.example"
      local report = only_report(fleet_of({ "a.example" }, {
        transport = function(request)
          assert.equal("GET", request.method)
          if network then
            return nil, network
          end
          return { status = 503, headers = { ["request-id"] = "1" }, body = "" }
        end,
      }))
      assert.equal(outcome, report.outcome)
      assert.equal("unknown", report.delivered)
      assert.equal("sync", report.operation)
      assert.equal(network ~= nil, report.hint:find "a sync may have started" ~= nil)
      os.remove(path)
    end
  end)

  it("leaves a tenant to the next run if the run ends while its record is read", function()
    leave_asked "a.example"
    local fleet
    fleet = fleet_of({ "a.example" }, {
      transport = function()
        fleet:cancel()
        return nil, { stage = "receive", name = "RECV_ERROR", delivered = "unknown" }
      end,
    })
    local report = only_report(fleet)
    assert.equal("cancelled", report.outcome)
    assert.equal("no", report.delivered)
  end)

  it("does not take a much later sync for the requested one", function()
    leave_asked "a.example"
    time = time + 1200
    service:trigger "a.example"
    local report = only_report(fleet_of { "a.example" })
    assert.equal("started", report.outcome)
    assert.equal("unknown", report.delivered)
    assert.equal(0, service.requests.sync)
  end)

  it("reads no record before the first request for a tenant", function()
    only_report(fleet_of { "a.example" })
    assert.equal(0, service.requests.status)
  end)

  --- Runs a fleet whose state is open, and had such a thing done to it.
  local function report_with(damage, given)
    local state = assert(fleet_state.open { path = path })
    state:run(damage)
    local options = overlay({ state = state }, given)
    local report = only_report(fleet_of({ "a.example" }, options))
    state:close()
    return report
  end

  for lost, damage in pairs {
    reports = "ALTER TABLE tenant RENAME COLUMN report TO lost",
    ["what was asked for"] = "ALTER TABLE tenant RENAME COLUMN asked_at TO lost",
  } do
    it("repeats nothing that may be done already when its file cannot be read: " .. lost, function()
      local report = report_with(damage)
      assert.equal("unexpected", report.outcome)
      assert.equal("unknown", report.delivered)
      assert.equal("client", report.answered_by)
      assert.matches("^the state file: it cannot be used: ", report.error.message)
      assert.matches("nothing was asked of the service", report.hint)
      assert.equal(0, asked)
    end)
  end

  it("claims no delivery, and only reads, if it could not read what is done", function()
    local report = report_with("DROP TABLE tenant", { operation = "status" })
    assert.equal("unexpected", report.outcome)
    assert.is_nil(report.delivered)
  end)

  it("cannot be made while another run has the file, and says so", function()
    local state = assert(fleet_state.open { path = path })
    local fleet, message = fleet_of { "a.example" }
    assert.is_nil(fleet)
    assert.matches("it is in use by another run", message)
    state:close()
    assert.truthy(fleet_of { "a.example" })
  end)

  it("cannot run again while another run has the file", function()
    local fleet = fleet_of { "a.example" }
    fleet:run { on_report = function() end }
    local state = assert(fleet_state.open { path = path })
    local summary, message = fleet:run { on_report = function() end }
    assert.is_nil(summary)
    assert.matches("it is in use by another run", message)
    state:close()
  end)

  it("releases it when it is closed", function()
    fleet_of({ "a.example" }):close()
    local state, message = fleet_state.open { path = path }
    assert.is_nil(message)
    state:close()
  end)

  it("can be resumed when the deadline ended it", function()
    local answer = service:transport()
    local given = {
      deadline = 10,
      concurrency = 1,
      transport = function(request)
        time = time + 6
        return answer(request)
      end,
    }
    fleet_of({ "a.example", "b.example", "c.example" }, given):run { on_report = function() end }
    local state = assert(fleet_state.open {
      path = path,
      now = function()
        return time
      end,
    })
    assert.is_true(state.done_before >= 1 and state.done_before < 3)
    state:close()
  end)

  it("refuses an empty name", function()
    local _, message = pcall(function()
      fleet_of({ "a.example" }, { state = "" })
    end)
    assert.matches("option 'state' must be the name of a file", message)
  end)
end)
