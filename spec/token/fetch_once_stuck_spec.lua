-- A fetch whose coroutine is never resumed is abandoned: waiting for it always ends.

local Leases = require "autopilot.base.lease"
local core = require "autopilot.core"
local fetch_once = require "autopilot.token.fetch_once"
local fetch_world = require "support.fetch_world"
local run_all = require("support.turns").run_all

local counted, slow_success = fetch_world.counted, fetch_world.slow_success
local new_world, yielding = fetch_world.new, fetch_world.yielding

describe("a fetching coroutine that is never resumed", function()
  local function abandon(leases, ask, fetch)
    local thread = coroutine.create(function()
      fetch_once(leases, "key", ask, fetch or coroutine.yield)
    end)
    coroutine.resume(thread)
    return thread
  end

  local function second()
    return "second", 60
  end

  it("is abandoned after its time, and the first waiter to notice that fetches", function()
    local world, leases = new_world(yielding), Leases.new()
    local thread = abandon(leases, world.ask())
    local fetch, count = counted(function()
      coroutine.yield()
      return "second", 60
    end)
    local threads, got = {}, {}
    for index = 1, 20 do
      threads[index] = coroutine.create(function()
        got[index] = { fetch_once(leases, "key", world.ask(), fetch) }
      end)
    end
    run_all(threads)
    assert.equal(1, count[1])
    for _, results in ipairs(got) do
      assert.equal("second", results[1])
    end
    assert.is_true(world.time >= 1060 and world.time < 1070, world.time)
    assert.equal("suspended", coroutine.status(thread))
  end)

  it("is waited for as long as its work may take", function()
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
      local world, leases = new_world(yielding), Leases.new()
      local thread =
        abandon(leases, { transport = yielding, sleep = yielding, now = world.ask().now }, case[1])
      local waiter = coroutine.create(function()
        return (fetch_once(leases, "key", world.ask(), second))
      end)
      run_all { waiter }
      local waited = world.time - 1000
      assert.is_true(waited >= case[2] and waited < case[2] + 1, waited)
      assert.equal("suspended", coroutine.status(thread))
    end
  end)

  it("is waited for again after each renewal", function()
    local world, leases = new_world(yielding), Leases.new()
    local ask = { transport = yielding, now = world.ask().now }
    local fetcher = abandon(leases, ask, function(watched)
      for _ = 1, 10 do
        watched.transport { timeout = { total = 30 } }
      end
      return "first"
    end)
    local got
    local waiter = coroutine.create(function()
      got = (fetch_once(leases, "key", world.ask(), second))
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

  it("is abandoned at once if it was collected, or has ended", function()
    local world, leases = new_world(yielding), Leases.new()
    abandon(leases, world.ask())
    collectgarbage()
    collectgarbage()
    local waiter = coroutine.wrap(function()
      return (fetch_once(leases, "key", world.ask(), second))
    end)
    assert.equal("second", waiter())
    assert.equal(0, world.slept)
    local close = rawget(coroutine, "close") -- Lua 5.4
    if close then
      local thread = abandon(leases, world.ask())
      close(thread)
      waiter = coroutine.wrap(function()
        return (fetch_once(leases, "key", world.ask(), second))
      end)
      assert.equal("second", waiter())
      assert.equal(0, world.slept)
    end
  end)

  it("does not block a script without a scheduler, which alone could resume it", function()
    local leases = Leases.new()
    local thread = abandon(leases, {})
    local got
    -- Outside of every coroutine, as far as the specs are.
    if select(2, coroutine.running()) ~= false then
      got = (fetch_once(leases, "key", { sleep = core.sleep }, second))
      assert.equal("second", got)
      local world = new_world()
      thread = abandon(leases, world.ask())
      got = (fetch_once(leases, "key", world.ask(), second))
      assert.equal("second", got)
      assert.is_true(world.time - 1000 < 61)
    end
    assert.equal("suspended", coroutine.status(thread))
  end)

  it("may end late: it has its own token, and does not change the newer lease", function()
    local world, leases = new_world(yielding), Leases.new()
    local late
    local thread = coroutine.create(function()
      late = (fetch_once(leases, "other", world.ask(), slow_success))
    end)
    coroutine.resume(thread)
    local waiter = coroutine.create(function()
      fetch_once(leases, "other", world.ask(), slow_success)
    end)
    local older = (leases:holder "other")
    while (leases:holder "other") == older do
      assert(coroutine.resume(waiter))
    end
    local newer = (leases:holder "other")
    assert.is_truthy(newer)
    for _ = 1, 5 do
      coroutine.resume(thread)
    end
    assert.equal("token", late)
    assert.equal(newer, (leases:holder "other"))
    run_all { waiter }
    assert.is_nil(leases:holder "other")
  end)

  it("is abandoned even if the clock stands still and nothing sleeps", function()
    local real, passed = core.clock, 0
    core.clock = function()
      passed = passed + 1
      return passed
    end
    local leases = Leases.new()
    local thread = abandon(leases, {})
    local ask = { now = math.random, sleep = function() end }
    local waiter = coroutine.create(function()
      fetch_once(leases, "key", ask, second)
    end)
    local done, message = pcall(run_all, { waiter })
    core.clock = real
    assert.is_true(done, message)
    assert.is_true(passed < 70)
    assert.equal("suspended", coroutine.status(thread))
  end)

  it("is abandoned even if the clock is set back meanwhile", function()
    local world, leases = new_world(yielding), Leases.new()
    local thread = abandon(leases, world.ask())
    local waiter = coroutine.create(function()
      fetch_once(leases, "key", world.ask(), second)
    end)
    coroutine.resume(waiter)
    world.time = -1e6
    run_all { waiter }
    assert.is_true(world.time < -1e6 + 62)
    assert.equal("suspended", coroutine.status(thread))
  end)
end)
