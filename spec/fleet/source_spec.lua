-- A source of tenants may have none yet: the others go on, and it is asked again.

local world = require "support.fleet_world"

--- A source that has its next tenant at the seconds named, and knows of none before.
local function timetable(w, seconds)
  local index, questions = 0, 0
  return function()
    questions = questions + 1
    assert(questions < 5000, "it is asked all the time")
    local at = seconds[index + 1]
    if not at then
      return nil
    elseif w.time - world.start < at then
      return false
    end
    index = index + 1
    return "t" .. index
  end
end

describe("a source that has no tenant yet", function()
  it("delays no tenant under way", function()
    local w, at = world.new(), {}
    local fleet = w:fleet { tenants = timetable(w, { 0, 0, 5, 9 }), concurrency = 4 }
    for tenant, report in fleet:run() do
      assert.equal("started", report.outcome)
      at[tenant] = w.time - world.start
    end
    assert.near(0.2, at.t1, 0.06)
    assert.near(0.2, at.t2, 0.06)
    assert.near(5.2, at.t3, 0.11)
    assert.near(9.2, at.t4, 0.11)
    assert.equal(4, fleet.summary.total)
  end)

  it("may be created when the run begins", function()
    local w = world.new()
    local made = 0
    local fleet = w:fleet {
      tenants = function()
        made = made + 1
        return timetable(w, { 1, 2 })
      end,
    }
    world.collect(fleet)
    assert.equal(1, made)
    assert.equal(2, fleet.summary.total)
  end)

  it("can be combined with a spread, which begins when the run does", function()
    local w = world.new()
    world.collect(w:fleet { tenants = timetable(w, { 0, 3, 6, 200 }), spread = 100 })
    assert.equal(4, #w.requests)
    assert.is_true(w.requests[4].at - world.start >= 200)
  end)

  it("is not waited for when the deadline has passed", function()
    local w = world.new()
    local fleet = w:fleet { tenants = timetable(w, { 0, 2, 1000 }), deadline = 10 }
    world.collect(fleet)
    assert.equal(2, fleet.summary.ok)
    assert.is_true(w.time - world.start < 11)
  end)

  it("is not waited for when the run is cancelled", function()
    local w = world.new()
    local fleet = w:fleet { tenants = timetable(w, { 0, 1000 }) }
    for _ in fleet:run() do
      fleet:cancel()
    end
    assert.is_true(w.time - world.start < 1)
    assert.equal(1, fleet.summary.total)
  end)

  it("is not allowed as a list: values that are not tenants are reported", function()
    local w, outcomes = world.new(), {}
    for _, report in w:fleet({ tenants = { "t1", false, "t2" } }):run() do
      outcomes[#outcomes + 1] = report.outcome
    end
    table.sort(outcomes)
    assert.same({ "started", "started", "unexpected" }, outcomes)
  end)
end)

describe("a fleet's run with on_report", function()
  it("may wait by yielding, in any scheduler", function()
    local w = world.new()
    local fleet = w:fleet {
      tenants = world.names(3),
      sleep = function(seconds)
        coroutine.yield(seconds)
      end,
    }
    local thread = coroutine.create(function()
      return fleet:run { on_report = function() end }
    end)
    local alive, result = coroutine.resume(thread)
    while coroutine.status(thread) ~= "dead" do
      assert.is_true(alive, result)
      w:pass(result)
      alive, result = coroutine.resume(thread)
    end
    assert.is_true(alive, tostring(result))
    assert.equal(3, result.ok)
  end)
end)

describe("a fleet", function()
  it("is not ended by a tenant's error whose message resembles Ctrl-C", function()
    local w = world.new()
    local fleet = w:fleet {
      tenants = world.names(3),
      client = function(tenant)
        if tenant == "t2" then
          error("the vault was interrupted!", 0)
        end
        return { token = "token-" .. tenant }
      end,
    }
    local reports = world.collect(fleet)
    assert.equal("the vault was interrupted!", reports.t2.error.message)
    assert.equal(2, fleet.summary.ok)
  end)

  it("is closed at the end of its block, in languages that have that", function()
    if not rawget(coroutine, "close") then
      return -- before Lua 5.4
    end
    local w = world.new()
    local chunk = assert(load [[
      local fleet_of, given = ...
      local fleet <close> = fleet_of(given)
      fleet:run()()
      return fleet
    ]])
    local fleet = chunk(function(given)
      return w:fleet(given)
    end, { tenants = world.names(3), operation = "status" })
    world.collect(fleet) -- else it would run already
    assert.equal(3, fleet.summary.ok)
  end)
end)
