-- The parts of a run that machines share: which machine asks for a tenant, and what happens to its parts when it is
-- stopped, cut off or dies.

local Tenants = require "autopilot.fleet.tenants"
local core = require "autopilot.core"
local shared_runs = require "support.shared_runs"

local expire, left, renew = shared_runs.expire, shared_runs.left, shared_runs.renew
local report, started = shared_runs.report, shared_runs.started
local take, take_again = shared_runs.take, shared_runs.take_again

describe("a part of a shared run", function()
  if shared_runs.obstacle then
    return pending(shared_runs.obstacle)
  end

  local world = shared_runs.for_specs(setup, teardown, before_each, after_each)

  it("is given to one machine, and its reports to the others", function()
    local one, other = world:machine(), world:machine()
    assert.same({ "a", "b" }, take(one, { "a", "b" }))
    assert.same({ "c" }, take(other, { "a", "B", "c" }))
    assert.is_true(other:has_more())
    one:note("a", started())
    one:note("b", report("forbidden", "yes"))
    one:flush()
    assert.same({ "B", "a" }, take_again(other, {}))
    local known = other:known "a"
    assert.is_true(known.ok and known.recalled)
    assert.equal("forbidden", other:known("b").outcome)
    assert.is_false(other:has_more())
  end)

  it("gives a tenant that appears twice to one task at a time", function()
    local state = world:machine()
    assert.same({ "a" }, take(state, { "a", "a" }))
    state:note("a", started())
    state:flush()
    assert.same({ "a" }, take_again(state, {}))
    assert.equal("started", state:known("a").outcome)
  end)

  it("stays with the machine that renews its expired lease at that moment", function()
    local one, other = world:machine(), world:machine()
    take(one, { "a" })
    expire(one)
    shared_runs.run(one, "BEGIN")
    local text = "UPDATE autopilot_part_3 SET held_until = 9e9 WHERE worker = ?"
    shared_runs.run(one, text, one.worker)
    assert.same({}, take(other, { "a" }))
    shared_runs.run(one, "COMMIT")
    assert.same({}, take_again(other, {}))
  end)

  it("is taken over when it is freed before the end of the list", function()
    local one, other = world:machine(), world:machine()
    local list = {}
    for number = 1, 2000 do
      list[number] = "t" .. number
    end
    -- Parts are taken in the order of their numbers.
    table.sort(list, function(a, b)
      return Tenants.fraction_of(a) < Tenants.fraction_of(b)
    end)
    local freed = list[500]
    take(one, { freed })
    local reader, found = shared_runs.reader(list), 0
    assert.are_not.equal(freed, other:next(reader, false))
    one:close()
    local tenant
    repeat
      tenant, found = other:next(reader, false), found + 1
    until tenant == freed
    assert.is_true(found < 1500, found)
    assert.is_number(other:posted(freed))
  end)

  it("is known to have been given out, also after a crash of the database", function()
    local one, other = world:machine(), world:machine()
    take(one, { "a" })
    world.server:crash()
    one:close()
    assert.same({ "a" }, take(other, { "a" }))
    assert.is_number(other:posted "a")
  end)

  it("is freed when its machine closes, with notes of possible requests", function()
    local one, other = world:machine(), world:machine()
    take(one, { "a" })
    assert.is_nil(one:posted "a")
    one:close()
    assert.same({ "a" }, take(other, { "a" }))
    assert.near(core.now(), other:posted "a", 10)
  end)

  it(
    "allows no request in the last third of the lease, nor one for a tenant of another part",
    function()
      local state = world:machine()
      take(state, { "a" })
      assert.is_number(state:note_posting "a")
      assert.is_false(state:note_posting "b")
      world.ahead = 29
      assert.is_number(state:note_posting "a")
      world.ahead = 31
      assert.is_false(state:note_posting "a")
      state:renew()
      assert.is_number(state:note_posting "a")
    end
  )

  it("is kept if no other machine took it while the lease had expired", function()
    local state, other = world:machine(), world:machine()
    take(state, { "a", "b" })
    expire(state)
    assert.same({ "a" }, take(other, { "a" }))
    state.renewed_at = -math.huge
    assert.is_false(state:note_posting "b")
    state:renew()
    assert.is_false(state:note_posting "a")
    assert.is_number(state:note_posting "b")
    -- What was not asked for is left to others.
    state:note("b", left())
    state:close()
    assert.same({ "b" }, take(other, { "b" }))
    assert.is_nil(other:known "b")
  end)

  it("is given up, if no request was sent in it, while its machine continues", function()
    local one, other = world:machine(), world:machine()
    take(one, { "a" })
    one:note("a", left())
    one:renew()
    assert.same({ "a" }, take(other, { "a" }))
    assert.is_number(other:posted "a")
  end)

  it("is not released by a tenant that was begun before it was lost and taken again", function()
    local state, other = world:machine(), world:machine()
    local neighbour = shared_runs.neighbour_of "a"
    take(state, { "a" })
    expire(state)
    assert.same({ "a" }, take(other, { "a" }))
    other:note("a", started())
    other:flush()
    renew(state)
    assert.same({ neighbour }, take(state, { neighbour }))
    state:note("a", started())
    state:flush()
    assert.same({}, take(other, { neighbour }))
  end)
end)
