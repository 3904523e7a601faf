-- client:sync sends no request that would be in vain because of a known cooldown or Retry-After.

local retry = require "autopilot.retry"
local virtual_world = require "support.virtual_world"

local function with_retry_after(status, seconds)
  return { status = status, headers = { ["Retry-After"] = seconds } }
end

--- Asks once more and asserts that the client answered by itself, until that moment.
local function assert_answered_by_client(world, client, transport, outcome, retry_at)
  local sent = #transport.requests
  local report, failure = client:sync()
  assert.is_nil(report)
  assert.equal(outcome, failure.outcome)
  assert.equal("client", failure.answered_by)
  assert.equal("no", failure.delivered)
  assert.equal("contoso", failure.tenant)
  assert.near(retry_at, failure.retry_at, 1e-6)
  assert.near(retry_at - world.time, failure.retry_after, 1e-6)
  assert.same({}, failure.attempts)
  assert.is_truthy(failure.hint)
  assert.is_nil(failure.status)
  assert.equal(sent, #transport.requests)
end

describe("client:sync inside a cooldown that the client knows of", function()
  it("posts nothing after its own sync, and says exactly when to ask again", function()
    local world = virtual_world.new()
    local client, transport = world:scripted { { status = 204 }, { status = 204 } }
    client:sync()
    local ends = world.time + 610
    assert_answered_by_client(world, client, transport, "cooldown", ends)
    world:pass(100)
    assert_answered_by_client(world, client, transport, "cooldown", ends)
    world:pass(509.9)
    assert_answered_by_client(world, client, transport, "cooldown", ends)
    world:pass(0.2)
    assert.equal("started", client:sync().outcome)
  end)

  it("either posts or reports it when the cooldown ends between two clock readings", function()
    for seconds = 605, 611 do
      local world = virtual_world.new()
      local step = 0
      local client
      client = world:scripted({ { status = 204 }, { status = 204 } }, {
        clock = function()
          world:pass(step)
          return world.time - world.clock_begin
        end,
      })
      client:sync()
      world:pass(seconds - 0.5)
      step = 1 -- each look is a second later
      local report, failure = client:sync()
      assert.equal(report and "started" or "cooldown", (report or failure).outcome)
    end
  end)

  it("counts from the answer's arrival, however late that was", function()
    local world = virtual_world.new()
    local client, service = world:emulated { faults = { { kind = "slow_answer", seconds = 20 } } }
    client:sync()
    assert.near(610, select(2, client:sync()).retry_after, 1e-6)
    world:pass(610)
    assert.equal("started", client:sync().outcome)
    assert.equal(2, service.requests.sync)
  end)

  it("posts anyway with force", function()
    local client, transport =
      virtual_world.new():scripted { { status = 204 }, { status = 429 }, { status = 204 } }
    client:sync()
    assert.equal("service", select(2, client:sync({ force = true })).answered_by)
    assert.equal("started", client:sync({ force = true }).outcome)
    assert.equal(3, #transport.requests)
  end)

  it("posts anyway with cooldown = 0", function()
    local client, transport = virtual_world.new():scripted(
      { { status = 204 }, { status = 429 }, { status = 204 } },
      { cooldown = 0 }
    )
    client:sync()
    assert.equal("service", select(2, client:sync()).answered_by)
    assert.equal("started", client:sync().outcome)
    assert.equal(3, #transport.requests)
  end)

  it("knows it from a bare 429, too, for at most the whole interval", function()
    local world = virtual_world.new()
    local client, transport = world:scripted { { status = 429 }, { status = 204 } }
    local failure = select(2, client:sync())
    assert.equal("cooldown", failure.outcome)
    assert.equal("service", failure.answered_by)
    local ends = world.time + 610
    world:pass(50)
    assert_answered_by_client(world, client, transport, "cooldown", ends)
    world:pass(560.1)
    assert.equal("started", client:sync().outcome)
  end)

  it("knows it from the record that it has read, for any client's sync", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    service:trigger "contoso"
    local triggered = world.time
    world:pass(200)
    client:status()
    local failure = select(2, client:sync())
    assert.equal("cooldown", failure.outcome)
    assert.equal("client", failure.answered_by)
    -- The last stamp is the sync's end, half a second later; a Date has whole seconds.
    assert.is_true(failure.retry_at >= triggered + 610)
    assert.is_true(failure.retry_at <= triggered + 610.5 + 1.01)
    assert.equal(0, service.requests.sync)
    world:pass(failure.retry_after)
    assert.equal("started", client:sync().outcome)
  end)

  it("is exact in local time, for any local clock", function()
    for _, ahead in ipairs { 5 * 3600, -5 * 3600 } do
      local world = virtual_world.new { ahead = ahead }
      local client, service = world:emulated()
      service:trigger "contoso"
      local triggered = world.time
      world:pass(200)
      client:status()
      local failure = select(2, client:sync())
      assert.equal("cooldown", failure.outcome)
      assert.is_true(failure.retry_at >= triggered + 610)
      assert.is_true(failure.retry_at <= triggered + 610.5 + 1.01)
    end
  end)

  it("knows it from a 429 after a wait that ended slightly early", function()
    local world = virtual_world.new()
    local slept = {}
    local answers = { { status = 204 }, { status = 429 }, { status = 204 } }
    local client, transport = world:scripted(answers, {
      retry = retry.patient(),
      sleep = function(seconds)
        slept[#slept + 1] = seconds
        world:pass(seconds - 0.01)
      end,
    })
    client:sync()
    world:pass(500)
    assert.equal("started", client:sync().outcome)
    assert.equal(3, #transport.requests)
    assert.near(110, slept[1], 1)
    assert.near(610, slept[2], 1)
  end)

  it("posts after a wait for its end as a first request, not as a retry", function()
    local world = virtual_world.new()
    local answers = { { status = 204 }, { status = 500 }, { status = 204 } }
    local client, transport = world:scripted(answers, { retry = retry.patient() })
    client:sync()
    assert.equal("started", client:sync().outcome)
    assert.is_nil(transport.requests[2].headers["retry-attempt"])
    assert.equal("1", transport.requests[3].headers["retry-attempt"])
  end)

  it("does not share this with other clients", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    client:sync()
    local other = world:client { transport = service:transport() }
    assert.equal("service", select(2, other:sync()).answered_by)
  end)
end)

describe("client:sync after a Retry-After", function()
  it("ignores one of the token endpoint", function()
    local asked = 0
    local client, transport = virtual_world.new():scripted({ { status = 401 }, { status = 204 } }, {
      retry = false,
      token = function()
        asked = asked + 1
        if asked == 2 then
          return nil, "slow down", { retry_after = 100 }
        end
        return "good"
      end,
    })
    assert.equal("unauthenticated", select(2, client:sync()).outcome)
    assert.equal("started", client:sync().outcome)
    assert.equal(2, #transport.requests)
  end)

  it("posts nothing before that time, and reports the service's outcome", function()
    for status, outcome in pairs {
      [429] = "throttled",
      [409] = "in_progress",
      [503] = "unavailable",
    } do
      local world = virtual_world.new()
      local client, transport = world:scripted(
        { with_retry_after(status, "300"), { status = 204 } },
        { retry = false }
      )
      local failure = select(2, client:sync())
      assert.equal(outcome, failure.outcome)
      assert.equal("service", failure.answered_by)
      assert.equal(300, failure.retry_after)
      local ends = world.time + 300
      assert.near(ends, failure.retry_at, 1e-6)
      world:pass(299)
      assert_answered_by_client(world, client, transport, outcome, ends)
      world:pass(1.1)
      assert.equal("started", client:sync().outcome)
      assert.equal(2, #transport.requests)
    end
  end)

  it("posts anyway with force", function()
    local client, transport =
      virtual_world.new():scripted({ with_retry_after(429, "300"), { status = 204 } })
    client:sync()
    assert.equal("started", client:sync({ force = true }).outcome)
    assert.equal(2, #transport.requests)
  end)

  it("posts nothing with cooldown = 0 either: a Retry-After is not a cooldown", function()
    local world = virtual_world.new()
    local client, transport = world:scripted(
      { with_retry_after(429, "300") },
      { cooldown = 0, retry = false }
    )
    client:sync()
    assert_answered_by_client(world, client, transport, "throttled", world.time + 300)
  end)

  it("remembers one of a read of the status, too", function()
    local world = virtual_world.new()
    local client, transport = world:scripted({ with_retry_after(429, "300") }, { retry = false })
    client:status()
    assert_answered_by_client(world, client, transport, "throttled", world.time + 300)
  end)

  it("is throttled even inside a cooldown", function()
    local client = virtual_world.new():scripted({
      { status = 204 },
      with_retry_after(429, "5"),
    }, { retry = false })
    client:sync()
    assert.equal("throttled", select(2, client:sync({ force = true })).outcome)
  end)

  it("is the time to ask again also where a forced request meets the cooldown", function()
    local client = virtual_world.new():scripted({
      { status = 204 },
      with_retry_after(429, "1000"),
      { status = 429 },
    }, { retry = false })
    client:sync()
    client:sync { force = true }
    local failure = select(2, client:sync { force = true })
    assert.equal("cooldown", failure.outcome)
    assert.equal(1000, failure.retry_after)
  end)

  it("is the time to ask again also where a forced request gets a shorter one", function()
    for _, status in ipairs { 409, 429, 503 } do
      local world = virtual_world.new()
      local client, transport = world:scripted(
        { with_retry_after(429, "1000"), with_retry_after(status, "5") },
        { retry = false }
      )
      client:sync()
      local failure = select(2, client:sync { force = true })
      assert.equal("service", failure.answered_by)
      assert.equal(1000, failure.retry_after)
      assert_answered_by_client(world, client, transport, "throttled", failure.retry_at)
    end
  end)

  it("is not the time to ask again where a longer cooldown is known", function()
    local world = virtual_world.new()
    local client, transport = world:scripted(
      { { status = 204 }, with_retry_after(429, "5") },
      { retry = false }
    )
    client:sync()
    local failure = select(2, client:sync { force = true })
    assert.equal("throttled", failure.outcome)
    assert_answered_by_client(world, client, transport, "cooldown", failure.retry_at)
  end)

  it("does not wait after a 409 without one", function()
    local client, transport = virtual_world.new():scripted { { status = 409 }, { status = 204 } }
    assert.equal("in_progress", select(2, client:sync()).outcome)
    assert.equal("started", client:sync().outcome)
    assert.equal(2, #transport.requests)
  end)
end)
