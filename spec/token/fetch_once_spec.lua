-- One fetch at a time for all coroutines that need the same token, with any sleep function.

local Leases = require "autopilot.base.lease"
local core = require "autopilot.core"
local fetch_once = require "autopilot.token.fetch_once"
local fetch_world = require "support.fetch_world"
local run_all = require("support.turns").run_all

local counted, slow_success = fetch_world.counted, fetch_world.slow_success
local new_world, yielding = fetch_world.new, fetch_world.yielding

-- So many coroutines that ask at once; what each got, and how often was fetched.
local function ask_at_once(count, ask, fetch, backwards)
  local leases, threads, got = Leases.new(), {}, {}
  for index = 1, count do
    threads[index] = coroutine.create(function()
      got[index] = { fetch_once(leases, "key", ask, fetch) }
    end)
  end
  run_all(threads, backwards)
  return got, leases
end

describe("a fetch for many callers", function()
  it("fetches once for 1,000 coroutines, resumed in any order", function()
    for _, backwards in ipairs { false, true } do
      local fetch, count = counted(slow_success)
      local got, leases = ask_at_once(1000, new_world(yielding).ask(), fetch, backwards)
      assert.equal(1, count[1])
      assert.equal(1000, #got)
      for _, results in ipairs(got) do
        assert.same({ "token", 3600, "more" }, { results[1], results[2], results[3] })
      end
      assert.is_nil(leases:holder "key")
    end
  end)

  it("fetches once even if the sleep blocks: waiters yield instead", function()
    local virtual = new_world()
    for _, ask in ipairs { virtual.ask(), { now = virtual.ask().now, sleep = core.sleep }, {} } do
      local fetch, count = counted(slow_success)
      ask_at_once(100, ask, fetch)
      assert.equal(1, count[1])
    end
    -- A millisecond for each in each round, and no growing steps.
    assert.is_true(virtual.time - 1000 < 6 * 100 * 0.001 + 0.01, virtual.time)
  end)

  it("does not sleep at all if the sleep is known to block", function()
    local real, slept = core.sleep, 0
    core.sleep = function()
      slept = slept + 1
    end
    local fetch = counted(slow_success)
    local done, message = pcall(ask_at_once, 10, {}, fetch)
    core.sleep = real
    assert.is_true(done, message)
    assert.equal(0, slept)
  end)

  it("gives every waiter the error of a failed fetch, and fetches again for the next", function()
    local fetch, count = counted(function()
      coroutine.yield()
      return nil, "sealed", { code = "x" }
    end)
    local got, leases = ask_at_once(50, new_world(yielding).ask(), fetch)
    assert.equal(1, count[1])
    for _, results in ipairs(got) do
      assert.is_nil(results[1])
      assert.equal("sealed", results[2])
      assert.same({ code = "x" }, results[3])
    end
    coroutine.wrap(function()
      fetch_once(leases, "key", {}, fetch)
    end)()
    assert.equal(2, count[1])
  end)

  it("makes a raised error the result of all", function()
    for _, case in ipairs {
      { "boom", "boom" },
      { { "hidden" }, "the token provider raised an error" },
    } do
      local fetch, count = counted(function()
        coroutine.yield()
        error(case[1], 0)
      end)
      local got = ask_at_once(20, new_world(yielding).ask(), fetch)
      assert.equal(1, count[1])
      for _, results in ipairs(got) do
        assert.is_nil(results[1])
        assert.equal(case[2], results[2])
      end
    end
  end)

  it("does not make different keys wait for each other", function()
    local leases, fetch, count = Leases.new(), counted(slow_success)
    local threads = {}
    for index = 1, 10 do
      threads[index] = coroutine.create(function()
        fetch_once(leases, "key" .. index, new_world(yielding).ask(), fetch)
      end)
    end
    run_all(threads)
    assert.equal(10, count[1])
  end)

  it("polls in growing steps that stay small", function()
    local steps = {}
    local ask = new_world(function(seconds)
      steps[#steps + 1] = seconds
      coroutine.yield()
    end).ask()
    local leases = Leases.new()
    local function fetch()
      for _ = 1, 40 do
        coroutine.yield()
      end
      return "token"
    end
    local threads = {}
    for index = 1, 2 do
      threads[index] = coroutine.create(function()
        fetch_once(leases, "key", ask, fetch)
      end)
    end
    run_all(threads)
    assert.equal(0.001, steps[1])
    for index = 2, #steps do
      assert.is_true(steps[index] >= steps[index - 1] and steps[index] <= 0.05)
    end
    assert.equal(0.05, steps[#steps])
  end)

  it("fetches once where rounds are short and the fetch is long", function()
    for _, sleep in ipairs { core.sleep, function() end } do
      local fetch, count = counted(function()
        for _ = 1, 3000 do -- more than its patience has steps
          coroutine.yield()
        end
        return "token"
      end)
      ask_at_once(3, { sleep = sleep }, fetch)
      assert.equal(1, count[1])
    end
  end)

  it("detects a sleep that lets others run without a yield, as OpenResty's does", function()
    -- Its scheduler runs other coroutines during a sleep, without a visible yield.
    local leases, taken = fetch_world.leases()
    local threads, calls = {}, 0
    local function sleep()
      calls = calls + 1
      if calls == 1 then
        coroutine.resume(threads[3])
      elseif calls > 2 then
        coroutine.yield()
      end
    end
    for index = 1, 3 do
      threads[index] = coroutine.create(function()
        fetch_once(leases, "key", { sleep = sleep }, slow_success)
      end)
    end
    coroutine.resume(threads[1])
    coroutine.resume(threads[2])
    assert.is_true(taken[1].yielding[sleep])
  end)

  it("accepts any callable as a sleep, also C functions", function()
    local callable = setmetatable({}, {
      __call = function()
        coroutine.yield()
      end,
    })
    for _, sleep in ipairs { coroutine.yield, callable, math.abs } do
      local fetch, count = counted(slow_success)
      ask_at_once(10, { sleep = sleep }, fetch)
      assert.equal(1, count[1])
    end
  end)

  it("passes on what a scheduler's sleep yields, and what it is resumed with", function()
    local leases = Leases.new()
    local woken
    local ask = {
      sleep = function(seconds)
        woken = coroutine.yield("sleep", seconds)
      end,
    }
    local first = coroutine.create(function()
      fetch_once(leases, "key", ask, slow_success)
    end)
    local second = coroutine.create(function()
      return fetch_once(leases, "key", ask, slow_success)
    end)
    coroutine.resume(first)
    assert.same({ true, "sleep", 0.001 }, { coroutine.resume(second) })
    coroutine.resume(second, "rested")
    assert.equal("rested", woken)
    run_all { first }
    assert.same({ true, "token", 3600, "more" }, { coroutine.resume(second) })
  end)
end)

describe("a fetch inside of a fetch for the same key", function()
  it("does not wait for code that continues only after it", function()
    local leases, inner = Leases.new(), {}
    local function nested()
      -- A transport that serves others while it waits, as a simple scheduler does.
      local thread = coroutine.create(function()
        inner[#inner + 1] = fetch_once(leases, "key", {}, function()
          return "inner"
        end)
      end)
      assert(coroutine.resume(thread))
      assert.equal("dead", coroutine.status(thread))
      return "outer"
    end
    local outer = coroutine.wrap(function()
      return (fetch_once(leases, "key", {}, nested))
    end)
    assert.equal("outer", outer())
    assert.equal("outer", (fetch_once(leases, "key", {}, nested)))
    assert.same({ "inner", "inner" }, inner)
  end)

  it("in the same coroutine does not wait for itself", function()
    local world, leases = new_world(yielding), Leases.new()
    local function nested(ask)
      return (fetch_once(leases, "key", ask, function()
        return "inner"
      end))
    end
    local outer = coroutine.wrap(function()
      return (fetch_once(leases, "key", world.ask(), nested))
    end)
    assert.equal("inner", outer())
    assert.equal(0, world.slept)
  end)

  it("that never ends is an error and no crash", function()
    local leases = Leases.new()
    local function itself(ask)
      return (fetch_once(leases, "key", ask, itself))
    end
    local token, message = fetch_once(leases, "key", {}, itself)
    assert.is_nil(token)
    assert.is_true(message == nil or type(message) == "string")
    assert.is_nil(leases:holder "key")
  end)
end)
