-- The reports of a run that machines share: what one machine notes of a tenant, and another reads.

local core = require "autopilot.core"
local shared_run = require "autopilot.fleet.shared_run"
local shared_runs = require "support.shared_runs"

local report, started = shared_runs.report, shared_runs.started
local take, take_again = shared_runs.take, shared_runs.take_again

describe("a report of a shared run", function()
  if shared_runs.obstacle then
    return pending(shared_runs.obstacle)
  end

  local world = shared_runs.for_specs(setup, teardown, before_each, after_each)

  it("is known before it is written, and not replaced by later ones", function()
    local state, other = world:machine(), world:machine()
    take(state, { "a" })
    state:note("a", started())
    assert.same({ "A" }, take_again(state, { "A" }))
    assert.equal("started", state:known("A").outcome)
    assert.equal("a", state:next(shared_runs.reader { "a" }, true))
    state:note("a", report("cancelled", "no"))
    assert.is_true(state:flush())
    assert.same({ "a" }, take(other, { "a" }))
    assert.equal("started", other:known("a").outcome)
  end)

  it("has tenants and texts of any bytes, in any encoding of the database", function()
    local create = "CREATE DATABASE odd ENCODING 'WIN1252' LOCALE 'C' TEMPLATE template0"
    shared_runs.run(world:machine(), create)
    local names = { "caf\233", "n\0l", "ok", "per%cent", "\226\128\157" }
    for _, database in ipairs { "postgres", "odd" } do
      local given = { database = database, subject = "of \226\128\157 " .. database }
      local state, other = world:machine(given), world:machine(given)
      assert.same(names, take(state, names))
      for _, name in ipairs(names) do
        local noted = started()
        noted.hint = name
        state:note(name, noted)
      end
      assert.is_true(state:flush())
      assert.same(names, take(other, names))
      for _, name in ipairs(names) do
        assert.equal(name, other:known(name).hint)
      end
    end
  end)

  it("is written beside those of a user's operation with values that JSON has not", function()
    for name, number in pairs { infinite = math.huge, unknown = 0 / 0 } do
      local given = { subject = name }
      local state, other = world:machine(given), world:machine(given)
      take(state, { "a" })
      state:note("a", { ok = true, operation = "operation", cooldown_remaining = number })
      take(state, { "b" })
      state:note("b", { ok = false, outcome = "cooldown", operation = "sync", retry_at = number })
      take(state, { "c" })
      state:note("c", { ok = true, operation = print })
      assert.same({ true }, { state:flush() })
      assert.same({ "a", "c" }, take(other, { "a", "c" }))
      assert.is_true(other:known("a").ok)
      assert.equal("operation: ok", tostring(other:known "c"))
    end
  end)

  it("is not overwritten by a disconnected machine", function()
    local one, other = world:machine(), world:machine()
    take(one, { "a" })
    shared_runs.expire(one)
    assert.same({ "a" }, take(other, { "a" }))
    other:note("a", started())
    other:flush()
    one:note("a", report("interrupted", "unknown"))
    one:flush()
    local third = world:machine()
    assert.same({ "a" }, take(third, { "a" }))
    assert.equal("started", third:known("a").outcome)
  end)

  --- Has so many calls write reports without a reply. Returns a function that tells how many calls there were.
  local function lose_replies(most)
    local write, calls = shared_run.write, 0
    finally(function()
      shared_run.write = write
    end)
    function shared_run.write(...)
      local lost = write(...)
      calls = calls + 1
      if calls <= most then
        error "the connection is broken"
      end
      return lost
    end
    return function()
      return calls
    end
  end

  it("counts once if it was written again because the database's reply was lost", function()
    local calls = lose_replies(3) -- the first call with its repetition, and the next call
    local one = world:machine()
    take(one, { "a", shared_runs.neighbour_of "a", "b" })
    one:note("a", started())
    assert.is_nil(one:flush())
    one:note("b", started())
    assert.is_true(one:flush())
    assert.same({}, one.left)
    one:close()
    assert.equal(4, calls())
    assert.equal(2, world:machine().done_before)
  end)

  it("is lost if it came after an attempt to write, and the part was lost since", function()
    local neighbour = shared_runs.neighbour_of "a"
    local one, other = world:machine(), world:machine()
    take(one, { "a", neighbour })
    one:note("a", started())
    lose_replies(2)
    assert.is_nil(one:flush())
    one:note(neighbour, started())
    shared_runs.expire(one)
    assert.same({ neighbour }, take(other, { neighbour }))
    assert.is_true(one:flush())
    assert.truthy(next(one.left))
  end)

  it("of a failure does not hide that the tenant was begun again", function()
    for number, posted in ipairs { "nil", "nil", "number" } do
      local state = world:machine()
      take(state, { "a" })
      assert.is_nil(state:known "a")
      assert.equal(posted, type(state:posted "a"))
      if number == 1 then
        state:note("a", report("forbidden", "yes"))
      end
      state:close()
    end
  end)

  it("of a failure does not let a sync count that is older than the request after it", function()
    local one = world:machine()
    take(one, { "a" })
    one:note("a", report("forbidden", "yes"))
    one:flush()
    shared_runs.run(one, "UPDATE autopilot_report_2 SET taken_at = taken_at - 3600")
    one:close()
    local other = world:machine()
    take(other, { "a" })
    other:close()
    local third = world:machine()
    take(third, { "a" })
    assert.near(core.now(), third:posted "a", 10)
  end)

  it("that is damaged makes its tenants count as possibly requested", function()
    local one, other = world:machine(), world:machine()
    take(one, { "a" })
    one:note("a", started())
    one:flush()
    shared_runs.run(one, "UPDATE autopilot_report_2 SET reports = '[{}'")
    assert.same({ "a" }, take(other, { "a" }))
    assert.is_nil(other:known "a")
    assert.is_number(other:posted "a")
    shared_runs.run(one, "DELETE FROM autopilot_report_2") -- other runs read the part too
  end)

  it("is kept while the database is unreachable, and an event says so", function()
    local state = world:machine()
    take(state, { "a" })
    state:note("a", started())
    world.server:stop()
    assert.is_nil(state:flush())
    assert.truthy(state.lost:find "^PostgreSQL: ", state.lost)
    assert.truthy(select(2, state:renew()):find "^PostgreSQL: ")
    world.server:start()
    state.connection.pause_ends = -math.huge
    local _, problem = state:renew()
    assert.is_nil(problem)
    assert.is_nil(state.lost)
  end)
end)
