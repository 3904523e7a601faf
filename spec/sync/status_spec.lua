-- client:status: the record, and when a sync is possible.

local virtual_world = require "support.virtual_world"

local record = virtual_world.record

describe("client:status", function()
  it("has state, stamps, cooldown and readiness by the service's clock", function()
    for _, ahead in ipairs { 0, 6 * 3600, -6 * 3600 } do
      local world = virtual_world.new { ahead = ahead }
      local client, service = world:emulated { duration = 30 }
      service:trigger "contoso"
      local triggered = world:service_time()
      world:pass(130)
      local status, failure = client:status()
      assert.is_nil(failure)
      assert.is_true(status.ok)
      assert.equal("status", status.operation)
      assert.equal("contoso", status.tenant)
      assert.equal(200, status.status)
      assert.equal("completed", status.sync_status)
      assert.near(triggered, status.last_manual_trigger, 1e-5)
      assert.near(triggered + 30, status.last_sync, 1e-5)
      assert.near(triggered + 640, status.cooldown_until, 1e-5)
      assert.near(510, status.cooldown_remaining, 1)
      assert.is_false(status.ready)
      assert.near(world:service_time(), status.service_time, 1)
      assert.is_nil(status.delivered)
      assert.is_nil(status.attempts)
    end
  end)

  it("is ready at the end of the cooldown, and not before", function()
    local world = virtual_world.new { ahead = -500 }
    local client, service = world:emulated()
    service:trigger "contoso"
    world:pass(610)
    assert.is_false(client:status().ready)
    local status = client:status()
    world:pass(status.cooldown_remaining)
    status = client:status()
    assert.is_true(status.ready)
    assert.equal(0, status.cooldown_remaining)
    assert.equal("started", client:sync().outcome)
  end)

  it("is ready if there was never a sync", function()
    local client = virtual_world.new():emulated()
    local status = client:status()
    assert.equal("unknown", status.sync_status)
    assert.is_nil(status.last_sync)
    assert.is_nil(status.last_manual_trigger)
    assert.is_nil(status.cooldown_until)
    assert.equal(0, status.cooldown_remaining)
    assert.is_true(status.ready)
  end)

  it("is not ready while a sync is in progress, however old", function()
    local world = virtual_world.new()
    local client, service = world:emulated { duration = 5000 }
    service:trigger "contoso"
    world:pass(2000)
    local status = client:status()
    assert.equal("in_progress", status.sync_status)
    assert.is_false(status.ready)
  end)

  it("is ready with cooldown = 0", function()
    local world = virtual_world.new()
    local client, service = world:emulated(nil, { cooldown = 0 })
    service:trigger "contoso"
    world:pass(1)
    local status = client:status()
    assert.is_true(status.ready)
    assert.is_nil(status.cooldown_until)
  end)

  it("remembers its own sync if the record is out of date", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    client:sync()
    service:inject { kind = "stale_read", on = "status", seconds = 60 }
    world:pass(5)
    local status = client:status()
    assert.is_nil(status.last_manual_trigger)
    assert.is_false(status.ready)
    assert.near(605, status.cooldown_remaining, 2)
  end)

  it("is never ready while sync would be refused locally", function()
    local world = virtual_world.new()
    local client = world:scripted({
      { status = 429 },
      record { trigger = world.time - 5000, last_sync = world.time - 5000, date = world.time },
    }, { retry = false })
    client:sync()
    local status = client:status()
    local failure = select(2, client:sync())
    assert.equal("client", failure.answered_by)
    assert.is_false(status.ready)
    assert.near(failure.retry_after, status.cooldown_remaining, 2)
    assert.near(failure.retry_at, status.cooldown_until, 2)
  end)

  it("sends nothing during a Retry-After of any request", function()
    for _, status in ipairs { 429, 409, 503 } do
      local world = virtual_world.new()
      local client, transport = world:scripted({
        { status = status, headers = { ["Retry-After"] = "300" } },
        record { trigger = world.time - 5000, last_sync = world.time - 5000, date = world.time },
      }, { retry = false })
      client:sync()
      world:pass(299.5)
      local failure = select(2, client:status())
      assert.equal(1, #transport.requests)
      assert.equal("throttled", failure.outcome)
      assert.equal(virtual_world.start + 300, failure.retry_at)
      assert.equal(0.5, failure.retry_after)
      assert.matches("left alone", failure.hint)
      world:pass(0.5)
      assert.is_true(client:status().ok)
    end
  end)

  it("waits for an earlier Retry-After, as its policy and deadline allow", function()
    local world = virtual_world.new()
    local client, transport = world:scripted {
      { status = 409, headers = { ["Retry-After"] = "20" } },
      record { trigger = world.time - 5000, last_sync = world.time - 5000, date = world.time },
    }
    client:sync()
    local failure = select(2, client:status { deadline = 5 })
    assert.equal("throttled", failure.outcome)
    assert.equal("deadline", failure.gave_up)
    assert.equal(1, #transport.requests)
    assert.is_true(client:status().ok)
    assert.equal(virtual_world.start + 20, world.time)
  end)

  it("reads every form of the record", function()
    local world = virtual_world.new()
    local moment = 1767225595.0768271
    for _, case in ipairs {
      { wrapped = true },
      { zone = "-08:00" },
      { zone = "+05:30", wrapped = true },
    } do
      local other = virtual_world.new()
      local client, service = other:emulated(case)
      service:trigger "contoso"
      other:pass(5)
      assert.near(other.time - 5, client:status().last_manual_trigger, 1e-5)
    end
    for body, expected in pairs {
      ['{"syncStatus":"completed","lastSyncDateTime":"2025-12-31T23:59:55.0768271Z"}'] = {
        "completed",
        moment,
      },
      ['{"value":[{"syncStatus":"failed"}]}'] = { "failed" },
      ['{"syncStatus":"pausedByMagic","lastSyncDateTime":null}'] = { "pausedByMagic" },
      ['{"lastSyncDateTime":"0001-01-01T00:00:00Z"}'] = {},
    } do
      local client = world:scripted { { status = 200, body = body } }
      local status = client:status()
      assert.equal(expected[1], status.sync_status)
      if expected[2] then
        assert.near(expected[2], status.last_sync, 1e-5)
      else
        assert.is_nil(status.last_sync)
      end
    end
  end)

  it("is unexpected for any other body, and does not quote it", function()
    local others = { "", "<html>hello</html>", "[]", "{}", '"hello"', '{"value":5}', "{hello" }
    for _, body in ipairs(others) do
      local client = virtual_world.new():scripted { { status = 200, body = body } }
      local status, failure = client:status()
      assert.is_nil(status)
      assert.equal("unexpected", failure.outcome)
      assert.equal("status", failure.operation)
      assert.is_truthy(failure.error.message)
      assert.is_nil(tostring(failure):find "hello")
    end
  end)

  it(
    "is repeated as the policy says, also where its answer was lost: a read changes nothing",
    function()
      local world = virtual_world.new { random = 0.5 }
      local client, transport = world:scripted {
        { network = { stage = "receive" } },
        { status = 503 },
        { status = 429, headers = { ["Retry-After"] = "20" } },
        record { trigger = world.time - 5000, date = world.time },
      }
      local status = client:status()
      assert.is_true(status.ok)
      assert.equal(4, #transport.requests)
      assert.equal("GET", transport.requests[4].method)
      assert.equal("3", transport.requests[4].headers["retry-attempt"])
      assert.is_true(world.slept[3] >= 20)
    end
  )

  it("reports a failure as sync does", function()
    for status, outcome in pairs {
      [401] = "unauthenticated",
      [403] = "forbidden",
      [404] = "not_found",
    } do
      local client = virtual_world.new():scripted { { status = status } }
      local failure = select(2, client:status())
      assert.equal(outcome, failure.outcome)
      assert.equal("not_retryable", failure.gave_up)
      assert.is_truthy(failure.hint)
    end
  end)

  it("has the service's time even without a Date", function()
    local world = virtual_world.new()
    local client = world:scripted { record { trigger = world.time - 100 } }
    local status = client:status()
    assert.near(world.time, status.service_time, 1e-6)
    assert.near(510, status.cooldown_remaining, 1e-5)
  end)

  it("is one line as text", function()
    local client = virtual_world.new():emulated { duration = 60 }
    client:sync()
    local line = tostring(client:status())
    assert.is_truthy(line:find "^status contoso: in_progress")
    assert.is_nil(line:find "%c")
  end)
end)
