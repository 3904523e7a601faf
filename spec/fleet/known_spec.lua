-- Work that a fleet knows to be done is not repeated; the state that stores this may fail.

local world = require "support.fleet_world"

describe("a fleet's knowledge from a run before", function()
  local function new_state(known, cooldowns)
    local state = { noted = {}, flushed = 0 }
    function state.known(_, key)
      return known[key]
    end
    function state.cooldown(_, key)
      return cooldowns[key]
    end
    function state.note(self, key, report)
      self.noted[key] = report
    end
    function state.flush(self)
      self.flushed = self.flushed + 1
    end
    return state
  end

  it("prevents repeated work", function()
    local w = world.new()
    local before = { ok = true, outcome = "started", tenant = "t2" }
    local state = new_state({ t2 = before }, {})
    local fleet = w:fleet { tenants = world.names(3), state = state }
    local reports = world.collect(fleet)
    assert.are.equal(before, reports.t2)
    assert.are.equal(0, #w:requests_of "t2")
    assert.are.equal(1, fleet.summary.known)
    assert.are.equal(reports.t1, state.noted.t1)
    assert.are.equal(reports.t3, state.noted.t3)
    assert.is_nil(state.noted.t2)
    assert.is_true(state.flushed > 0)
  end)

  it("includes cooldowns, in which nothing is sent", function()
    local w = world.new()
    local state = new_state({}, { t1 = world.start + 300, ["t2@china"] = world.start + 300 })
    local fleet = w:fleet {
      tenants = { "t1", { tenant = "t2", cloud = "china" }, "t3" },
      state = state,
    }
    local reports = world.collect(fleet)
    assert.are.equal("cooldown", reports.t1.outcome)
    assert.are.equal("client", reports.t1.answered_by)
    assert.are.equal(world.start + 300, reports.t1.retry_at)
    assert.are.equal("cooldown", reports.t2.outcome)
    assert.are.equal("started", reports.t3.outcome)
    assert.are.equal(1, #w.requests)
  end)

  it("may fail to be saved: the run goes on, and an event reports it", function()
    local w = world.new()
    local state = new_state({}, {})
    function state.note()
      error "disk full"
    end
    local fleet = w:fleet { tenants = world.names(3), state = state }
    assert.are.equal(3, world.count(world.collect(fleet)))
    assert.are.equal(3, #w:events_of "state_error")
  end)
end)
