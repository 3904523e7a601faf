-- Lost answers: what the status proves about a request without an answer, and about a refused one that follows it.

local retry = require "autopilot.retry"
local virtual_world = require "support.virtual_world"

local record = virtual_world.record
local syncs_started = virtual_world.syncs_started

local lost = { network = { stage = "receive", message = "reset" } }

--- The method of every request, in order: "POST GET POST".
local function methods(transport)
  local list = {}
  for index, request in ipairs(transport.requests) do
    list[index] = request.method
  end
  return table.concat(list, " ")
end

--- Everything after which it is open whether a sync was started.
local function open_answers()
  return {
    ["interrupted while sending"] = { network = { stage = "send" } },
    ["interrupted while receiving"] = lost,
    ["502"] = { status = 502 },
    ["503 without Retry-After"] = { status = 503 },
    ["504"] = { status = 504, body = "<html>Gateway Timeout</html>" },
  }
end

--- The stamps of a sync that took place long ago.
local function old_record(world, given)
  given = given or {}
  given.trigger = world.time - 5000
  given.last_sync = world.time - 4990
  given.date = world.time
  return record(given)
end

describe("client:sync after a lost answer", function()
  it("reports a started sync if the record has a trigger at or after the attempt", function()
    for name, answer in pairs(open_answers()) do
      for _, status in ipairs { "inProgress", "completed", "failed" } do
        local world = virtual_world.new()
        local stamp = world.time + 0.01
        local client, transport = world:scripted {
          answer,
          record { status = status, trigger = stamp, last_sync = stamp - 9000, date = world.time },
        }
        local report, failure = client:sync()
        assert.is_nil(failure, name)
        assert.equal("started", report.outcome)
        assert.is_true(report.ok)
        assert.equal("status", report.confirmed_by)
        assert.equal("yes", report.delivered)
        assert.is_nil(report.answered_by) -- the record tells it, no answer
        assert.is_nil(report.hint)
        assert.is_nil(report.error)
        assert.is_nil(report.network)
        assert.is_nil(report.gave_up)
        assert.equal(1, #report.attempts)
        assert.equal("POST GET", methods(transport))
        assert.is_truthy(tostring(report):find "confirmed by the status")
      end
    end
  end)

  it("posts again if the record proves that nothing was started", function()
    for name, answer in pairs(open_answers()) do
      local world = virtual_world.new()
      local client, transport = world:scripted { answer, old_record(world), { status = 204 } }
      local report = client:sync()
      assert.is_truthy(report, name)
      assert.equal("started", report.outcome)
      assert.equal("response", report.confirmed_by)
      assert.equal(2, #report.attempts)
      assert.equal("unknown", report.attempts[1].delivered)
      assert.equal("POST GET POST", methods(transport))
    end
  end)

  it("reports the delivery as unknown if it may not post again", function()
    for name, answer in pairs(open_answers()) do
      local world = virtual_world.new()
      local client, transport = world:scripted({ answer, old_record(world) }, { retry = false })
      local failure = select(2, client:sync())
      assert.equal("unknown", failure.delivered, name)
      assert.is_false(failure.ok)
      assert.equal("POST GET", methods(transport))
    end
  end)

  it("accepts a record without any sync as a proof, too", function()
    local world = virtual_world.new()
    local client, transport = world:scripted {
      lost,
      record { status = "unknown", date = world.time },
      { status = 204 },
    }
    assert.equal("started", client:sync().outcome)
    assert.equal("POST GET POST", methods(transport))
  end)

  it("reports in_progress if an earlier sync still runs, and does not post again", function()
    for name, answer in pairs(open_answers()) do
      local world = virtual_world.new()
      local client, transport =
        world:scripted { answer, old_record(world, { status = "inProgress" }) }
      local report, failure = client:sync()
      assert.is_nil(report, name)
      assert.equal("in_progress", failure.outcome)
      assert.is_nil(failure.answered_by)
      assert.equal("unknown", failure.delivered)
      assert.equal("POST GET", methods(transport))
    end
  end)

  it("reports the cooldown if the record shows one, and does not post in vain", function()
    local world = virtual_world.new()
    local trigger = world.time - 100
    local client, transport = world:scripted {
      lost,
      record { trigger = trigger, last_sync = trigger, date = world.time },
    }
    local failure = select(2, client:sync())
    assert.equal("cooldown", failure.outcome)
    assert.is_nil(failure.answered_by)
    assert.equal("unknown", failure.delivered)
    assert.is_true(failure.retry_at >= trigger + 610 and failure.retry_at <= trigger + 611.01)
    assert.equal("POST GET", methods(transport))
  end)

  it("keeps outcome and uncertainty if the status cannot be read", function()
    for name, answer in pairs(open_answers()) do
      for _, unreadable in ipairs {
        -- A record that does not tell when a sync was last asked for: that is not "never".
        {
          status = 200,
          body = '{"syncStatus":"completed","lastSyncDateTime":"2020-01-01T00:00:00Z"}',
        },
        { status = 500 },
        { status = 503 },
        { status = 403 },
        { status = 401 },
        { status = 429, headers = { ["Retry-After"] = "30" } },
        { status = 200, body = "<html>" },
        { status = 200, body = "{}" },
        { status = 200, body = "" },
        { status = 204 },
        { network = { stage = "connect" } },
        { network = { stage = "receive" } },
      } do
        local client, transport =
          virtual_world.new():scripted { answer, unreadable, last = "repeat" }
        local report, failure = client:sync()
        assert.is_nil(report, name)
        assert.equal(answer.status and "unavailable" or "interrupted", failure.outcome)
        assert.equal(answer.status, failure.status)
        assert.equal(answer.status and "service" or nil, failure.answered_by)
        assert.equal("unknown", failure.delivered)
        assert.matches("may have", failure.hint)
        assert.equal("not_retryable", failure.gave_up)
        assert.equal(1, #failure.attempts)
        assert.matches("^POST GET[GET ]*$", methods(transport))
      end
    end
  end)

  it("goes on with what the record shows when the service can be reached again", function()
    for name, answer in pairs(open_answers()) do
      local world = virtual_world.new()
      local client, transport = world:scripted {
        answer,
        { status = 503 },
        { network = { stage = "connect" } },
        record { trigger = world.time, date = world.time },
      }
      local report = assert(client:sync(), name)
      assert.equal("started", report.outcome)
      assert.equal("status", report.confirmed_by)
      assert.equal("POST GET GET GET", methods(transport))
    end
  end)

  it("reads the status with retry = false, too: that is no retry", function()
    local world = virtual_world.new()
    local client = world:scripted(
      { lost, record { trigger = world.time, date = world.time } },
      { retry = false }
    )
    assert.equal("started", client:sync().outcome)
  end)

  it("reads nothing with recover = false", function()
    for name, answer in pairs(open_answers()) do
      local client, transport = virtual_world
        .new()
        :scripted({ answer }, { recover = false, retry = false })
      local failure = select(2, client:sync())
      assert.equal(answer.status and "unavailable" or "interrupted", failure.outcome, name)
      assert.equal("unknown", failure.delivered)
      assert.equal("POST", methods(transport))
    end
  end)

  it("reads nothing after an answer that is clear", function()
    for _, answer in ipairs {
      { status = 500 },
      { status = 503, headers = { ["Retry-After"] = "5" } },
      { status = 302 },
      { status = 403 },
      { status = 409 },
      { status = 429 },
      { network = { stage = "connect" } },
    } do
      local client, transport = virtual_world.new():scripted({ answer }, { retry = false })
      client:sync()
      assert.equal("POST", methods(transport))
    end
  end)

  it("reads nothing when the deadline has passed", function()
    local world = virtual_world.new()
    local requests = 0
    local client = world:client {
      transport = function(request)
        requests = requests + 1
        world:pass(request.timeout.total)
        return nil, { stage = "receive", timeout = true, message = "late", delivered = "unknown" }
      end,
    }
    local failure = select(2, client:sync { deadline = 30 })
    assert.equal("interrupted", failure.outcome)
    assert.equal("unknown", failure.delivered)
    assert.equal(1, requests)
    assert.near(30, failure.elapsed, 1e-6)
  end)

  it("does not take an older sync for its own, for any local clock", function()
    for _, ahead in ipairs { 0, 3 * 3600, -3 * 3600, 0.4, -0.4 } do
      local world = virtual_world.new { ahead = ahead }
      local client, service = world:emulated { cooldown = 20, duration = 0.5 }
      client.memory.cooldown, client.options.cooldown = 0, 0
      service:trigger "contoso"
      world:pass(30)
      service:inject { kind = "lost_request", on = "sync" }
      local report = client:sync()
      assert.equal("started", report.outcome)
      assert.equal("response", report.confirmed_by)
      assert.equal(2, syncs_started(service))
    end
  end)

  it("recognizes its own sync, for any local clock", function()
    for _, ahead in ipairs { 0, 3 * 3600, -3 * 3600, 0.4, -0.4, 0.75 } do
      for _, kind in ipairs { "lost_answer", "status" } do
        local world = virtual_world.new { ahead = ahead }
        local client, service = world:emulated()
        service:inject { kind = kind, on = "sync", status = 504, after = true }
        local report = client:sync()
        assert.equal("started", report.outcome)
        assert.equal("status", report.confirmed_by)
        assert.equal(1, service.requests.sync)
        assert.equal(1, syncs_started(service))
      end
    end
  end)

  it("remembers a sync that the status has proven, and does not post in its cooldown", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    service:inject { kind = "lost_answer", on = "sync" }
    client:sync()
    local failure = select(2, client:sync())
    assert.equal("cooldown", failure.outcome)
    assert.equal("client", failure.answered_by)
    assert.equal(1, service.requests.sync)
  end)

  it("then waits for a sync that the status has proven", function()
    local client, service = virtual_world.new():emulated { duration = 30 }
    service:inject { kind = "lost_answer", on = "sync" }
    local report = client:sync { wait = true }
    assert.equal("completed", report.outcome)
    assert.equal("status", report.confirmed_by)
    assert.equal("yes", report.delivered)
    assert.equal(1, syncs_started(service))
  end)

  it("does not start a second sync if the record is out of date", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    service:inject { kind = "lost_answer", on = "sync" }
    service:inject { kind = "stale_read", on = "status", seconds = 60 }
    client:sync()
    assert.equal(1, syncs_started(service))
  end)
end)

describe("client:sync refused after an attempt whose answer was lost", function()
  it("is a success if that attempt had started the sync", function()
    local world = virtual_world.new()
    local client = world:scripted({
      lost,
      { status = 403 }, -- the status could not be read at first
      { status = 409 },
      record { status = "inProgress", trigger = world.time + 0.1, date = world.time },
    }, { retry = retry.policy { on = { interrupted = true }, jitter = "none" } })
    local report = client:sync()
    assert.equal("started", report.outcome)
    assert.equal("status", report.confirmed_by)
    assert.equal("yes", report.delivered)
    assert.equal(2, #report.attempts)
  end)

  it("says that a sync may have been started if the record cannot be read", function()
    local throttled = { status = 429, headers = { ["Retry-After"] = "20" } }
    for _, refused in ipairs { { status = 409 }, { status = 429 }, throttled } do
      local client = virtual_world.new():scripted({
        lost,
        { status = 403 },
        refused,
        { status = 403 },
      }, {
        retry = retry.policy { on = { interrupted = true }, attempts = 2, jitter = "none" },
      })
      local failure = select(2, client:sync())
      assert.equal(refused.status, failure.status)
      assert.is_truthy(failure.hint:find("may have started", 1, true), failure.hint)
    end
  end)
end)
