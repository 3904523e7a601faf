-- A fleet's state after a refusal: a refused request has started nothing, whatever the record shows later.

local state_of_specs = require "support.state_file"
local world = require "support.fleet_world"

describe("a fleet that is resumed after the service had refused a tenant", function()
  local w, file

  before_each(function()
    w, file = world.new(), state_of_specs.new()
  end)

  after_each(function()
    file:close()
  end)

  --- Runs it, and cancels the run when the first report is there, so that it stays open.
  local function run(is_cancelled)
    local fleet = w:fleet { tenants = { "t1" }, state = file.path }
    local found
    for _, report in fleet:run() do
      found = report
      if is_cancelled then
        fleet:cancel()
      end
    end
    return found
  end

  it("asks again, and does not take another client's sync for its own", function()
    assert(w.service:trigger("t1", { duration = 0 })) -- somebody else's, a moment before
    w:pass(0.003)
    assert.equal("cooldown", run(true).outcome)
    w:pass(700)
    local report = run()
    assert.equal("started", report.outcome)
    assert.equal("response", report.confirmed_by)
    local posts = 0
    for _, request in ipairs(w.requests) do
      posts = posts + (request.method == "POST" and 1 or 0)
    end
    assert.equal(2, posts)
  end)

  --- Leaves the note of a process that asked for a sync at that time, and died.
  local function leave_note(at, seen)
    file.now = at
    local state = file:open()
    state:note_posting("t1", seen)
    state:close()
  end

  it("asks again if the record shows only what was seen before", function()
    assert(w.service:trigger("t1", { duration = 0 }))
    w:pass(0.003)
    leave_note(w.time, w.time)
    w:pass(700)
    assert.equal("response", run().confirmed_by)
  end)

  it("reads the record first even if a clock was set back since the note", function()
    leave_note(w.time + 5000)
    assert.equal("response", run().confirmed_by)
    assert.same({ "GET", "POST" }, { w.requests[1].method, w.requests[2].method })
  end)

  it("does not ask again in the cooldown if a clock was set back since the note", function()
    assert(w.service:trigger("t1", { duration = 0 }))
    w:pass(20)
    leave_note(w.time + 5000)
    assert.equal("cooldown", run().outcome)
    assert.equal(1, #w.requests)
    assert.equal("GET", w.requests[1].method)
  end)

  it("asks again if its process died before a request was sent", function()
    local fleet
    fleet = w:fleet {
      tenants = { "t1" },
      state = file.path,
      client = {
        token = function()
          fleet:close()
          return "token-t1"
        end,
      },
    }
    assert.is_nil((fleet:run()()))
    w:pass(0.3)
    assert(w.service:trigger("t1", { duration = 0 })) -- somebody else's
    w:pass(700)
    assert.equal("response", run().confirmed_by)
  end)

  it("reads the record first if it had waited in vain for the end of a started sync", function()
    w = world.new { duration = 500 }
    local fleet = w:fleet {
      tenants = { "t1" },
      state = file.path,
      arguments = { wait = true, deadline = 20 },
      deadline = 30,
    }
    for _, report in fleet:run() do
      assert.equal("timed_out", report.outcome)
      fleet:cancel()
    end
    w:pass(700)
    assert.equal("status", run().confirmed_by)
  end)

  it("reads the record first if one request may have arrived before another was refused", function()
    local state = file:open()
    state:note_posting "t1"
    local attempts = { { delivered = "unknown" }, { delivered = "yes" } }
    local refused = { ok = false, operation = "sync", outcome = "in_progress", delivered = "yes" }
    refused.attempts = attempts
    state:note("t1", refused)
    assert.is_not_nil((state:posted "t1"))
    attempts[1].delivered = "no"
    state:note("t1", refused)
    assert.is_nil((state:posted "t1"))
  end)

  it("reads the record first if a run in between ended before it was begun", function()
    local state = file:open()
    state:note_posting "t1"
    local cancelled = { ok = false, operation = "sync", outcome = "cancelled", delivered = "no" }
    state:note("t1", cancelled)
    assert.is_not_nil((state:posted "t1"))
  end)

  it("reads the record first if it is unknown whether that request had arrived", function()
    w = world.new { faults = { { kind = "lost_answer", on = "sync" } } }
    local fleet = w:fleet {
      tenants = { "t1" },
      state = file.path,
      client = { token = "token-t1", retry = false, recover = false },
    }
    for _, report in fleet:run() do
      assert.equal("unknown", report.delivered)
      fleet:cancel()
    end
    w:pass(700)
    local report = run()
    assert.equal("started", report.outcome)
    assert.equal("status", report.confirmed_by)
  end)
end)
