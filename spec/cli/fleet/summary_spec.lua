local FleetSummary = require "autopilot.cli.fleet.summary"
local Results = require "autopilot.fleet.results"
local overlay = require "support.overlay"
local report = require "autopilot.sync.report"

local function failure(outcome, given)
  local fields = overlay({ operation = "sync", outcome = outcome }, given)
  return report.new(fields)
end

local whole = { bad = 0, duplicates = 0 }

--- A summary whose reports a fleet has counted.
local function new_summary()
  local summary, results = FleetSummary.new(), Results.new()
  local counted = {}
  function counted.add(_, tenant, told)
    summary:add(tenant, told)
    results:add(tenant, told, told.recalled)
  end
  function counted.failures()
    return summary:failures(results.counts.by_outcome)
  end
  function counted.outcomes(_, list, elapsed)
    results.counts.elapsed = elapsed
    return FleetSummary.outcomes(results.counts, list)
  end
  counted.counts = results.counts
  return counted
end

describe("the summary of a fleet", function()
  it("counts by outcome, the most frequent first", function()
    local summary = new_summary()
    for index = 1, 1200 do
      summary:add({ tenant = "t" .. index }, failure "started")
    end
    summary:add({ tenant = "x" }, failure "throttled")
    summary:add({ tenant = "y" }, failure "cooldown")
    assert.same({
      "started              1,200",
      "cooldown                 1",
      "throttled                1",
      "in all               1,202  in 1 min 5 s",
      "bad lines                2",
      "duplicates               1",
    }, summary:outcomes({ bad = 2, duplicates = 1 }, 65))
    assert.equal(2, summary.counts.failed)
  end)

  it("counts the tenants that were known from before", function()
    local summary = new_summary()
    summary:add({ tenant = "a" }, failure("started", { recalled = true }))
    assert.equal(
      "in all                   1  in 0 s, 1 known from before",
      summary:outcomes(whole, 0)[2]
    )
  end)

  it("lists the details of each failed tenant, and the common hint once", function()
    local summary = new_summary()
    summary:add({ tenant = "b" }, failure("cooldown", { retry_after = 344.2 }))
    summary:add({ tenant = "a" }, failure("cooldown", { retry_after = 60 }))
    summary:add({ tenant = "ok" }, failure "started")
    summary:add(
      { tenant = "c" },
      failure("unreachable", { network = { stage = "resolve", message = "no such host" } })
    )
    summary:add(
      { tenant = "d" },
      failure("token_error", { error = { message = "wrong secret" }, hint = "Make a new one." })
    )
    local lines = summary:failures()
    assert.matches("^cooldown: The service usually accepts one sync in 10 minutes", lines[1])
    assert.equal("  a  again in 1 min", lines[2])
    assert.equal("  b  again in 5 min 45 s", lines[3])
    assert.equal("token_error: Make a new one.", lines[4])
    assert.equal("  d  wrong secret", lines[5])
    assert.equal("  c  resolve: no such host", lines[7])
    assert.equal(7, #lines)
  end)

  it("puts tenants with different hints into different groups", function()
    local summary = new_summary()
    summary:add({ tenant = "a" }, failure("token_error", { hint = "Make a new one." }))
    summary:add({ tenant = "b" }, failure("token_error", { hint = "Ask again." }))
    assert.same(
      { "token_error: Ask again.", "  b", "token_error: Make a new one.", "  a" },
      summary:failures()
    )
  end)

  it("names ten tenants of an outcome at most, and says how to see the others", function()
    local summary = new_summary()
    for index = 1, 500 do
      local hint = index % 2 == 0 and "Make a new one." or "Ask again."
      summary:add({ tenant = ("t%03d"):format(index) }, failure("token_error", { hint = hint }))
    end
    summary:add({ tenant = "x" }, failure("throttled", { hint = "Wait." }))
    assert.same({
      "throttled: Wait.",
      "  x",
      "token_error: Ask again.",
      "  t001",
      "  t003",
      "  t005",
      "  t007",
      "  t009",
      "token_error: Make a new one.",
      "  t002",
      "  t004",
      "  t006",
      "  t008",
      "  t010",
      "  and 490 more: --report names them, and --json prints a report of each",
    }, summary:failures())
  end)

  it("prints the hint of each group that a report keeps, also beyond the ten names", function()
    local summary = FleetSummary.new(true)
    for index = 1, 12 do
      local hint = index <= 11 and "Ask again." or "Make a new one."
      summary:add({ tenant = ("t%02d"):format(index) }, failure("token_error", { hint = hint }))
    end
    local lines = summary:failures()
    assert.same({ "token_error: Ask again.", "  t01" }, { lines[1], lines[2] })
    assert.same({
      "  t10",
      "token_error: Make a new one.",
      "  and 2 more, which the report names",
    }, { lines[11], lines[12], lines[13] })
    assert.equal(13, #lines)
  end)

  it("reports tenants that were not begun in one line", function()
    local summary = new_summary()
    summary:add({ tenant = "a" }, failure "cancelled")
    assert.same({ "cancelled: 1 tenant was not begun, and nothing was sent" }, summary:failures())
    for index = 1, 1200 do
      summary:add({ tenant = "t" .. index }, failure("cancelled", { hint = "hint " .. index }))
    end
    assert.same(
      { "cancelled: 1,201 tenants were not begun, and nothing was sent" },
      summary:failures()
    )
    assert.equal("cancelled            1,201", summary:outcomes(whole, 0)[1])
    assert.equal(1201, summary.counts.failed)
  end)

  it("counts a status that was read", function()
    local summary = new_summary()
    summary:add({ tenant = "a" }, { ok = true, operation = "status" })
    assert.equal("read                     1", summary:outcomes(whole, 0)[1])
  end)

  it("has no failures to list when there are none", function()
    assert.same({}, new_summary():failures())
    assert.same({ "in all                   0  in 0 s" }, new_summary():outcomes(whole, 0))
  end)
end)
