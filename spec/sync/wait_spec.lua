-- client:wait: which sync is waited for, and what is reported of it.

local mistakes = require "support.mistakes"
local virtual_world = require "support.virtual_world"

describe("client:wait", function()
  it("reports completed when the sync of this client has ended", function()
    local world = virtual_world.new()
    local client, service = world:emulated { duration = 30 }
    client:sync()
    local began = world.time
    local report, failure = client:wait()
    assert.is_nil(failure)
    assert.is_true(report.ok)
    assert.equal("wait", report.operation)
    assert.equal("completed", report.outcome)
    assert.equal("contoso", report.tenant)
    assert.equal(200, report.status)
    assert.equal("completed", report.sync_status)
    assert.near(began + 30, report.last_sync, 1e-5)
    assert.is_true(report.elapsed >= 30)
    assert.is_nil(report.attempts)
    assert.equal(1, service.requests.sync)
  end)

  it("lists its steps and their reasons", function()
    local client = virtual_world.new():emulated { duration = 30 }
    client:sync()
    local report = client:wait()
    assert.is_true(#report.steps >= 1)
    local before = 0
    for _, step in ipairs(report.steps) do
      assert.equal("string", type(step.action))
      assert.equal("string", type(step.reason))
      assert.is_true(step.at >= before)
      before = step.at
    end
  end)

  it("never starts a sync", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    client:wait { timeout = 60 }
    client:wait { since = world.time, timeout = 60 }
    assert.equal(0, service.requests.sync)
  end)

  it("waits for the record's last trigger if the client has started none", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    service:trigger("contoso", { duration = 50 })
    local report = client:wait()
    assert.equal("completed", report.outcome)
    assert.is_true(world.time >= virtual_world.start + 50)
    -- It is over already: one read tells.
    local reads = service.requests.status
    assert.equal("completed", client:wait().outcome)
    assert.equal(reads + 1, service.requests.status)
  end)

  it("waits for its own sync, not for an earlier one", function()
    local world = virtual_world.new()
    local client, service = world:emulated { duration = 25 }
    service:trigger("contoso", { duration = 1 })
    world:pass(700)
    client:sync()
    local began = world.time
    assert.equal("completed", client:wait().outcome)
    assert.is_true(world.time >= began + 25)
  end)

  it("waits for its own sync also if only the status has proven it", function()
    local world = virtual_world.new()
    local client, service = world:emulated { duration = 25 }
    service:trigger("contoso", { duration = 1 })
    world:pass(700)
    service:inject { kind = "lost_answer", on = "sync" }
    assert.equal("status", client:sync().confirmed_by)
    local began = world.time
    service:inject { kind = "stale_read", on = "status", seconds = 100 }
    assert.equal("completed", client:wait().outcome)
    assert.is_true(world.time >= began + 24)
  end)

  it("waits with since for a sync that was triggered at or after that moment", function()
    local world = virtual_world.new()
    local client, service = world:emulated { cooldown = 0 }
    service:trigger("contoso", { duration = 1 })
    world:pass(60)
    local since = world.time
    local failure = select(2, client:wait { since = since, timeout = 30 })
    assert.equal("timed_out", failure.outcome)
    world:pass(5)
    service:trigger("contoso", { duration = 10 })
    local report = client:wait { since = since }
    assert.equal("completed", report.outcome)
    assert.is_true(report.last_manual_trigger >= since)
  end)

  it("does not take a last sync for a proof of that sync's beginning", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    service:trigger("contoso", { duration = 50 })
    world:pass(10)
    -- The sync from before ends after this moment, and does not count.
    local failure = select(2, client:wait { since = world.time, timeout = 120 })
    assert.equal("timed_out", failure.outcome)
    assert.is_truthy(failure.last_sync)
  end)

  it("translates since to the service's clock, hours ahead or behind", function()
    for _, ahead in ipairs { 4 * 3600, -4 * 3600 } do
      local world = virtual_world.new { ahead = ahead }
      local client, service = world:emulated()
      service:trigger("contoso", { duration = 1 })
      world:pass(60)
      local failure = select(2, client:wait { since = world.time - 10, timeout = 30 })
      assert.equal("timed_out", failure.outcome)
      assert.equal("completed", client:wait({ since = world.time - 200 }).outcome)
    end
  end)

  it("reports a failed sync, with the service's time", function()
    for _, ahead in ipairs { 0, 3600 } do
      local world = virtual_world.new { ahead = ahead }
      local client, service = world:emulated()
      service:inject { kind = "failed_sync", seconds = 20, on = "sync" }
      client:sync()
      local report, failure = client:wait()
      assert.is_nil(report)
      assert.is_false(failure.ok)
      assert.equal("sync_failed", failure.outcome)
      assert.equal("failed", failure.sync_status)
      assert.near(world:service_time(), failure.service_date, 2)
      assert.is_truthy(failure.hint)
      assert.is_true(world.time >= virtual_world.start + 20)
      assert.is_true(world.time <= virtual_world.start + 60)
    end
  end)

  it("ignores an earlier failure", function()
    local world = virtual_world.new()
    local client, service = world:emulated { duration = 20 }
    service:trigger("contoso", { duration = 1, failed = true })
    world:pass(700)
    client:sync()
    service:inject { kind = "stale_read", on = "status", seconds = 100 }
    assert.equal("completed", client:wait().outcome)
  end)

  it("stops at its deadline, with the last status that was read", function()
    local world = virtual_world.new()
    local client = world:emulated { duration = 5000 }
    client:sync()
    local report, failure = client:wait { timeout = 100 }
    assert.is_nil(report)
    assert.equal("timed_out", failure.outcome)
    assert.equal("deadline", failure.gave_up)
    assert.equal("in_progress", failure.sync_status)
    assert.near(virtual_world.start, failure.last_manual_trigger, 1e-5)
    assert.equal("contoso", failure.tenant)
    assert.is_truthy(failure.hint)
    assert.is_true(world.time <= virtual_world.start + 100)
    assert.is_true(world.time >= virtual_world.start + 90)
    assert.is_truthy(tostring(failure):find "^wait contoso: timed_out")
  end)

  it("does not name a Retry-After that has passed", function()
    local world, client = virtual_world.new(), nil
    client = world:scripted({ { status = 429, headers = { ["Retry-After"] = "120" } } }, {
      sleep = function(seconds)
        world:pass(seconds)
        client:close()
      end,
    })
    local failure = select(2, client:wait())
    assert.equal("timed_out", failure.outcome)
    assert.equal(virtual_world.start + 120, world.time)
    assert.is_nil(failure.retry_after)
    assert.is_nil(failure.retry_at)
  end)

  it("says why, if the record could not be read in the time given", function()
    local unread = "^The service asked to be left alone for a while, so the status was not read"
    for _, case in ipairs {
      { { status = 429, headers = { ["Retry-After"] = "90" } }, "throttling this client" },
      { { network = { stage = "resolve" } }, "name was not found" },
      {
        virtual_world.record { status = "inProgress", trigger = 1e9 },
        "did not finish in the time given",
      },
    } do
      local client = virtual_world.new():scripted { case[1], last = "repeat" }
      local failure = select(2, client:wait { timeout = 30 })
      assert.equal("timed_out", failure.outcome)
      assert.matches(case[2], failure.hint)
      if failure.retry_at then
        assert.matches(unread, select(2, client:wait({ timeout = 30 })).hint)
      end
    end
  end)

  it("waits an hour by default", function()
    local world = virtual_world.new()
    local client = world:emulated { duration = 1e6 }
    client:sync()
    assert.equal("timed_out", select(2, client:wait()).outcome)
    assert.is_true(world.time > virtual_world.start + 3500)
    assert.is_true(world.time <= virtual_world.start + 3600)
  end)

  it("raises for a since in the future, naming it, at the caller's line", function()
    local world = virtual_world.new()
    local client, transport = world:scripted {}
    for _, method in ipairs { "wait", "ensure" } do
      local line
      local message = mistakes.raised(function()
        line = mistakes.this_line() + 1
        client[method](client, { since = world.time + 0.001 })
      end)
      local told = ("client:%s: option 'since' must not be in the future"):format(method)
      mistakes.assert_raised_at(line, message, told)
    end
    assert.equal(0, #transport.requests)
  end)
end)
