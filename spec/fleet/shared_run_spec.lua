-- A run of a fleet that several machines share: which machines join it, when it is finished, and when it is resumed.

local autopilot = require "autopilot"
local core = require "autopilot.core"
local database = require "autopilot.store.database"
local fleet_state = require "autopilot.fleet.state"
local shared_runs = require "support.shared_runs"

local expire, left, renew = shared_runs.expire, shared_runs.left, shared_runs.renew
local report, started = shared_runs.report, shared_runs.started
local take, take_again = shared_runs.take, shared_runs.take_again

describe("a run that several machines share", function()
  if shared_runs.obstacle then
    return pending(shared_runs.obstacle)
  end

  local world = shared_runs.for_specs(setup, teardown, before_each, after_each)

  it("is joined when a fleet's run begins, under the subject that is given", function()
    local function fleet(path)
      return assert(autopilot.fleet {
        tenants = { "a" },
        state = { path = path, subject = world:subject() },
        client = {
          token = "made-up",
          transport = function()
            return { status = 204, headers = {}, body = "", http_version = "1.1" }
          end,
        },
      })
    end
    local away = fleet "postgresql://me@127.0.0.1:1/x"
    local summary, message = away:run { on_report = function() end }
    assert.is_nil(summary)
    assert.truthy(message:find("^the state: PostgreSQL: "), message)
    assert.equal(0, fleet(world:address()):run({ on_report = function() end }).known)
    assert.equal(1, fleet(world:address()):run({ on_report = function() end }).known)
  end)

  it("says in one sentence why it cannot be joined, without the password", function()
    for told, path in pairs {
      ["refuses the user, the password or the database"] = world:address "wrong-secret",
      ["connect"] = "postgresql://me:wrong-secret@127.0.0.1:1/x",
    } do
      local state, message = fleet_state.open { path = path }
      assert.is_nil(state)
      assert.truthy(message:find("^the state: PostgreSQL: "), message)
      assert.truthy(message:find(told, 1, true), message)
      assert.falsy(message:find("wrong-secret", 1, true), message)
    end
  end)

  it(
    "is not joined in a database that takes no writes, or has such a table in another form",
    function()
      local server, address = world.server, world:address(nil, "other")
      local usual = database.open(server:options(), nil, {})
      database.run(usual, "CREATE DATABASE other")
      database.close(usual)
      local function assert_refused(told)
        local state, message = fleet_state.open { path = address }
        assert.is_nil(state)
        assert.truthy(message:find(told, 1, true), message)
      end
      local own = database.open(server:options { database = "other" }, nil, {})
      for _, name in ipairs { "autopilot_run_2", "autopilot_part_3", "autopilot_report_2" } do
        pcall(database.run, own, "DROP TABLE " .. name)
        database.run(own, ("CREATE TABLE %s (run BIGINT, id BIGINT, other INT)"):format(name))
        assert_refused(("the state: PostgreSQL: the table %s has another form"):format(name))
        database.run(own, "DROP TABLE " .. name)
      end
      database.run(own, "ALTER DATABASE other SET default_transaction_read_only = on")
      assert_refused "read-only transaction"
      database.close(own)
    end
  )

  it("is joined by a machine that starts just after its end", function()
    local one = world:machine()
    take(one, { "a" })
    one:note("a", started())
    one:finish()
    one:close()
    local late = world:machine()
    take(late, { "a" })
    assert.equal("started", late:known("a").outcome)
    late:close()
    late = world:machine { resume_within = 0 }
    take(late, { "a" })
    assert.is_nil(late:known "a")
  end)

  it(
    "is taken up where it was interrupted: failures are tried again, what is done is not",
    function()
      local one = world:machine()
      take(one, { "a", "b", "c" })
      one:note("a", started())
      one:note("b", report("forbidden", "yes"))
      one:note("c", report("cancelled", "no"))
      one:close()
      local again = world:machine()
      assert.equal(1, again.done_before)
      assert.same({ "a", "b", "c" }, take(again, { "a", "b", "c" }))
      assert.equal("started", again:known("a").outcome)
      assert.is_nil(again:known "b")
      assert.is_nil(again:posted "b") -- it was surely refused
      assert.is_nil(again:known "c")
      assert.is_number(again:posted "c")
    end
  )

  --- Whether the next machine begins a new run, some time after all others have left.
  local function has_ended()
    world:close_machines()
    local state = world:machine { subject = "another run" }
    shared_runs.run(state, "UPDATE autopilot_run_2 SET finished_at = finished_at - 100")
    state = world:machine()
    take(state, { "c" })
    return state:known "c" == nil
  end

  it("has ended when a machine has the reports of all tenants", function()
    local one, other = world:machine(), world:machine()
    take(one, { "c" })
    one:note("c", started())
    one:finish()
    other:finish()
    assert.is_true(has_ended())
  end)

  --- A machine that was stopped, has lost its part to another, and goes on to its end.
  local function stopped_machine()
    local stopped, other = world:machine(), world:machine()
    take(stopped, { "a", "c" })
    stopped:note("c", started())
    stopped:flush()
    expire(stopped)
    assert.same({ "a" }, take(other, { "a" }))
    stopped:note("a", started())
    return stopped, other
  end

  it("is not over for a paused machine while another works on its part", function()
    stopped_machine():finish()
    assert.is_false(has_ended())
  end)

  it("is not over if the other machine has died, and a third has taken over", function()
    local stopped, other = stopped_machine()
    expire(other)
    world:machine()
    stopped:finish()
    assert.is_false(has_ended())
  end)

  it("is over once the other machine has the report", function()
    local stopped, other = stopped_machine()
    stopped:finish()
    other:note("a", started())
    other:finish()
    assert.is_true(has_ended())
  end)

  it(
    "has ended when all of a list is done that is shorter than the list of a dead machine",
    function()
      local dead = world:machine()
      take(dead, { "a", "c" })
      expire(dead)
      local one = world:machine()
      take(one, { "c" })
      one:note("c", started())
      one:finish()
      assert.is_true(has_ended())
    end
  )

  it("is not over for a machine that has left a tenant to others", function()
    local one = world:machine()
    take(one, { "a", "c" })
    one:note("c", started())
    one:note("a", left())
    one:finish()
    assert.is_false(has_ended())
  end)

  it("has ended once each of two machines has the report of what the other left", function()
    local one, other = world:machine(), world:machine()
    take(one, { "a" })
    take(other, { "c" })
    one:note("a", left())
    one:flush()
    other:note("c", left())
    other:flush()
    for machine, tenant in pairs { [one] = "c", [other] = "a" } do
      assert.same({ tenant }, take(machine, { tenant }))
      machine:note(tenant, started())
      machine:finish()
    end
    assert.is_true(has_ended())
  end)

  it(
    "goes on, for a machine that was stopped, without what it held, when it was taken up",
    function()
      local stopped = world:machine()
      take(stopped, { "a" })
      expire(stopped)
      local other = world:machine()
      assert.same({ "a" }, take(other, { "a" }))
      renew(stopped)
      assert.is_false(stopped.is_replaced)
      assert.is_false(stopped:note_posting "a")
      assert.same({ "b" }, take(stopped, { "b" }))
      assert.is_number(stopped:note_posting "b")
    end
  )

  it("hands out its last tenants, but allows no request, once a newer run has begun", function()
    local one, other = world:machine(), world:machine()
    take(one, { "a" })
    take(other, { "b" })
    assert.same({}, take(one, { "b" }))
    expire(one)
    expire(other)
    world:machine { resume_within = 0 }
    renew(one)
    assert.same({ "b", "c" }, take_again(one, { "c" }))
    assert.is_false(one:has_more())
    for _, tenant in ipairs { "a", "b", "c" } do
      assert.is_nil(one:known(tenant))
      assert.is_false(one:note_posting(tenant))
    end
  end)

  it("keeps the end of a cooldown for all runs", function()
    local one, other = world:machine(), world:machine { subject = "another run" }
    take(one, { "x" })
    one:note("x", started())
    one:flush()
    take(other, { "x" })
    assert.near(core.now() + 610, other:cooldown "x", 10)
  end)
end)
