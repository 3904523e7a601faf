local cjson = require "cjson.safe"
local command = require "support.command"
local emulator = require "autopilot.emulator"
local scripted = require "autopilot.transport.scripted"
local status = require "autopilot.cli.commands.status"

local run = command.run_with_answers

local now = 1767225600 -- 2026-01-01T00:00:00Z

local function lines(report)
  report.service_time = now
  report.cooldown_remaining = math.max(0, (report.cooldown_until or 0) - now)
  return status.lines(report)
end

describe("the status as text", function()
  it("shows state, stamps with their age, and when a sync is possible again", function()
    assert.are.same(
      {
        "Tenant        contoso",
        "State         completed",
        "Last sync     2025-12-31T23:58:59Z (1 min ago)",
        "Last trigger  2025-12-31T23:58:58Z (1 min 1 s ago)",
        "Ready         no: in 9 min 9 s, at 2026-01-01T00:09:09Z",
      },
      lines {
        tenant = "contoso",
        sync_status = "completed",
        last_sync = now - 60.25,
        last_manual_trigger = now - 61.7,
        cooldown_until = now + 548.3,
        ready = false,
      }
    )
  end)

  it("says that a sync may be stuck", function()
    local report =
      { sync_status = "in_progress", stuck_for = 4321, hint = "It may be stuck.", ready = false }
    assert.equal("Perhaps stuck It may be stuck.", lines(report)[5])
  end)

  it("says what is unknown", function()
    assert.are.same({
      "State         not told",
      "Last sync     none on record",
      "Last trigger  none on record",
      "Ready         yes",
    }, lines { ready = true })
  end)

  it("shows a sync in progress, and the cooldown", function()
    local report = { sync_status = "in_progress", ready = false }
    assert.equal("Ready         no: a sync is in progress", lines(report)[4])
    report.cooldown_until = now + 60
    assert.equal(
      "Ready         no: a sync is in progress; in 1 min, at 2026-01-01T00:01:00Z",
      lines(report)[4]
    )
  end)

  it("shows no age for a stamp that is ahead of the service's clock", function()
    local report = { ready = true, last_sync = now + 0.9, last_manual_trigger = now + 30 }
    assert.equal("Last sync     2026-01-01T00:00:00Z (0 s ago)", lines(report)[2])
    assert.equal("Last trigger  2026-01-01T00:00:30Z", lines(report)[3])
  end)
end)

describe("autopilot-sync status", function()
  local function service()
    return emulator.new {
      tokens = { [command.token] = { tenant = "contoso" } },
      now = function()
        return 1767225600.25
      end,
      duration = 0,
    }
  end

  it("prints a table", function()
    local emulated = service()
    local transport = emulated:transport()
    assert.equal(0, run("sync", transport).code)
    local ran = run("status --tenant contoso", transport)
    assert.equal(0, ran.code)
    assert.equal("", ran.err)
    assert.equal(
      table.concat({
        "Tenant        contoso",
        "State         completed",
        "Last sync     2026-01-01T00:00:00Z (0 s ago)",
        "Last trigger  2026-01-01T00:00:00Z (0 s ago)",
        "Ready         no: in 10 min 11 s, at 2026-01-01T00:10:11Z",
        "",
      }, "\n"),
      ran.out
    )
  end)

  it("prints the report as JSON, with fractions of seconds", function()
    local transport = service():transport()
    run("sync", transport)
    local report = cjson.decode(run("status --json", transport).out)
    assert.equal("status", report.operation)
    assert.equal("completed", report.sync_status)
    assert.equal(1767225600.25, report.last_manual_trigger)
    assert.equal(1767225600.25 + 610, report.cooldown_until)
    assert.is_false(report.ready)
  end)

  it("prints nothing with --quiet when the status was read", function()
    local ran = run("status --quiet", service():transport())
    assert.are.same({ code = 0, out = "", err = "" }, ran)
  end)

  it("ends by its deadline", function()
    local transport = scripted { { status = 403 } }
    run("status --deadline 5", transport)
    assert.are.same({ connect = 5, total = 5 }, transport.requests[1].timeout)
  end)

  it("fails with the same exit codes as sync", function()
    local ran = run("status", { { status = 403 } })
    assert.equal(5, ran.code)
    assert.equal("", ran.out)
    assert.matches("^status: forbidden [^\n]*\n[^\n]*\n$", ran.err)
    assert.equal(1, run("status", { { status = 200, body = "<html>" } }).code)
  end)
end)
