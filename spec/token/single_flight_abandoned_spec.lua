-- A fetch that nobody goes on with is given up: waiting for it always ends.

local SingleFlight = require "autopilot.token.single_flight"
local core = require "autopilot.core"
local flight_world = require "support.flight_world"
local run_all = require("support.turns").run_all

local counted, slow_success = flight_world.counted, flight_world.slow_success
local new_world, yielding = flight_world.new, flight_world.yielding

describe("a fetching coroutine that is never resumed", function()
  local function abandon(flights, ask, fetch)
    local thread = coroutine.create(function()
      flights:run("key", ask, fetch or coroutine.yield)
    end)
    coroutine.resume(thread)
    return thread
  end

  local function second()
    return "second", 60
  end

  it("is given up after its time, and the first to see that fetches", function()
    local world, flights = new_world(yielding), SingleFlight.new()
    local thread = abandon(flights, world.ask())
    local fetch, count = counted(function()
      coroutine.yield()
      return "second", 60
    end)
    local threads, got = {}, {}
    for index = 1, 20 do
      threads[index] = coroutine.create(function()
        got[index] = { flights:run("key", world.ask(), fetch) }
      end)
    end
    run_all(threads)
    assert.equal(1, count[1])
    for _, results in ipairs(got) do
      assert.equal("second", results[2])
    end
    assert.is_true(world.time >= 1060 and world.time < 1070, world.time)
    assert.equal("suspended", coroutine.status(thread))
  end)

  it("is waited for as long as what it does may take", function()
    for _, case in ipairs {
      {
        function(ask)
          ask.transport { timeout = { total = 30 } }
        end,
        35,
      },
      {
        function(ask)
          ask.transport {}
        end,
        65,
      },
      {
        function(ask)
          ask.sleep(300)
        end,
        305,
      },
    } do
      local world, flights = new_world(yielding), SingleFlight.new()
      local thread =
        abandon(flights, { transport = yielding, sleep = yielding, now = world.ask().now }, case[1])
      local waiter = coroutine.create(function()
        return select(2, flights:run("key", world.ask(), second))
      end)
      run_all { waiter }
      local waited = world.time - 1000
      assert.is_true(waited >= case[2] and waited < case[2] + 1, waited)
      assert.equal("suspended", coroutine.status(thread))
    end
  end)

  it("is waited for anew after each sign of life", function()
    local world, flights = new_world(yielding), SingleFlight.new()
    local ask = { transport = yielding, now = world.ask().now }
    local fetcher = abandon(flights, ask, function(watched)
      for _ = 1, 10 do
        watched.transport { timeout = { total = 30 } }
      end
      return "first"
    end)
    local got
    local waiter = coroutine.create(function()
      got = select(2, flights:run("key", world.ask(), second))
    end)
    for _ = 1, 9 do
      local until_then = world.time + 34
      while world.time < until_then do
        assert(coroutine.resume(waiter))
      end
      assert(coroutine.resume(fetcher))
    end
    run_all { fetcher, waiter }
    assert.equal("first", got)
  end)

  it("is given up at once when it was collected, or has ended", function()
    local world, flights = new_world(yielding), SingleFlight.new()
    abandon(flights, world.ask())
    collectgarbage()
    collectgarbage()
    local waiter = coroutine.wrap(function()
      return select(2, flights:run("key", world.ask(), second))
    end)
    assert.equal("second", waiter())
    assert.equal(0, world.slept)
    local close = rawget(coroutine, "close") -- Lua 5.4
    if close then
      local thread = abandon(flights, world.ask())
      close(thread)
      waiter = coroutine.wrap(function()
        return select(2, flights:run("key", world.ask(), second))
      end)
      assert.equal("second", waiter())
      assert.equal(0, world.slept)
    end
  end)

  it("does not keep a script without a scheduler waiting, which alone could resume it", function()
    local flights = SingleFlight.new()
    local thread = abandon(flights, {})
    local got
    -- Outside of every coroutine, as far as the specs are.
    if select(2, coroutine.running()) ~= false then
      got = select(2, flights:run("key", { sleep = core.sleep }, second))
      assert.equal("second", got)
      local world = new_world()
      thread = abandon(flights, world.ask())
      got = select(2, flights:run("key", world.ask(), second))
      assert.equal("second", got)
      assert.is_true(world.time - 1000 < 61)
    end
    assert.equal("suspended", coroutine.status(thread))
  end)

  it(
    "may end late all the same: it has its own token, and the newer flight is untouched",
    function()
      local world, flights = new_world(yielding), SingleFlight.new()
      local late
      local thread = coroutine.create(function()
        late = select(2, flights:run("other", world.ask(), slow_success))
      end)
      coroutine.resume(thread)
      local waiter = coroutine.create(function()
        flights:run("other", world.ask(), slow_success)
      end)
      local older = flights.flights.other
      while flights.flights.other == older do
        assert(coroutine.resume(waiter))
      end
      local newer = flights.flights.other
      assert.is_truthy(newer)
      for _ = 1, 5 do
        coroutine.resume(thread)
      end
      assert.equal("token", late)
      assert.equal(newer, flights.flights.other)
      run_all { waiter }
      assert.is_nil(flights.flights.other)
    end
  )

  it("is given up also when the clock stands still and nothing sleeps", function()
    local real, passed = core.clock, 0
    core.clock = function()
      passed = passed + 1
      return passed
    end
    local flights = SingleFlight.new()
    local thread = abandon(flights, {})
    local ask = { now = math.random, sleep = function() end }
    local waiter = coroutine.create(function()
      flights:run("key", ask, second)
    end)
    local done, message = pcall(run_all, { waiter })
    core.clock = real
    assert.is_true(done, message)
    assert.is_true(passed < 70)
    assert.equal("suspended", coroutine.status(thread))
  end)

  it("is given up also when the clock is set back meanwhile", function()
    local world, flights = new_world(yielding), SingleFlight.new()
    local thread = abandon(flights, world.ask())
    local waiter = coroutine.create(function()
      flights:run("key", world.ask(), second)
    end)
    coroutine.resume(waiter)
    world.time = -1e6
    run_all { waiter }
    assert.is_true(world.time < -1e6 + 62)
    assert.equal("suspended", coroutine.status(thread))
  end)
end)
