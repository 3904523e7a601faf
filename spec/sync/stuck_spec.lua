-- A sync that is in progress for longer than `stuck_after`: how it is reported, and only if it is certain.

local virtual_world = require "support.virtual_world"

--- Graph's answer to a read of the status.
local function record(given)
  local answer = virtual_world.record(given)
  answer.headers["request-id"] = "5c0e"
  return answer
end

--- The status as a client reads it, of a record with stamps so many seconds ago.
local function status_of(given, options)
  local world = virtual_world.new { ahead = given.ahead }
  local now = math.floor(world:service_time())
  local answer = record {
    status = given.status or "inProgress",
    trigger = given.trigger and now - given.trigger,
    last_sync = given.last_sync and now - given.last_sync,
    date = not given.has_no_date and now or nil,
  }
  local client = world:scripted({ answer, answer }, options)
  return assert(client:status()), world, client
end

describe("a sync in progress for longer than stuck_after", function()
  it("is reported by client:status, with the seconds since its trigger and advice", function()
    for _, ahead in ipairs { 0, 7 * 3600, -7 * 3600 } do
      local status, world = status_of { trigger = 4321, last_sync = 90000, ahead = ahead }
      assert.near(4321, status.stuck_for, 1.1)
      assert.equal(
        "A sync is in progress, and none has completed since one was triggered 1 h 12 min ago: it "
          .. "may be stuck. If it does not end, open a support case with the request-id.",
        status.hint
      )
      assert.is_true(status.ok)
      assert.equal(1, #world:events_of "stuck")
    end
  end)

  it("is reported also for a tenant's first sync", function()
    assert.near(4321, status_of({ trigger = 4321 }).stuck_for, 1.1)
  end)

  it("is reported by one event for each sync, when it is first seen", function()
    local _, world, client = status_of { trigger = 3601.5 }
    client:status()
    local events = world:events_of "stuck"
    assert.equal(1, #events)
    assert.equal("contoso", events[1].tenant)
    assert.near(3601, events[1].stuck_for, 1.1)
    assert.is_number(events[1].last_manual_trigger)
  end)

  it("is not reported before that time", function()
    for seconds, options in pairs { [3590] = {}, [7000] = { stuck_after = 7200 } } do
      local status, world = status_of({ trigger = seconds }, options)
      assert.is_nil(status.stuck_for)
      assert.is_nil(status.hint)
      assert.equal(0, #world:events_of "stuck")
    end
    assert.is_number(status_of({ trigger = 700 }, { stuck_after = 600 }).stuck_for)
  end)

  it("is not reported if the stamps do not prove since when it runs", function()
    for _, given in ipairs {
      { last_sync = 90000 }, -- the service began it by itself, at an unknown time
      { trigger = 5000, last_sync = 5000 },
      { trigger = 5000, last_sync = 400 }, -- the one that was triggered has completed
      { status = "completed", trigger = 5000, last_sync = 90000 },
      { status = "failed", trigger = 5000, last_sync = 90000 },
      { status = "unknown", trigger = 5000 },
      { trigger = -5000 },
      { trigger = 5000, has_no_date = true },
    } do
      local status, world = status_of(given)
      assert.is_nil(status.stuck_for)
      assert.equal(0, #world:events_of "stuck")
    end
  end)

  it("is not reported for a sync that was seen completed, when an older record follows", function()
    local world = virtual_world.new()
    local now = math.floor(world:service_time())
    local client = world:scripted {
      record { status = "completed", trigger = now - 5000, last_sync = now - 100, date = now },
      record { status = "inProgress", trigger = now - 5000, date = now },
    }
    client:status()
    assert.is_nil(client:status().stuck_for)
  end)

  it("is not reported for a sync that was seen failed, when another has begun", function()
    local world = virtual_world.new()
    local now = math.floor(world:service_time())
    local given = { trigger = now - 5000, last_sync = now - 90000, date = now }
    given.status = "failed"
    local failed = record(given)
    given.status = "inProgress"
    local client = world:scripted { failed, record(given) }
    client:status()
    assert.is_nil(client:status().stuck_for)
    assert.equal(0, #world:events_of "stuck")
  end)

  it("is not reported from an older record when a later sync is known", function()
    local world = virtual_world.new()
    local now = math.floor(world:service_time())
    local late = record { status = "inProgress", trigger = now - 5000, date = now }
    local client = world:scripted { { status = 204 }, late }
    assert(client:sync())
    assert.is_nil(client:status().stuck_for)
    client = world:scripted { record { trigger = now - 50, date = now }, late }
    client:status()
    assert.is_nil(client:status().stuck_for)
    assert.equal(0, #world:events_of "stuck")
  end)

  it("is reported by client:wait while it waits, and in its report", function()
    local world = virtual_world.new()
    local client, service = world:emulated({ duration = 9000 }, { stuck_after = 300 })
    service:trigger "contoso"
    local told
    local report, failure = client:wait {
      timeout = 600,
      on_progress = function(progress)
        told = told or progress.stuck_for and progress.elapsed
      end,
    }
    assert.is_nil(report)
    assert.equal("timed_out", failure.outcome)
    assert.near(598, failure.stuck_for, 3)
    assert.matches("^A sync is in progress, and none has completed since", failure.hint)
    assert.is_true(told >= 300 and told < 340)
    assert.equal(1, #world:events_of "stuck")
  end)

  it("is not reported after it has completed", function()
    local world = virtual_world.new()
    local client, service = world:emulated({ duration = 500 }, { stuck_after = 300 })
    service:trigger "contoso"
    local report = assert(client:wait())
    assert.equal("completed", report.outcome)
    assert.is_nil(report.stuck_for)
    assert.is_nil(report.hint)
    assert.equal(1, #world:events_of "stuck")
  end)

  it("is reported by ensure, which cannot post because of it", function()
    local world = virtual_world.new()
    local client, service = world:emulated({ duration = 9000 }, { stuck_after = 300 })
    service:trigger "contoso"
    world:pass(400)
    local _, failure = client:ensure { wait = false }
    assert.equal("in_progress", failure.outcome)
    assert.near(400, failure.stuck_for, 1.1)
    assert.matches("it may be stuck", failure.hint)
  end)

  it("is reported by ensure while it waits for its end, with the times as last read", function()
    local world = virtual_world.new()
    local client, service = world:emulated({ duration = 1000 }, { stuck_after = 300 })
    service:trigger "contoso"
    world:pass(400)
    local told
    assert(client:ensure {
      on_progress = function(progress)
        told = told or progress
      end,
    })
    assert.near(400, told.stuck_for, 1.1)
    assert.same({ "waiting", "in_progress" }, { told.state, told.sync_status })
    assert.is_number(told.last_manual_trigger)
    assert.is_nil(told.remaining)
  end)
end)
