-- A waiter keeps to its own deadline, and is not harmed by the deadline of the coroutine that fetches.

local Leases = require "autopilot.base.lease"
local fetch_once = require "autopilot.token.fetch_once"
local fetch_world = require "support.fetch_world"
local run_all = require("support.turns").run_all

local new_world, yielding = fetch_world.new, fetch_world.yielding

describe("a waiter with a deadline", function()
  it("waits for another's fetch until then", function()
    local world, leases, taken = new_world(yielding), fetch_world.leases()
    local fetcher = coroutine.create(function()
      fetch_once(leases, "key", world.ask(), coroutine.yield)
    end)
    coroutine.resume(fetcher)
    local got
    local waiter = coroutine.create(function()
      got = { fetch_once(leases, "key", world.ask { deadline = world.time + 2 }, print) }
    end)
    run_all { waiter }
    assert.is_nil(got[1])
    assert.is_truthy(got[2]:find "deadline")
    assert.is_true(world.time >= 1002 and world.time < 1002.1, world.time)
    assert.equal("suspended", coroutine.status(fetcher))
    assert.equal(0, taken[1].waiting)
  end)
end)

describe("a fetch that its deadline cuts short", function()
  local timed_out = { stage = "connect", timeout = true }

  --- Asks with these deadlines (seconds from now; false for none) at once: what each got, and at what
  -- time each fetch began. A request takes `seconds` of its `total`, or all the time that there is.
  local function at_once(deadlines, seconds, total, fetch)
    local world, leases = new_world(yielding), Leases.new()
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
          fetch_once(leases, "key", ask, fetch or function(watched)
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
    assert.is_nil(leases:holder "key")
    return got, began
  end

  it("is not a failure of callers with time left: one of them fetches for all", function()
    local got, began = at_once({ 2, 60, false, 60, 60 }, 5, 30)
    assert.equal("no answer", got[1][2])
    for index = 2, 5 do
      assert.equal("token", got[index][1])
    end
    assert.equal(2, #began)
    assert.is_true(began[2] >= 2 and began[2] < 2.2, began[2])
  end)

  it("is a failure of callers with hardly any time left", function()
    local got, began = at_once({ 2, 2.5, 2.9 }, 5, 30)
    assert.equal(1, #began)
    for index = 1, 3 do
      assert.equal("no answer", got[index][2])
    end
  end)

  it("passes from one deadline to the next, until the time is enough", function()
    local got, began = at_once({ 2, 4, 6, 20 }, 5, 30)
    assert.same(
      { "no answer", "no answer", "no answer", nil },
      { got[1][2], got[2][2], got[3][2], got[4][2] }
    )
    assert.equal("token", got[4][1])
    assert.equal(4, #began)
  end)

  it("is distinguished from one that failed in its own time, which all share", function()
    local got, began = at_once({ 40, 60, false }, 50, 30)
    assert.equal(1, #began)
    for index = 1, 3 do
      assert.equal("no answer", got[index][2])
    end
  end)

  it("includes one that only slept until its deadline", function()
    local count = 0
    local got = at_once({ 2, 60 }, 0, 0, function(ask)
      count = count + 1
      if count == 1 then
        ask.sleep(2)
        return nil, "not yet"
      end
      return "token"
    end)
    assert.equal("not yet", got[1][2])
    assert.equal("token", got[2][1])
    assert.equal(2, count)
  end)

  it("is not waited for much beyond that deadline", function()
    local world, leases = new_world(yielding), Leases.new()
    local ask = world.ask { deadline = world.time + 3, transport = yielding }
    local thread = coroutine.create(function()
      fetch_once(leases, "key", ask, function(watched)
        watched.transport { timeout = { total = 30 } }
      end)
    end)
    coroutine.resume(thread)
    local waiter = coroutine.create(function()
      fetch_once(leases, "key", world.ask(), tostring)
    end)
    run_all { waiter }
    assert.is_true(world.time >= 1008 and world.time < 1009, world.time)
    assert.equal("suspended", coroutine.status(thread))
  end)
end)
