-- The computer's clock is set while a request is under way: reports about syncs stay true,
-- and as complete as possible. Only Unix time jumps; the monotonic clock goes on.

local overlapping_calls = require "support.overlapping_calls"
local scripted = require "autopilot.transport.scripted"
local virtual_world = require "support.virtual_world"

-- Seconds, forward and back; both further than any request takes.
local steps = { 3600, -3600 }

--- Sets the clock by so many seconds. The service's time, and the monotonic clock, go on.
local function set_clock(world, step)
  world.time = world.time + step
  world.clock_begin = world.clock_begin + step
  world.ahead = world.ahead - step
end

--- The record, as the service tells it at this moment.
local function told_record(world, trigger)
  local answer = virtual_world.record { trigger = trigger, last_sync = trigger + 0.5 }
  answer.headers = { ["date"] = virtual_world.date(world:service_time()), ["request-id"] = "5c0e" }
  return answer
end

--- A client of a service that remembers one trigger. What becomes of the next request for a sync is for
-- `world.on_post`: it may lose it, and start a sync or not.
local function new_client(world)
  local function transport(request)
    if request.method == "POST" then
      return world:on_post()
    end
    world:pass(0.1)
    if world.on_read then
      world.on_read()
    end
    return told_record(world, world.trigger)
  end
  return world:client { transport = transport, retry = false }
end

--- Loses a request; the clock is set while it is under way.
local function lose(world, step, starts)
  return function()
    world:pass(0.25)
    world.trigger = starts and world:service_time() or world.trigger
    world:pass(6)
    set_clock(world, step)
    world:pass(53)
    return nil, { stage = "receive", message = "timed out", timeout = true, delivered = "unknown" }
  end
end

--- Sets the clock while the next read is under way.
local function set_while_reading(world, step)
  function world.on_read()
    world.on_read = nil
    set_clock(world, step)
  end
end

--- Worlds in which another client triggered a sync 20 s ago: each step of the clock, and whether the client
-- has heard of the service's time before.
local function each_world(act)
  for _, step in ipairs(steps) do
    for _, has_heard in ipairs { false, true } do
      for _, ahead in ipairs { 0, 7200.6 } do
        local world = virtual_world.new { ahead = has_heard and ahead or 0 }
        world.trigger = world:service_time() - 5000
        local client = new_client(world)
        if has_heard then
          assert(client:status())
          world:pass(60)
        end
        world.trigger = world:service_time() - 20
        act(world, client, step)
      end
    end
  end
end

describe("a clock that is set while a request is under way", function()
  it("does not make another client's earlier sync count as the request's own", function()
    each_world(function(world, client, step)
      world.on_post = lose(world, step, false)
      local report, failure = client:sync()
      assert.is_nil(report)
      assert.equal("cooldown", failure.outcome)
      assert.equal("unknown", failure.delivered)
    end)
  end)

  it("does not hide the sync that the lost request started", function()
    each_world(function(world, client, step)
      world.on_post = lose(world, step, true)
      local report = assert(client:sync())
      assert.equal("started", report.outcome)
      assert.equal("status", report.confirmed_by)
      assert.equal("yes", report.delivered)
    end)
  end)

  it("hides no sync either if it was set shortly before", function()
    each_world(function(world, client, step)
      set_clock(world, step)
      world.on_post = lose(world, 0, true)
      assert.equal("started", assert(client:sync()).outcome)
    end)
  end)

  it("does not hide the end of the request's own sync", function()
    each_world(function(world, client, step)
      world.on_post = lose(world, step, true)
      local report = assert(client:sync { wait = true, deadline = 600 })
      assert.equal("completed", report.outcome)
    end)
  end)

  it("does not let a sync count that was triggered before `since`", function()
    for method, outcome in pairs { ensure = "cooldown", wait = "timed_out" } do
      each_world(function(world, client, step)
        local since = world.time
        set_while_reading(world, step)
        local report, failure = client[method](client, { since = since, timeout = 60 })
        assert.is_nil(report)
        assert.equal(outcome, failure.outcome)
      end)
    end
  end)

  it("lets a sync count that was triggered after `since`", function()
    for method, outcome in pairs { ensure = "fresh", wait = "completed" } do
      each_world(function(world, client, step)
        local since = world.time - 25
        set_while_reading(world, step)
        assert.equal(
          outcome,
          assert(client[method](client, { since = since, timeout = 9 })).outcome
        )
      end)
    end
  end)
end)

describe("a clock that is set after a Retry-After", function()
  it("does not change its end", function()
    for _, step in ipairs(steps) do
      local world = virtual_world.new()
      local refusal =
        { status = 409, headers = { ["Retry-After"] = "20", ["request-id"] = "5c0e" } }
      local client = world:scripted({ refusal, { status = 204 } }, { retry = false })
      client:sync()
      world:pass(3)
      set_clock(world, step)
      local _, failure = client:sync()
      assert.equal("client", failure.answered_by)
      assert.equal(17, failure.retry_after)
      assert.equal(world.time + 17, failure.retry_at)
      world:pass(17)
      assert(client:sync())
    end
  end)
end)

describe("a clock that is set while others wait for a request", function()
  local overlap, shift

  --- A client of a computer whose clock is set by `shift`, when that has come.
  local function shifted(transport)
    return overlap:client {
      retry = false,
      transport = transport,
      now = function()
        return overlap.time + shift
      end,
    }
  end

  before_each(function()
    overlap, shift = overlapping_calls.new(), 0
  end)

  it("lets none of them report another client's earlier sync", function()
    for _, step in ipairs(steps) do
      overlap, shift = overlapping_calls.new(), 0
      local calls = {}
      local old = overlapping_calls.start - 20
      local function transport(request)
        overlap:sleep(1)
        if request.method == "GET" then
          local answer =
            virtual_world.record { trigger = old, last_sync = old, date = overlap.time }
          answer.headers["request-id"] = "5c0e"
          return scripted({ answer })(request)
        end
        shift = step
        overlap:sleep(1)
        return nil, { stage = "receive", message = "reset", delivered = "unknown" }
      end
      for number = 1, 5 do
        calls[number] = overlap:spawn(function()
          return shifted(transport):sync()
        end)
      end
      overlap:run()
      for _, call in ipairs(calls) do
        assert.equal("cooldown", overlapping_calls.report_of(call).outcome)
      end
    end
  end)

  it("does not make an old answer count as new after the clock was set back", function()
    function overlap.store.delete_if()
      return nil, "the store is away" -- so the claim stays
    end
    local posts, calls = 0, {}
    local function transport(request)
      posts = posts + 1
      overlap:sleep(1)
      return scripted({ { status = 403 } })(request)
    end
    for number = 1, 2 do
      calls[number] = overlap:spawn(function()
        overlap:sleep(number * 10)
        shift = number == 2 and -3600 or 0
        return shifted(transport):sync()
      end)
    end
    overlap:run()
    assert.equal(2, posts)
    assert.is_nil(overlapping_calls.report_of(calls[2]).joined)
  end)

  it("does not make an answer from before the call count as new", function()
    local answers = { { seconds = 1, status = 400 }, { seconds = 40, status = 204 } }
    local posts, calls = 0, {}
    local function transport(request)
      posts = posts + 1
      local answer = answers[posts]
      overlap:sleep(answer.seconds)
      return scripted({ { status = answer.status } })(request)
    end
    for number = 1, 3 do
      calls[number] = overlap:spawn(function()
        overlap:sleep(2 * number)
        return shifted(transport):sync()
      end)
    end
    overlap:spawn(function()
      overlap:sleep(10)
      shift = -20
    end)
    overlap:run()
    local outcomes = {}
    for number, call in ipairs(calls) do
      outcomes[number] = overlapping_calls.report_of(call).outcome
    end
    assert.same({ "rejected", "started", "started" }, outcomes)
  end)

  it("does not revive an expired Retry-After in a client that never saw it", function()
    local report
    local function transport(request)
      return scripted({ { status = 409, headers = { ["Retry-After"] = "20" } } })(request)
    end
    overlap:spawn(function()
      shifted(transport):sync()
      overlap:sleep(55) -- what is told of its request is still in the store
      shift = -3600
      report = select(2, shifted(transport):sync())
    end)
    overlap:run()
    assert.equal("service", report.answered_by)
  end)

  it("does not lengthen an earlier Retry-After", function()
    local function transport(request)
      return scripted({ { status = 409, headers = { ["Retry-After"] = "20" } } })(request)
    end
    local reports = {}
    overlap:spawn(function()
      shifted(transport):sync()
      overlap:sleep(5)
      shift = -3600
      local second = shifted(transport)
      for number, seconds in ipairs { 0, 36 } do
        overlap:sleep(seconds)
        local _, failure = second:sync()
        reports[number] = failure
      end
    end)
    overlap:run()
    assert.equal("client", reports[1].answered_by)
    assert.is_true(reports[1].retry_after <= 20)
    assert.equal("service", reports[2].answered_by)
  end)
end)
