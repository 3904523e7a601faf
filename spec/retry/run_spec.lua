local overlay = require "support.overlay"
local retry = require "autopilot.retry"

--- A world whose clock moves only when it is slept, and which remembers the sleeps.
local function new_world(given)
  local world = { time = 5000, slept = {} }
  function world.clock()
    return world.time
  end
  function world.sleep(seconds)
    world.slept[#world.slept + 1] = seconds
    world.time = world.time + seconds
  end
  function world.now()
    return 1e9 + world.time
  end
  function world.random()
    return 0.5
  end
  local injected = {}
  for _, name in ipairs { "clock", "sleep", "now", "random" } do
    injected[name] = world[name]
  end
  overlay(injected, given)
  world.injected = injected
  return world
end

--- A function that fails with these reports, one after the other, and then succeeds.
local function failing(reports)
  local calls = {}
  return function(attempt)
    calls[#calls + 1] = attempt
    local report = reports[#calls]
    if report then
      return nil, report
    end
    return "done", #calls, nil, "last"
  end,
    calls
end

local busy = { outcome = "unavailable" }
local plain = retry.policy { jitter = "none" }

describe("autopilot.retry.run", function()
  it("returns all results of a success, and never sleeps", function()
    local world = new_world()
    local results = { retry.run(plain, (failing {}), world.injected) }
    assert.same({ "done", 1, nil, "last" }, results)
    assert.equal(4, select("#", retry.run(plain, (failing {}), world.injected)))
    assert.same({}, world.slept)
  end)

  it(
    "tries again after the delays that the policy decides, telling the number of the attempt",
    function()
      local world = new_world()
      local fn, calls = failing { busy, { outcome = "throttled", retry_after = 50 }, busy }
      local result, attempts = retry.run(plain, fn, world.injected)
      assert.equal("done", result)
      assert.equal(4, attempts)
      assert.same({ 1, 2, 3, 4 }, calls)
      assert.same({ 2, 50, 8 }, world.slept)
    end
  )

  it("returns the last failure and why it was not retried", function()
    local last = { outcome = "unavailable", number = 4 }
    local result, report, why =
      retry.run(plain, (failing { busy, busy, busy, last }), new_world().injected)
    assert.is_nil(result)
    assert.equal(last, report)
    assert.equal("attempts", why)
    local refused = { outcome = "forbidden" }
    result, report, why = retry.run(plain, (failing { busy, refused }), new_world().injected)
    assert.is_nil(result)
    assert.equal(refused, report)
    assert.equal("not_retryable", why)
    local _, _, too_long = retry.run(
      plain,
      (failing { { outcome = "throttled", retry_after = 181 } }),
      new_world().injected
    )
    assert.equal("retry_after", too_long)
  end)

  it("treats false as a failure too, and returns it as it was", function()
    local result, report, why = retry.run(plain, function()
      return false, "no"
    end, new_world().injected)
    assert.is_false(result)
    assert.equal("no", report)
    assert.equal("not_retryable", why)
    local nothing, no_report, no_why = retry.run(plain, function() end, new_world().injected)
    assert.is_nil(nothing)
    assert.is_nil(no_report)
    assert.equal("not_retryable", no_why)
  end)

  it("retries any value that the policy's function selects", function()
    local world = new_world()
    local policy = retry.policy {
      jitter = "none",
      on = function(failure)
        return failure == "timeout"
      end,
    }
    assert.equal("done", (retry.run(policy, (failing { "timeout", "timeout" }), world.injected)))
    local _, failure, why = retry.run(policy, (failing { "timeout", "refused" }), world.injected)
    assert.equal("refused", failure)
    assert.equal("not_retryable", why)
  end)

  it("draws jitter, and passes on the previous delay", function()
    local world = new_world()
    local policy = retry.policy { backoff = "decorrelated" }
    retry.run(policy, (failing { busy, busy }), world.injected)
    assert.same({ 4, 7 }, world.slept) -- midway of 2 to 6, and of 2 to 12
  end)

  it("counts from retry_at with its own now", function()
    local world = new_world()
    local report = { outcome = "throttled", retry_at = world.now() + 33 }
    retry.run(plain, (failing { report }), world.injected)
    assert.same({ 33 }, world.slept)
  end)

  it("never sleeps past the deadline, nor begins an attempt there", function()
    local world = new_world { deadline = 6 }
    local fn, calls = failing { busy, busy, busy, busy }
    local _, report, why = retry.run(plain, fn, world.injected)
    assert.equal(busy, report)
    assert.equal("deadline", why)
    assert.same({ 2 }, world.slept) -- the next would have been 4: nothing would be left
    assert.same({ 1, 2 }, calls)
  end)

  it("does not sleep past the deadline with a policy of the caller's own either", function()
    local world = new_world { deadline = 6 }
    local own = {
      decide = function()
        return 6
      end,
    }
    local _, report, why = retry.run(own, (failing { busy }), world.injected)
    assert.same({ busy, "deadline", {} }, { report, why, world.slept })
  end)

  it("does not sleep past the deadline either where on_retry has taken its time", function()
    for _, case in ipairs { { 3, { 1 } }, { 4, { 0 } }, { 9, { 0 } } } do
      local world = new_world { deadline = 4 }
      world.injected.on_retry = function()
        world.time = world.time + case[1]
      end
      local _, _, why = retry.run(plain, (failing { busy, busy }), world.injected)
      assert.same({ "deadline", case[2] }, { why, world.slept })
    end
  end)

  it("counts the time of the attempts against the deadline and max_elapsed", function()
    for _, limit in ipairs { "deadline", "max_elapsed" } do
      local world = new_world()
      local policy = plain
      if limit == "deadline" then
        world.injected.deadline = 100
      else
        policy = retry.policy { jitter = "none", max_elapsed = 100 }
      end
      local calls = 0
      local _, _, why = retry.run(policy, function()
        calls = calls + 1
        world.time = world.time + 60
        return nil, busy
      end, world.injected)
      assert.equal("deadline", why)
      assert.equal(2, calls)
    end
  end)

  it("makes the first attempt even close to the deadline", function()
    assert.equal("done", (retry.run(plain, (failing {}), new_world({ deadline = 1e-9 }).injected)))
  end)

  it("does not begin an attempt when a sleep lasted past the deadline", function()
    local world = new_world { deadline = 10 }
    world.injected.sleep = function()
      world.time = world.time + 11
    end
    local fn, calls = failing { busy }
    local _, report, why = retry.run(plain, fn, world.injected)
    assert.equal(busy, report)
    assert.equal("deadline", why)
    assert.same({ 1 }, calls)
  end)

  it("obeys the deadline with a clock that stands still or goes backwards", function()
    for _, step in ipairs { 0, -1000 } do
      local world = new_world { deadline = 50 }
      local slept = 0
      world.injected.sleep = function(seconds)
        slept = slept + seconds
        world.time = world.time + step
      end
      local policy = retry.policy { jitter = "none", backoff = "constant", attempts = 1000 }
      local _, _, why = retry.run(policy, function()
        return nil, busy
      end, world.injected)
      assert.equal("deadline", why)
      assert.equal(48, slept)
    end
  end)

  it("takes one token of the budget for each retry, and stops when it is empty", function()
    local budget = retry.budget { capacity = 3, refill = 0 }
    local policy = retry.policy { jitter = "none", budget = budget }
    local world = new_world()
    assert.equal("done", (retry.run(policy, (failing { busy, busy }), world.injected)))
    assert.equal(1, budget:available(world.time))
    local _, _, why = retry.run(policy, (failing { busy, busy }), world.injected)
    assert.equal("budget", why)
    assert.equal(0, budget:available(world.time))
  end)

  it("lets the budget refill while it sleeps", function()
    local budget = retry.budget { capacity = 1, refill = 0.5 }
    local policy = retry.policy { jitter = "none", budget = budget, attempts = 10 }
    local fn, calls = failing { busy, busy, busy, busy, busy, busy }
    assert.equal("done", (retry.run(policy, fn, new_world().injected)))
    assert.equal(7, #calls)
  end)

  it("does not retry when another call took the last token in between", function()
    local contested = {
      available = function()
        return 1
      end,
      take = function()
        return false
      end,
    }
    local world = new_world()
    local policy = retry.policy { budget = contested }
    local _, _, why = retry.run(policy, (failing { busy }), world.injected)
    assert.equal("budget", why)
    assert.same({}, world.slept)
  end)

  it("calls on_retry for each retry before it sleeps", function()
    local events = {}
    local world = new_world()
    world.injected.on_retry = function(event)
      event.slept_before = #world.slept
      events[#events + 1] = event
    end
    retry.run(plain, (failing { busy, busy }), world.injected)
    assert.same({
      { attempt = 1, delay = 2, elapsed = 0, report = busy, slept_before = 0 },
      { attempt = 2, delay = 4, elapsed = 2, report = busy, slept_before = 1 },
    }, events)
  end)

  it("passes on errors of the function, of sleep and of on_retry unchanged", function()
    local raised = { "not a string" }
    local function raise()
      error(raised)
    end
    local world = new_world().injected
    local function raised_by(fn, given)
      local ok, failure = pcall(retry.run, plain, fn, given)
      assert.is_false(ok)
      return failure
    end
    assert.equal(raised, raised_by(raise, world))
    assert.equal(raised, raised_by((failing { busy }), new_world({ sleep = raise }).injected))
    assert.equal(raised, raised_by((failing { busy }), new_world({ on_retry = raise }).injected))
  end)

  it("can yield in the function, in sleep and in on_retry", function()
    local world = new_world()
    local fn = failing { busy, busy }
    local thread = coroutine.wrap(function()
      return retry.run(plain, function(attempt)
        coroutine.yield("attempt " .. attempt)
        return fn(attempt)
      end, {
        sleep = function(seconds)
          coroutine.yield("sleep " .. seconds)
          world.time = world.time + seconds
        end,
        on_retry = function(event)
          coroutine.yield("retry " .. event.attempt)
        end,
        clock = world.clock,
        random = world.random,
      })
    end)
    local seen = {}
    repeat
      local value = thread()
      seen[#seen + 1] = value
    until value == "done"
    for index, value in ipairs(seen) do
      seen[index] = value:gsub("%.0$", "")
    end
    assert.same({
      "attempt 1",
      "retry 1",
      "sleep 2",
      "attempt 2",
      "retry 2",
      "sleep 4",
      "attempt 3",
      "done",
    }, seen)
  end)

  it("needs no more stack for many attempts than for one", function()
    -- Lua 5.1 and LuaJIT have no room for that many calls; the others are asked how deep they are.
    local count, is_deep = 20000, false
    local policy = retry.policy { base = 0, attempts = count }
    local _, _, why = retry.run(policy, function(attempt)
      is_deep = attempt == count and _VERSION ~= "Lua 5.1" and debug.getinfo(1000, "l") ~= nil
      return nil, busy
    end, new_world().injected)
    assert.equal("attempts", why)
    assert.is_false(is_deep)
  end)

  it("survives overflowing sums", function()
    local world = new_world()
    local policy = retry.policy { max_retry_after = 1.7e308, jitter = "none" }
    local endless = { outcome = "throttled", retry_after = 1.7e308 }
    local _, _, why = retry.run(policy, function()
      return nil, endless
    end, world.injected)
    assert.equal("attempts", why)
    assert.equal(3, #world.slept)
  end)

  it("uses the system's clock, sleep and randomness by default", function()
    local core = { time = 10, slept = 0 }
    function core.clock()
      return core.time
    end
    function core.random()
      return 0.5
    end
    function core.sleep(seconds)
      core.slept = core.slept + seconds
      core.time = core.time + seconds
    end
    function core.now()
      return 2000
    end
    local loaded = package.loaded["autopilot.core"]
    package.loaded["autopilot.core"] = core
    local fn = failing { busy, { outcome = "throttled", retry_at = 2100 } }
    local ok, result = pcall(retry.run, retry.policy {}, fn)
    package.loaded["autopilot.core"] = loaded
    assert.is_true(ok)
    assert.equal("done", result)
    assert.equal(106, core.slept)
  end)

  it("raises at the caller's line for a mistake, naming it", function()
    local function mistake(...)
      local arguments = { ... }
      local line = debug.getinfo(1, "l").currentline + 2
      local ok, message = pcall(function()
        local result = retry.run(arguments[1], arguments[2], arguments[3])
        return result
      end)
      assert.is_false(ok)
      assert.matches("run_spec%.lua:" .. line .. ": autopilot%.retry%.run: ", message)
      return message
    end
    local fn = failing {}
    assert.matches("option 'policy' is required$", mistake(nil, fn))
    assert.matches("'policy' must be made by autopilot%.retry%.policy", mistake({}, fn))
    assert.matches("option 'fn' is required$", mistake(plain))
    assert.matches("'fn' must be a function %(got 7%)$", mistake(plain, 7))
    assert.matches("did you mean 'world%.sleep'", mistake(plain, fn, { slep = fn }))
    assert.matches("'world%.deadline' must be above 0", mistake(plain, fn, { deadline = 0 }))
    assert.matches(
      "'world%.deadline' must be a number",
      mistake(plain, fn, { deadline = math.huge })
    )
  end)
end)
