local status_table = require "autopilot.cli.status_table"
local time_text = require "autopilot.cli.time_text"

local now = 1767225600 -- 2026-01-01T00:00:00Z

local function lines(report)
  report.service_time = now
  report.cooldown_remaining = math.max(0, (report.cooldown_until or 0) - now)
  return status_table.lines(report)
end

describe("the status for people", function()
  it("tells state, stamps with their age, and from when on a sync may be asked for", function()
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

  it("tells what is not known", function()
    assert.are.same({
      "State         not told",
      "Last sync     none on record",
      "Last trigger  none on record",
      "Ready         yes",
    }, lines { ready = true })
  end)

  it("tells that a sync is in progress, and the cooldown beside it", function()
    local report = { sync_status = "in_progress", ready = false }
    assert.equal("Ready         no: a sync is in progress", lines(report)[4])
    report.cooldown_until = now + 60
    assert.equal(
      "Ready         no: a sync is in progress; in 1 min, at 2026-01-01T00:01:00Z",
      lines(report)[4]
    )
  end)

  it("gives no age to a stamp that is ahead of the service's clock", function()
    local report = { ready = true, last_sync = now + 0.9, last_manual_trigger = now + 30 }
    assert.equal("Last sync     2026-01-01T00:00:00Z (0 s ago)", lines(report)[2])
    assert.equal("Last trigger  2026-01-01T00:00:30Z", lines(report)[3])
  end)
end)

describe("durations for people", function()
  it("have two units at most, and no unit that is nothing", function()
    for seconds, text in pairs {
      [0] = "0 s",
      [0.99] = "0 s",
      [59.9] = "59 s",
      [60] = "1 min",
      [243] = "4 min 3 s",
      [3600] = "1 h",
      [3601] = "1 h",
      [3725] = "1 h 2 min",
      [86400] = "1 d",
      [273600] = "3 d 4 h",
      [86460] = "1 d",
    } do
      assert.equal(text, time_text.duration(seconds))
    end
  end)
end)

describe("moments for people", function()
  it("are ISO 8601 in UTC, whole seconds, never later than the moment", function()
    assert.equal("2026-01-01T00:00:00Z", time_text.moment(now + 0.999))
    assert.equal("9999-12-31T23:59:59Z", time_text.moment(253402300799))
  end)
end)
