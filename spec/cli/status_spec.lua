local status = require "autopilot.cli.commands.status"

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
