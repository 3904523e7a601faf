-- What a fleet keeps in PostgreSQL: what several machines of one run tell each other, and what outlives a run.

local autopilot = require "autopilot"
local Tenants = require "autopilot.fleet.tenants"
local core = require "autopilot.core"
local database_server = require "support.database_server"
local report = require "autopilot.sync.report"
local fleet_state = require "autopilot.fleet.state"
local shared_run = require "autopilot.fleet.shared_run"

local obstacle = database_server.obstacle "PostgreSQL"

local function started()
  return report.seal { operation = "sync", outcome = "started", delivered = "yes", elapsed = 1 }
end

local function identify(tenant)
  return tenant, tenant
end

--- The tenants of a list that a state hands out now.
local function handed_out(state, list)
  local index, found = 0, {}
  local function read()
    index = index + 1
    return list[index]
  end
  local tenant = state:next(read, identify, false)
  while tenant do
    found[#found + 1] = tenant
    tenant = state:next(read, identify, false)
  end
  table.sort(found)
  return found
end

--- The name of another tenant of the same part.
local function neighbour_of(name)
  local function part_of(tenant)
    return math.floor(Tenants.fraction_of(tenant) * shared_run.part_count)
  end
  local number = 0
  repeat
    number = number + 1
  until part_of("t" .. number) == part_of(name)
  return "t" .. number
end

describe("the state of a fleet in PostgreSQL", function()
  if obstacle then
    return pending(obstacle)
  end

  local server, ahead, opened
  local runs = 0

  setup(function()
    server = database_server.start "PostgreSQL"
  end)

  teardown(function()
    server:remove()
  end)

  before_each(function()
    runs, ahead, opened = runs + 1, 0, {}
  end)

  after_each(function()
    for _, state in ipairs(opened) do
      state:close()
    end
  end)

  local function address(password, database)
    return ("postgresql://tester:%s@127.0.0.1:%d/%s"):format(
      password or server.password,
      server.port,
      database or "postgres"
    )
  end

  --- A machine whose steady clock can be set forward by `ahead`.
  local function machine(given)
    given = given or {}
    local state = assert(fleet_state.open {
      path = address(nil, given.database),
      subject = given.subject or "run " .. runs,
      host = "graph",
      resume_within = given.resume_within,
      clock = function()
        return core.clock() + ahead
      end,
    })
    opened[#opened + 1] = state
    return state
  end

  it("gives each tenant to one machine, and to the others its report", function()
    local one, other = machine(), machine()
    assert.same({ "a", "b" }, handed_out(one, { "a", "b" }))
    assert.same({ "c" }, handed_out(other, { "a", "B", "c" }))
    assert.is_true(other:has_more())
    one:note("a", started())
    one:note("b", report.seal { operation = "sync", outcome = "forbidden", delivered = "yes" })
    one:flush()
    other.next_look = -math.huge
    assert.same({ "B", "a" }, handed_out(other, {}))
    local known = other:known "a"
    assert.is_true(known.ok and known.recalled)
    assert.equal("forbidden", other:known("b").outcome)
    assert.is_false(other:has_more())
  end)

  it("gives a tenant that appears twice to one task at a time", function()
    local state = machine()
    assert.same({ "a" }, handed_out(state, { "a", "a" }))
    state:note("a", started())
    state:flush()
    state.next_look = -math.huge
    assert.same({ "a" }, handed_out(state, {}))
    assert.equal("started", state:known("a").outcome)
  end)

  it(
    "does not begin again what is noted and not written yet, nor loses what comes after",
    function()
      local state, other = machine(), machine()
      handed_out(state, { "a" })
      state:note("a", started())
      state.next_look = -math.huge
      assert.same({ "A" }, handed_out(state, { "A" }))
      assert.equal("started", state:known("A").outcome)
      assert.equal(
        "a",
        state:next(function()
          return "a"
        end, identify, true)
      )
      state:note("a", report.seal { operation = "sync", outcome = "cancelled", delivered = "no" })
      assert.is_true(state:flush())
      assert.same({ "a" }, handed_out(other, { "a" }))
      assert.equal("started", other:known("a").outcome)
    end
  )

  it("leaves a part to the machine that renews its expired lease at that moment", function()
    local one, other = machine(), machine()
    handed_out(one, { "a" })
    local function change(...)
      for _, statement in ipairs { ... } do
        one.connection:call(require("autopilot.store.database").run, statement)
      end
    end
    change "UPDATE autopilot_part_3 SET held_until = 1 WHERE number > 0"
    change("BEGIN", "UPDATE autopilot_part_3 SET held_until = 9e9 WHERE worker IS NOT NULL")
    assert.same({}, handed_out(other, { "a" }))
    change "COMMIT"
    other.next_look = -math.huge
    assert.same({}, handed_out(other, {}))
    change "DELETE FROM autopilot_part_3"
  end)

  it("goes on, without what it held, in a run that was taken up while it was stopped", function()
    local stopped = machine()
    handed_out(stopped, { "a" })
    stopped.connection:call(
      require("autopilot.store.database").run,
      "UPDATE autopilot_part_3 SET held_until = 1"
    )
    local other = machine()
    assert.same({ "a" }, handed_out(other, { "a" }))
    stopped.renewed_at = -math.huge
    stopped:renew()
    assert.is_false(stopped.is_replaced)
    assert.is_false(stopped:note_posting "a")
    assert.same({ "b" }, handed_out(stopped, { "b" }))
    assert.is_number(stopped:note_posting "b")
  end)

  it("takes over what is freed before the list is at its end", function()
    local one, other = machine(), machine()
    local list = {}
    for number = 1, 2000 do
      list[number] = "t" .. number
    end
    -- Parts are taken in the order of their numbers.
    table.sort(list, function(a, b)
      return Tenants.fraction_of(a) < Tenants.fraction_of(b)
    end)
    local freed = list[500]
    handed_out(one, { freed })
    local index, found = 0, 0
    local function read()
      index = index + 1
      return list[index]
    end
    assert.are_not.equal(freed, other:next(read, identify, false))
    one:close()
    local tenant
    repeat
      tenant, found = other:next(read, identify, false), found + 1
    until tenant == freed
    assert.is_true(found < 1500, found)
    assert.is_number(other:posted(freed))
  end)

  it("takes tenants and reports of any bytes, whatever the database's encoding is", function()
    machine().connection:call(
      require("autopilot.store.database").run,
      "CREATE DATABASE odd ENCODING 'WIN1252' LOCALE 'C' TEMPLATE template0"
    )
    local names = { "caf\233", "n\0l", "ok", "per%cent", "\226\128\157" }
    for _, database in ipairs { "postgres", "odd" } do
      local given = { database = database, subject = "of \226\128\157 " .. database }
      local state, other = machine(given), machine(given)
      assert.same(names, handed_out(state, names))
      for _, name in ipairs(names) do
        local noted = started()
        noted.hint = name
        state:note(name, noted)
      end
      assert.is_true(state:flush())
      assert.same(names, handed_out(other, names))
      for _, name in ipairs(names) do
        assert.equal(name, other:known(name).hint)
      end
    end
  end)

  it("knows after a crash of the database what it gave to whom", function()
    local one, other = machine(), machine()
    handed_out(one, { "a" })
    server:crash()
    one:close()
    assert.same({ "a" }, handed_out(other, { "a" }))
    assert.is_number(other:posted "a")
  end)

  it("frees what a machine holds when it closes, with word of what it may have asked", function()
    local one, other = machine(), machine()
    handed_out(one, { "a" })
    assert.is_nil(one:posted "a")
    one:close()
    assert.same({ "a" }, handed_out(other, { "a" }))
    assert.is_true(math.abs(other:posted "a" - core.now()) < 10)
  end)

  it("allows no request in the last third of the lease, nor for what is another's", function()
    local state = machine()
    handed_out(state, { "a" })
    assert.is_number(state:note_posting "a")
    assert.is_false(state:note_posting "b")
    ahead = 29
    assert.is_number(state:note_posting "a")
    ahead = 31
    assert.is_false(state:note_posting "a")
    state:renew()
    assert.is_number(state:note_posting "a")
  end)

  it("takes a tenant back that no other took while the lease had expired", function()
    local state, other = machine(), machine()
    handed_out(state, { "a", "b" })
    other.connection:call(function(database)
      local run = require("autopilot.store.database").run
      return run(
        database,
        "UPDATE autopilot_part_3 SET held_until = 1 WHERE worker = ?",
        state.worker
      )
    end)
    assert.same({ "a" }, handed_out(other, { "a" }))
    state.renewed_at = -math.huge
    assert.is_false(state:note_posting "b")
    state:renew()
    assert.is_false(state:note_posting "a")
    assert.is_number(state:note_posting "b")
    -- What was not asked for is left to others.
    local network = { name = "LEASE_ENDED", stage = "send", message = "not sent" }
    local left =
      { operation = "sync", outcome = "unreachable", delivered = "no", network = network }
    state:note("b", report.seal(left))
    state:close()
    assert.same({ "b" }, handed_out(other, { "b" }))
    assert.is_nil(other:known "b")
  end)

  it("does not let a machine that was cut off overwrite what its successor noted", function()
    local one, other = machine(), machine()
    handed_out(one, { "a" })
    other.connection:call(function(database)
      local run = require("autopilot.store.database").run
      return run(
        database,
        "UPDATE autopilot_part_3 SET held_until = 0 WHERE worker = ?",
        one.worker
      )
    end)
    assert.same({ "a" }, handed_out(other, { "a" }))
    other:note("a", started())
    other:flush()
    one:note(
      "a",
      report.seal { operation = "sync", outcome = "interrupted", delivered = "unknown" }
    )
    one:flush()
    local third = machine()
    assert.same({ "a" }, handed_out(third, { "a" }))
    assert.equal("started", third:known("a").outcome)
  end)

  it("tries failures again in a run that is taken up, and keeps what is done", function()
    local one = machine()
    handed_out(one, { "a", "b", "c" })
    one:note("a", started())
    one:note("b", report.seal { operation = "sync", outcome = "forbidden", delivered = "yes" })
    one:note("c", report.seal { operation = "sync", outcome = "cancelled", delivered = "no" })
    one:close()
    local again = machine()
    assert.equal(1, again.done_before)
    assert.same({ "a", "b", "c" }, handed_out(again, { "a", "b", "c" }))
    assert.equal("started", again:known("a").outcome)
    assert.is_nil(again:known "b")
    assert.is_nil(again:posted "b") -- it was surely refused
    assert.is_nil(again:known "c")
    assert.is_number(again:posted "c")
  end)

  it("counts a report once that was written again after a lost reply of the database", function()
    local write, attempts = shared_run.write, 0
    finally(function()
      shared_run.write = write
    end)
    function shared_run.write(...)
      write(...)
      attempts = attempts + 1
      if attempts <= 3 then -- the first call with its repetition, and the next call
        error "the connection is broken"
      end
      return true
    end
    local one = machine()
    handed_out(one, { "a", neighbour_of "a", "b" })
    one:note("a", started())
    assert.is_nil(one:flush())
    one:note("b", started())
    assert.is_true(one:flush())
    one:close()
    assert.equal(4, attempts)
    assert.equal(2, machine().done_before)
  end)

  it("remembers that a tenant which failed was begun again", function()
    local forbidden = { operation = "sync", outcome = "forbidden", delivered = "yes" }
    for number, posted in ipairs { "nil", "nil", "number" } do
      local state = machine()
      handed_out(state, { "a" })
      assert.is_nil(state:known "a")
      assert.equal(posted, type(state:posted "a"))
      if number == 1 then
        state:note("a", report.seal(forbidden))
      end
      state:close()
    end
  end)

  it("does not take a sync for its own that is older than the request it may have sent", function()
    local one = machine()
    handed_out(one, { "a" })
    one:note("a", report.seal { operation = "sync", outcome = "forbidden", delivered = "yes" })
    one:flush()
    one.connection:call(
      require("autopilot.store.database").run,
      "UPDATE autopilot_report_2 SET taken_at = taken_at - 3600"
    )
    one:close()
    local other = machine()
    handed_out(other, { "a" })
    other:close()
    local third = machine()
    handed_out(third, { "a" })
    assert.near(core.now(), third:posted "a", 10)
  end)

  it("leaves what it did not ask for to others while it goes on", function()
    local one, other = machine(), machine()
    handed_out(one, { "a" })
    local network = { name = "LEASE_ENDED", stage = "send", message = "not sent" }
    one:note("a", report.seal { outcome = "unreachable", delivered = "no", network = network })
    one:renew()
    assert.same({ "a" }, handed_out(other, { "a" }))
    assert.is_number(other:posted "a")
  end)

  it(
    "does not release a part for a tenant that it began before it had lost and retaken it",
    function()
      local state, other = machine(), machine()
      local neighbour = neighbour_of "a"
      handed_out(state, { "a" })
      other.connection:call(function(database)
        local run = require("autopilot.store.database").run
        return run(
          database,
          "UPDATE autopilot_part_3 SET held_until = 1 WHERE worker = ?",
          state.worker
        )
      end)
      assert.same({ "a" }, handed_out(other, { "a" }))
      other:note("a", started())
      other:flush()
      state.renewed_at = -math.huge
      state:renew()
      assert.same({ neighbour }, handed_out(state, { neighbour }))
      state:note("a", started())
      state:flush()
      assert.same({}, handed_out(other, { neighbour }))
    end
  )

  it("hands out what is left, and allows no request, where a newer run has begun", function()
    local one, other = machine(), machine()
    handed_out(one, { "a" })
    handed_out(other, { "b" })
    assert.same({}, handed_out(one, { "b" }))
    other.connection:call(function(database)
      require("autopilot.store.database").run(
        database,
        "UPDATE autopilot_part_3 SET held_until = 1"
      )
      return true
    end)
    machine { resume_within = 0 }
    for _ = 1, 2 do
      one.renewed_at, one.next_look = -math.huge, -math.huge
      one:renew()
    end
    assert.same({ "b", "c" }, handed_out(one, { "c" }))
    assert.is_false(one:has_more())
    for _, tenant in ipairs { "a", "b", "c" } do
      assert.is_nil(one:known(tenant))
      assert.is_false(one:note_posting(tenant))
    end
  end)

  it("takes tenants for asked for where their reports are damaged", function()
    local one, other = machine(), machine()
    handed_out(one, { "a" })
    one:note("a", started())
    one:flush()
    local function change(statement)
      one.connection:call(function(database)
        require("autopilot.store.database").run(database, statement)
        return true
      end)
    end
    change "UPDATE autopilot_report_2 SET reports = '[{}'"
    assert.same({ "a" }, handed_out(other, { "a" }))
    assert.is_nil(other:known "a")
    assert.is_number(other:posted "a")
    change "DELETE FROM autopilot_report_2" -- other runs read the part too
  end)

  it("lets a machine that starts late join a run that has just ended", function()
    local one = machine()
    handed_out(one, { "a" })
    one:note("a", started())
    one:finish()
    one:close()
    local late = machine()
    handed_out(late, { "a" })
    assert.equal("started", late:known("a").outcome)
    late:close()
    late = machine { resume_within = 0 }
    handed_out(late, { "a" })
    assert.is_nil(late:known "a")
  end)

  it("keeps the end of a cooldown for all runs", function()
    local one, other = machine(), machine { subject = "another run" }
    handed_out(one, { "x" })
    one:note("x", started())
    one:flush()
    handed_out(other, { "x" })
    assert.is_true(math.abs(other:cooldown "x" - core.now() - 610) < 10)
  end)

  it("is joined when a run begins, under the subject that is given", function()
    local function fleet(path)
      return assert(autopilot.fleet {
        tenants = { "a" },
        state = { path = path, subject = "run " .. runs },
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
    assert.equal(0, fleet(address()):run({ on_report = function() end }).known)
    assert.equal(1, fleet(address()):run({ on_report = function() end }).known)
  end)

  it("says in one sentence why it cannot be used, without the password", function()
    for told, path in pairs {
      ["refuses the user or the password"] = address "wrong-secret",
      ["connect"] = "postgresql://me:wrong-secret@127.0.0.1:1/x",
    } do
      local state, message = fleet_state.open { path = path }
      assert.is_nil(state)
      assert.truthy(message:find("^the state: PostgreSQL: "), message)
      assert.truthy(message:find(told, 1, true), message)
      assert.falsy(message:find("wrong-secret", 1, true), message)
    end
  end)

  it("keeps reports that it cannot write, and tells why", function()
    local state = machine()
    handed_out(state, { "a" })
    state:note("a", started())
    server:stop()
    assert.is_nil(state:flush())
    assert.truthy(state.lost:find "^PostgreSQL: ", state.lost)
    assert.truthy(select(2, state:renew()):find "^PostgreSQL: ")
    server:start()
    state.connection.pause_ends = -math.huge
    local _, problem = state:renew()
    assert.is_nil(problem)
    assert.is_nil(state.lost)
  end)
end)
