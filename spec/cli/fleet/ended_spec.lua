-- `autopilot-sync fleet` that SIGINT or SIGTERM ends: what it reports, and its exit code.

local command = require "support.command"
local files = require "support.files"
local fleet_command = require "support.fleet_command"

local new_world, run, names = fleet_command.world, fleet_command.run, fleet_command.names
local reports_of, syncs_of = fleet_command.reports, fleet_command.syncs

describe("autopilot-sync fleet that is interrupted", function()
  local function interrupted(by_the_system)
    local world = fleet_command.world()
    local looks = 0
    world.was_interrupted = function()
      looks = looks + 1
      return looks > 3, looks > 3 and by_the_system
    end
    return fleet_command.run("--concurrency 1", fleet_command.names(20), world)
  end

  it("by its user ends with the shell's code for Ctrl-C", function()
    assert.equal(130, interrupted(false).code)
  end)

  it("by the system ends with the shell's code for SIGTERM, and its report is as true", function()
    local ran = interrupted(true)
    assert.equal(143, ran.code)
    assert.matches("interrupted: what was sent is awaited", ran.err)
    assert.matches("started +%d+\n", ran.out)
  end)
end)

describe("autopilot-sync fleet that is interrupted in the middle of a list", function()
  local world, service

  before_each(function()
    world, service = new_world()
    local count = 0
    world.was_interrupted = function()
      count = count + 1
      return count > 3
    end
  end)

  it("reports the rest of its list, too, as not sent", function()
    local ran = run("--concurrency 1 --json", names(20), world)
    assert.equal(130, ran.code)
    assert.matches("interrupted: the other tenants are reported as cancelled", ran.err)
    local reports, order = reports_of(ran)
    assert.equal(20, #order)
    local syncs, started = syncs_of(service), 0
    for tenant, report in pairs(reports) do
      assert.equal(syncs[tenant] ~= nil, report.ok)
      assert.equal(report.ok and "yes" or "no", report.delivered)
      assert.equal(report.ok and "started" or "cancelled", report.outcome)
      started = started + (report.ok and 1 or 0)
    end
    assert.is_true(started >= 1 and started < 20)
  end)

  it("counts the rest in its final table", function()
    local ran = run("--concurrency 1", names(20), world)
    assert.matches(
      "^cancelled: %d+ tenants were not begun, and nothing was sent\n\n"
        .. ".*cancelled +%d+\n.*in all +20  in [^\n]*\n$",
      ran.out
    )
  end)

  it("does not wait for the rest of a list from a pipe", function()
    local lines = names(20)
    world.stdin = {
      read = function()
        local text = lines
        lines = nil
        return text
      end,
    }
    local ran = command.run("fleet - --concurrency 1 --json", world)
    assert.equal(130, ran.code)
    assert.matches("interrupted: tenants without a report were not begun", ran.err)
    local _, order = reports_of(ran)
    assert.is_true(#order < 20)
  end)
end)

describe("autopilot-sync fleet with any complaint", function()
  it("prints its table last", function()
    for said, args in pairs {
      ["interrupted: the other tenants are reported"] = "",
      ["tenants were not begun"] = "--deadline 1s",
      ["report.md could not be written"] = "--report FOLDER/report.md",
    } do
      local folder, remove = files.folder()
      local screen, world = command.sink(), nil
      world = new_world {
        on_request = function()
          world.sleep(2)
          remove()
        end,
      }
      world.stdout, world.stderr = screen, screen
      world.was_interrupted = function()
        return args == ""
      end
      run("--concurrency 1 " .. args:gsub("FOLDER", folder), names(20), world)
      remove()
      assert.truthy(screen.text:find(said, 1, true), screen.text)
      assert.matches("\nin all +20  in [^\n]*\n$", screen.text)
    end
  end)
end)
