local report = require "autopilot.sync.report"
local fleet_state = require "autopilot.fleet.state"
local state_file = require "support.state_file"

local start, started = state_file.start, state_file.started

describe("autopilot.fleet.state", function()
  local file

  before_each(function()
    file = state_file.new()
  end)

  after_each(function()
    file:close()
  end)

  describe("keeps", function()
    it("the report of a tenant that is done", function()
      local state = file:open()
      local given = started "contoso"
      given.tenant_id = "CONTOSO"
      assert.is_true(state:note("graph/contoso", given))
      local known = state:known "graph/contoso"
      assert.equal("CONTOSO", known.tenant_id)
      assert.equal("sync contoso: started (HTTP 204, request-id 5c0e)", tostring(known))
      assert.is_true(known.ok)
      assert.is_true(known.recalled)
      assert.equal(0.25, known.elapsed)
      assert.is_nil(state:known "graph/fabrikam")
    end)

    it("no failure as done: it is tried again", function()
      local state = file:open()
      state:note("a", report.new { operation = "sync", outcome = "forbidden", elapsed = 1 })
      assert.is_nil(state:known "a")
    end)

    it("a status that was read, as done", function()
      local state = file:open { subject = "status" }
      state:note("a", { ok = true, operation = "status", sync_status = "completed", elapsed = 1 })
      assert.equal("completed", state:known("a").sync_status)
    end)

    it("the end of a started sync's cooldown, until it is over", function()
      local state = file:open()
      state:note("a", started "a")
      assert.equal(start + 610, state:cooldown "a")
      file.now = start + 609
      assert.equal(start + 610, state:cooldown "a")
      file.now = start + 610
      assert.is_nil(state:cooldown "a")
    end)

    it("the end of the cooldown that a refusal or a record states", function()
      local state = file:open()
      state:note(
        "refused",
        report.new { operation = "sync", outcome = "cooldown", retry_at = start + 345.25 }
      )
      assert.equal(start + 345.25, state:cooldown "refused")
      state:note("read", {
        ok = true,
        operation = "status",
        last_manual_trigger = start - 500.5,
        service_date = start + 7,
        cooldown_until = start + 109.5,
        cooldown_remaining = 102.5,
      })
      assert.equal(start + 102.5, state:cooldown "read")
    end)

    it("no cooldown that a later report omits", function()
      local state = file:open()
      state:note("a", started "a")
      file.now = start + 10
      state:note("a", report.new { operation = "sync", outcome = "unreachable" })
      assert.equal(start + 610, state:cooldown "a")
    end)

    it("a cooldown of at most its full length, when the clock was set back", function()
      local state = file:open()
      state:note("a", started "a")
      file.now = start - 86400
      assert.equal(file.now + 610, state:cooldown "a")
    end)

    it("a completed sync's cooldown from its trigger, by the service's clock", function()
      local state = file:open()
      state:note(
        "a",
        report.new {
          operation = "ensure",
          outcome = "completed",
          last_manual_trigger = start + 3600 - 100,
          service_date = start + 3600,
        }
      )
      assert.equal(start + 510, state:cooldown "a")
    end)

    it("times to the last digit that the clock gives", function()
      local state = file:open()
      file.now = start + 0.1234567
      state:note("a", started "a")
      assert.equal(file.now + 610, state:cooldown "a")
    end)

    it("only the documented fields of a report", function()
      local state = file:open()
      local given = started "contoso"
      given.token = "secret-token"
      given.attempts = { { number = 1, note = "secret-token" } }
      state:note("a", given)
      state:close()
      assert.is_nil(file:read():find("secret-token", 1, true))
      assert.truthy(file:read():find("contoso", 1, true))
    end)

    it("the time of a run's first request for a sync, until that run is finished", function()
      local state = file:open()
      assert.is_nil((state:posted "a"))
      state:note_posting("a", start - 7)
      state:close()
      file.now = start + 100
      state = file:open()
      assert.same({ start, start - 7 }, { state:posted "a" })
      state:note_posting("a", start + 50)
      assert.same({ start, start - 7 }, { state:posted "a" })
      assert.is_nil((state:posted "b"))
      state:finish()
      state:close()
      assert.is_nil((file:open():posted "a"))
    end)

    it("tenants of different hosts apart, but not different capitals", function()
      local state = file:open { host = "https://a.example" }
      state:note("Contoso", started "contoso")
      assert.truthy(state:known "contoso")
      assert.truthy(state:cooldown "CONTOSO")
      state:close()
      state = file:open { host = "https://b.example" }
      assert.equal(0, state.done_before)
      assert.is_nil(state:known "contoso")
      assert.is_nil(state:cooldown "contoso")
      state:close()
      assert.truthy(file:open({ host = "https://a.example" }):known "contoso")
    end)

    it("keys with quotes, NUL and other bytes apart", function()
      local state = file:open()
      state:note("a'; DROP TABLE tenant; --", started "quoted")
      state:note("b\0c", started "nul")
      assert.equal("quoted", state:known("a'; DROP TABLE tenant; --").tenant)
      assert.equal("nul", state:known("b\0c").tenant)
      assert.is_nil(state:known "b")
    end)
  end)

  describe("a run", function()
    it("is resumed if it was not finished", function()
      local state = file:open()
      state:note("a", started "a")
      state:close()
      file.now = start + 3600
      state = file:open()
      assert.truthy(state:known "a")
      assert.equal(1, state.done_before)
      assert.equal(start, state.started_at)
    end)

    it("that is finished is followed by a new one", function()
      local state = file:open()
      state:note("a", started "a")
      assert.is_true(state:finish())
      state:close()
      file.now = start + 60
      state = file:open()
      assert.is_nil(state:known "a")
      assert.equal(0, state.done_before)
      assert.equal(start + 60, state.started_at)
      assert.equal(start + 610, state:cooldown "a")
    end)

    it("is not resumed with another subject, and is then unchanged", function()
      local state = file:open { subject = "sync" }
      state:note("a", started "a")
      state:close()
      state = file:open { subject = "status" }
      assert.is_nil(state:known "a")
      state:finish()
      state:close()
      assert.truthy(file:open({ subject = "sync" }):known "a")
    end)

    it("is not resumed if it was started too long ago", function()
      local state = file:open()
      state:note("a", started "a")
      state:close()
      file.now = start + 43199
      state = file:open()
      assert.truthy(state:known "a")
      state:close()
      file.now = start + 43200
      state = file:open()
      assert.is_nil(state:known "a")
      assert.equal(file.now, state.started_at)
    end)

    it("is never resumed with resume_within = 0", function()
      local state = file:open()
      state:note("a", started "a")
      state:close()
      assert.is_nil(file:open({ resume_within = 0 }):known "a")
    end)
  end)

  it("raises at its caller's line for a mistake", function()
    assert.has_error(function()
      fleet_state.open {}
    end, "autopilot.fleet.state: option 'path' is required")
    local _, message = pcall(function()
      fleet_state.open { path = file.path, subjct = "sync" }
    end)
    assert.matches("state_spec.lua:%d+: .*did you mean 'subject'", message)
  end)

  it("is not opened at an address of another kind, which is not printed", function()
    local opened, message = fleet_state.open { path = "redis://me:secret-word@127.0.0.1:1" }
    assert.is_nil(opened)
    assert.equal("the state must be a file or postgresql://…, not another address", message)
  end)

  it("can be closed again, and then refuses every call", function()
    local state = file:open()
    state:close()
    state:close()
    local done, message = state:note("a", started "a")
    assert.is_nil(done)
    assert.equal("it is closed", message)
    assert.equal("it is closed", state.lost)
    assert.is_nil(state:known "a")
    assert.is_nil(state:cooldown "a")
  end)

  it("distinguishes what it cannot read from what it does not have", function()
    local state = file:open()
    state:note("a", started "a")
    assert.same({}, { state:known "b" })
    state:run "UPDATE tenant SET report = '{'"
    local known, message = state:known "a"
    assert.is_nil(known)
    assert.equal("what it says of this tenant is damaged", message)
    state:run "DROP TABLE tenant"
    known, message = state:known "b"
    assert.is_nil(known)
    assert.matches("^it cannot be used: .*no such table", message)
    known, message = select(2, state:posted "b")
    assert.is_nil(known)
    assert.matches("^it cannot be used: .*no such table", message)
  end)

  it("writes its notes durably every few seconds", function()
    local state = file:open()
    state:note("graph/contoso", started "contoso")
    file.now = start + 4.5
    state:note("graph/fabrikam", started "fabrikam")
    assert.is_nil(file:read():find("contoso", 1, true))
    file.now = start + 5
    state:note("graph/adatum", started "adatum")
    assert.truthy(file:read():find("contoso", 1, true))
    file.now = start + 6
    state:note("graph/proseware", started "proseware")
    assert.is_nil(file:read():find("proseware", 1, true))
  end)

  it("writes its notes durably on request", function()
    local state = file:open()
    state:note("graph/contoso", started "contoso")
    assert.is_nil(file:read():find("contoso", 1, true))
    assert.is_true(state:flush())
    assert.truthy(file:read():find("contoso", 1, true))
  end)
end)
