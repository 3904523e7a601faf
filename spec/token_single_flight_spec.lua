-- One fetch at a time: who waits for whom, how waiting ends, and that it always does.

local SingleFlight = require "autopilot.token.single_flight"
local core = require "autopilot.core"

-- A world whose time passes only in sleeps; `ask()` is what a provider would be asked in it.
local function new_world(sleep)
  local world = { time = 1000, slept = 0 }
  function world.ask(more)
    local ask = {
      now = function()
        return world.time
      end,
      sleep = function(seconds)
        world.slept = world.slept + 1
        world.time = world.time + seconds
        return sleep and sleep(seconds)
      end,
    }
    for name, value in pairs(more or {}) do
      ask[name] = value
    end
    return ask
  end
  return world
end

local function yielding()
  coroutine.yield()
end

-- Runs the coroutines in turn, from the last to the first or the other way, until all have ended.
local function run_all(threads, backwards)
  local left, rounds = #threads, 0
  while left > 0 do
    left, rounds = 0, rounds + 1
    assert(rounds < 100000, "they never end")
    for index = 1, #threads do
      local thread = threads[backwards and #threads + 1 - index or index]
      if coroutine.status(thread) ~= "dead" then
        assert(coroutine.resume(thread))
        left = left + 1
      end
    end
  end
end

-- So many coroutines that ask at once; what each got, and how often was fetched.
local function ask_at_once(count, ask, fetch, backwards)
  local flights, threads, got = SingleFlight.new(), {}, {}
  for index = 1, count do
    threads[index] = coroutine.create(function()
      got[index] = { flights:run("key", ask, fetch) }
    end)
  end
  run_all(threads, backwards)
  return got, flights
end

local function counted(fetch)
  local count = { 0 }
  return function(...)
    count[1] = count[1] + 1
    return fetch(...)
  end, count
end

local function slow_success()
  for _ = 1, 5 do
    coroutine.yield()
  end
  return "token", 3600, "more"
end

describe("a single flight", function()
  it("fetches once for 1,000 coroutines, whoever is resumed first", function()
    for _, backwards in ipairs { false, true } do
      local fetch, count = counted(slow_success)
      local got, flights = ask_at_once(1000, new_world(yielding).ask(), fetch, backwards)
      assert.equal(1, count[1])
      local joined = 0
      for _, results in ipairs(got) do
        joined = joined + (results[1] and 1 or 0)
        assert.same({ "token", 3600, "more" }, { results[2], results[3], results[4] })
      end
      assert.equal(999, joined)
      assert.is_nil(next(flights.flights))
    end
  end)

  it("fetches once where the sleep blocks everything: waiters yield instead", function()
    local virtual = new_world()
    for _, ask in ipairs { virtual.ask(), { now = virtual.ask().now, sleep = core.sleep }, {} } do
      local fetch, count = counted(slow_success)
      ask_at_once(100, ask, fetch)
      assert.equal(1, count[1])
    end
    -- A millisecond for each in each round, and no growing steps.
    assert.is_true(virtual.time - 1000 < 6 * 100 * 0.001 + 0.01, virtual.time)
  end)

  it("does not block everything even for a moment where the sleep is known to", function()
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

  it("tells every waiter the error of a failed fetch, and fetches anew for the next", function()
    local fetch, count = counted(function()
      coroutine.yield()
      return nil, "sealed", { code = "x" }
    end)
    local got, flights = ask_at_once(50, new_world(yielding).ask(), fetch)
    assert.equal(1, count[1])
    for _, results in ipairs(got) do
      assert.is_nil(results[2])
      assert.equal("sealed", results[3])
      assert.same({ code = "x" }, results[4])
    end
    coroutine.wrap(function()
      flights:run("key", {}, fetch)
    end)()
    assert.equal(2, count[1])
  end)

  it("makes an error that is raised the answer of all", function()
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
        assert.is_nil(results[2])
        assert.equal(case[2], results[3])
      end
    end
  end)

  it("does not keep different keys waiting for each other", function()
    local flights, fetch, count = SingleFlight.new(), counted(slow_success)
    local threads = {}
    for index = 1, 10 do
      threads[index] = coroutine.create(function()
        flights:run("key" .. index, new_world(yielding).ask(), fetch)
      end)
    end
    run_all(threads)
    assert.equal(10, count[1])
  end)

  it("looks in growing steps that stay small", function()
    local steps = {}
    local ask = new_world(function(seconds)
      steps[#steps + 1] = seconds
      coroutine.yield()
    end).ask()
    local flights = SingleFlight.new()
    local function fetch()
      for _ = 1, 40 do
        coroutine.yield()
      end
      return "token"
    end
    local threads = {}
    for index = 1, 2 do
      threads[index] = coroutine.create(function()
        flights:run("key", ask, fetch)
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

  it("finds out that a sleep lets others run unseen, as OpenResty's does", function()
    -- Its scheduler runs others inside of the sleep, whose coroutine seems to run through.
    local flights, threads, calls = SingleFlight.new(), {}, 0
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
        flights:run("key", { sleep = sleep }, slow_success)
      end)
    end
    coroutine.resume(threads[1])
    coroutine.resume(threads[2])
    assert.is_true(flights.flights.key.yielding[sleep])
  end)

  it("takes any callable for a sleep, C functions too", function()
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

  it("passes on what the sleep of a scheduler yields, and what it is resumed with", function()
    local flights = SingleFlight.new()
    local woken
    local ask = {
      sleep = function(seconds)
        woken = coroutine.yield("sleep", seconds)
      end,
    }
    local first = coroutine.create(function()
      flights:run("key", ask, slow_success)
    end)
    local second = coroutine.create(function()
      return select(2, flights:run("key", ask, slow_success))
    end)
    coroutine.resume(first)
    assert.same({ true, "sleep", 0.001 }, { coroutine.resume(second) })
    coroutine.resume(second, "rested")
    assert.equal("rested", woken)
    run_all { first }
    assert.same({ true, "token", 3600, "more" }, { coroutine.resume(second) })
  end)
end)

describe("whoever has a deadline", function()
  it("waits for another's fetch until then", function()
    local world, flights = new_world(yielding), SingleFlight.new()
    local fetcher = coroutine.create(function()
      flights:run("key", world.ask(), coroutine.yield)
    end)
    coroutine.resume(fetcher)
    local got
    local waiter = coroutine.create(function()
      got = { flights:run("key", world.ask { deadline = world.time + 2 }, print) }
    end)
    run_all { waiter }
    assert.is_nil(got[2])
    assert.is_truthy(got[3]:find "deadline")
    assert.is_true(world.time >= 1002 and world.time < 1002.1, world.time)
    assert.equal("suspended", coroutine.status(fetcher))
    assert.equal(0, flights.flights.key.waiting)
  end)
end)

describe("a fetch that its deadline cuts short", function()
  local timed_out = { stage = "connect", timeout = true }

  --- Asks with these deadlines (seconds from now; false for none) at once: what each got, and at what
  -- time each fetch began. A request takes `seconds` of its `total`, or all the time that there is.
  local function at_once(deadlines, seconds, total, fetch)
    local world, flights = new_world(yielding), SingleFlight.new()
    local threads, got, began = {}, {}, {}
    for index, deadline in ipairs(deadlines) do
      local ask = world.ask { deadline = deadline and world.time + deadline }
      function ask.transport(request)
        local left = ask.deadline and ask.deadline - world.time or math.huge
        local ends = world.time + math.min(left, request.timeout.total, seconds)
        while world.time < ends do
          world.time = world.time + 0.01
          coroutine.yield()
        end
        return seconds <= math.min(left, request.timeout.total) and {} or nil, timed_out
      end
      threads[index] = coroutine.create(function()
        got[index] = {
          flights:run("key", ask, fetch or function(watched)
            began[#began + 1] = world.time - 1000
            if watched.transport { timeout = { total = total } } then
              return "token"
            end
            return nil, "no answer"
          end),
        }
      end)
    end
    run_all(threads)
    assert.is_nil(next(flights.flights))
    return got, began
  end

  it("is no failure of those who have time left: one of them fetches for all", function()
    local got, began = at_once({ 2, 60, false, 60, 60 }, 5, 30)
    assert.equal("no answer", got[1][3])
    for index = 2, 5 do
      assert.equal("token", got[index][2])
    end
    assert.equal(2, #began)
    assert.is_true(began[2] >= 2 and began[2] < 2.2, began[2])
  end)

  it("is one of those who have hardly any time left themselves", function()
    local got, began = at_once({ 2, 2.5, 2.9 }, 5, 30)
    assert.equal(1, #began)
    for index = 1, 3 do
      assert.equal("no answer", got[index][3])
    end
  end)

  it("goes on from one deadline to the next, until the time is enough", function()
    local got, began = at_once({ 2, 4, 6, 20 }, 5, 30)
    assert.same(
      { "no answer", "no answer", "no answer", nil },
      { got[1][3], got[2][3], got[3][3], got[4][3] }
    )
    assert.equal("token", got[4][2])
    assert.equal(4, #began)
  end)

  it("is told from one that failed in its own time, which is the failure of all", function()
    local got, began = at_once({ 40, 60, false }, 50, 30)
    assert.equal(1, #began)
    for index = 1, 3 do
      assert.equal("no answer", got[index][3])
    end
  end)

  it("is also one that only slept until its deadline", function()
    local count = 0
    local got = at_once({ 2, 60 }, 0, 0, function(ask)
      count = count + 1
      if count == 1 then
        ask.sleep(2)
        return nil, "not yet"
      end
      return "token"
    end)
    assert.equal("not yet", got[1][3])
    assert.equal("token", got[2][2])
    assert.equal(2, count)
  end)

  it("is not waited for much beyond that deadline", function()
    local world, flights = new_world(yielding), SingleFlight.new()
    local ask = world.ask { deadline = world.time + 3, transport = yielding }
    local thread = coroutine.create(function()
      flights:run("key", ask, function(watched)
        watched.transport { timeout = { total = 30 } }
      end)
    end)
    coroutine.resume(thread)
    local waiter = coroutine.create(function()
      flights:run("key", world.ask(), tostring)
    end)
    run_all { waiter }
    assert.is_true(world.time >= 1008 and world.time < 1009, world.time)
    assert.equal("suspended", coroutine.status(thread))
  end)
end)

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

describe("a fetch inside of a fetch for the same", function()
  it("does not wait for what goes on only after it", function()
    local flights, inner = SingleFlight.new(), {}
    local function nested()
      -- A transport that serves others while it waits, as a simple scheduler does.
      local thread = coroutine.create(function()
        inner[#inner + 1] = select(
          2,
          flights:run("key", {}, function()
            return "inner"
          end)
        )
      end)
      assert(coroutine.resume(thread))
      assert.equal("dead", coroutine.status(thread))
      return "outer"
    end
    local outer = coroutine.wrap(function()
      return select(2, flights:run("key", {}, nested))
    end)
    assert.equal("outer", outer())
    assert.equal("outer", (select(2, flights:run("key", {}, nested))))
    assert.same({ "inner", "inner" }, inner)
  end)

  it("in the same coroutine does not wait for itself", function()
    local world, flights = new_world(yielding), SingleFlight.new()
    local function nested(ask)
      return (
        select(
          2,
          flights:run("key", ask, function()
            return "inner"
          end)
        )
      )
    end
    local outer = coroutine.wrap(function()
      return select(2, flights:run("key", world.ask(), nested))
    end)
    assert.equal("inner", outer())
    assert.equal(0, world.slept)
  end)

  it("that never ends is an error and no crash", function()
    local flights = SingleFlight.new()
    local function itself(ask)
      return (select(2, flights:run("key", ask, itself)))
    end
    local _, token, message = flights:run("key", {}, itself)
    assert.is_nil(token)
    assert.is_true(message == nil or type(message) == "string")
    assert.is_nil(next(flights.flights))
  end)
end)
