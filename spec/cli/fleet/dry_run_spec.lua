-- `autopilot-sync fleet --dry-run`: a line for each tenant, the summary, and that nothing is posted.

local files = require "support.files"
local fleet_command = require "support.fleet_command"

--- Runs a fleet of three: one that is ready, one within its cooldown, one whose sync is in progress.
local function run(args, faults)
  local world, service, requests = fleet_command.world {
    tenants = { ready = {}, cooling = {}, running = {} },
    faults = faults,
  }
  service:trigger "cooling"
  world.sleep(90)
  service:trigger("running", { duration = 300 })
  local before = service.requests.sync
  world.sleep(10)
  local ran = fleet_command.run("--dry-run " .. args, "ready\ncooling\nrunning\n", world)
  assert.equal(before, service.requests.sync)
  for _, request in ipairs(requests) do
    assert.is_nil(request.url:find "/sync$")
  end
  return ran
end

describe("a fleet's dry run", function()
  it("tells for each tenant what would be sent and why, and posts nothing", function()
    local ran = run ""
    assert.same({ 9, "" }, { ran.code, ran.err })
    for _, line in ipairs {
      "ready: would send a request: a sync is possible",
      "cooling: would send a request: the cooldown lasts 8 min 31 s more, so a refusal is to be "
        .. "expected",
      "running: would send a request: a sync is in progress, so a refusal is to be expected",
    } do
      assert.is_truthy(ran.out:find(line .. "\n", 1, true), ran.out)
    end
    assert.matches("\ncooldown: [^\n]*\n  cooling  again in 8 min 31 s\n", ran.out)
    local table_of_outcomes = "cooldown                 1\n"
      .. "in_progress              1\n"
      .. "read                     1\n"
      .. "in all                   3  in 0 s\n"
      .. "would send               3\n"
    assert.equal(table_of_outcomes, ran.out:sub(-#table_of_outcomes))
  end)

  it("of ensure waits for cooldowns in its plan, up to the deadline", function()
    local ran = run "--operation ensure"
    assert.equal(0, ran.code)
    assert.is_truthy(ran.out:find("cooling: would send a request: no sync that counts", 1, true))
    assert.matches("\nwould send +3\n", ran.out)
    ran = run "--operation ensure --deadline 5m"
    assert.equal(9, ran.code)
    assert.is_truthy(ran.out:find("cooling: would send nothing: the cooldown lasts", 1, true))
    ran = run "--operation ensure --max-age 2m"
    assert.is_truthy(ran.out:find("cooling: would send nothing: a sync that counts", 1, true))
    assert.matches("\nwould send +1\n", ran.out)
  end)

  it("prints the reports of single dry runs with --json", function()
    local ran = run "--json"
    local reports = fleet_command.reports(ran)
    assert.same({ 9, true, true, true, "sync" }, {
      ran.code,
      reports.ready.ok,
      reports.ready.dry_run,
      reports.ready.would_post,
      reports.ready.operation,
    })
    assert.matches("^POST https://.*/sync$", reports.ready.request)
    assert.same({ false, "cooldown" }, { reports.cooling.ok, reports.cooling.outcome })
    assert.near(510, reports.cooling.retry_after, 1)
    assert.equal("in_progress", reports.running.outcome)
  end)

  it("reports a record that cannot be read as a failure", function()
    local ran = run("--json --attempts 1", { { kind = "unsent", on = "status" } })
    local reports = fleet_command.reports(ran)
    assert.same({ 9, "unreachable", "in_progress" }, {
      ran.code,
      reports.ready.outcome,
      reports.running.outcome,
    })
    assert.same({ true, nil }, { reports.ready.dry_run, reports.ready.would_post })
  end)

  it("says in its report file that it is a dry run", function()
    local path, remove = files.temporary ""
    run("--report " .. path .. ".md")
    assert.matches("^# autopilot%-sync fleet: sync, a dry run, ", files.read(path .. ".md"))
    os.remove(path .. ".md")
    remove()
  end)

  it("is refused for operations that post nothing, and with a state file", function()
    local world, _, requests = fleet_command.world()
    for args, message in pairs {
      ["--operation status"] = "option '--dry-run' goes with --operation sync or ensure",
      ["--operation wait"] = "option '--dry-run' goes with --operation sync or ensure",
      ["--state state.db"] = "options '--dry-run' and '--state' exclude each other",
    } do
      local ran = fleet_command.run("--dry-run " .. args, "ready\n", world)
      assert.same({ 2, "autopilot-sync: " .. message }, { ran.code, ran.err:match "^[^\n]*" })
    end
    assert.equal(0, #requests)
  end)
end)
