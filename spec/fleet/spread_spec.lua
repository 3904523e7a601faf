-- A fleet that is spread over a time uses all of it, always in the same way.

local world = require "support.fleet_world"

describe("a fleet's spread", function()
  it("gives each tenant the same time in every run, and uses all of it", function()
    local function starts()
      local w, at = world.new(), {}
      local fleet = w:fleet { tenants = world.names(200), spread = 1000 }
      world.collect(fleet)
      local third = { 0, 0, 0 }
      for _, request in ipairs(w.requests) do
        at[request.tenant] = request.at
        local index = math.min(3, math.floor((request.at - world.start) / 1000 * 3) + 1)
        third[index] = third[index] + 1
      end
      return at, third
    end
    local first, third = starts()
    local second = starts()
    assert.are.same(first, second)
    for _, number in ipairs(third) do
      assert.is_true(number > 40 and number < 100, number)
    end
  end)

  it("does not loop while due tenants wait for a place", function()
    local w, sleeps = world.new(), 0
    local fleet = w:fleet {
      tenants = world.names(50),
      spread = 1,
      concurrency = 1,
      sleep = function(seconds)
        sleeps = sleeps + 1
        assert(seconds > 0 and sleeps < 1000)
        w:pass(seconds)
      end,
    }
    assert.are.equal(50, world.count(world.collect(fleet)))
  end)

  it("does not poll the list without pauses while it has no end yet", function()
    local w, looks = world.new(), 0
    w.latency = 10
    local names = { "t1", "t2", "t3" }
    local fleet = w:fleet {
      tenants = function()
        if not names[1] and w.time - world.start < 20 then
          return false
        end
        return table.remove(names, 1)
      end,
      spread = 1,
      concurrency = 1,
      clock = function()
        looks = looks + 1
        assert(looks < 10000, "it never ends")
        return w.time - world.start
      end,
    }
    world.collect(fleet)
    assert.are.equal(3, fleet.summary.ok)
  end)

  it("leaves time before a deadline", function()
    local w = world.new()
    local fleet = w:fleet { tenants = world.names(100), spread = 1000, deadline = 500 }
    local reports = world.collect(fleet)
    assert.are.equal(100, world.count(reports))
    assert.is_true(w.time - world.start <= 501)
    assert.is_true(fleet.summary.by_outcome.started > 30)
    assert.is_true(fleet.summary.by_outcome.cancelled > 30)
  end)
end)
