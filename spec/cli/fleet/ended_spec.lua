-- `autopilot-sync fleet`: the exit code after SIGINT and SIGTERM.

local fleet_command = require "support.fleet_command"

describe("autopilot-sync fleet that is interrupted", function()
  local function run(by_the_system)
    local world = fleet_command.world()
    local looks = 0
    world.was_interrupted = function()
      looks = looks + 1
      return looks > 3, looks > 3 and by_the_system
    end
    return fleet_command.run("--concurrency 1", fleet_command.names(20), world)
  end

  it("by its user ends as a shell says of Ctrl-C", function()
    assert.equal(130, run(false).code)
  end)

  it("by the system ends as a shell says of SIGTERM, and no less truthfully", function()
    local ran = run(true)
    assert.equal(143, ran.code)
    assert.matches("interrupted: what was sent is awaited", ran.err)
    assert.matches("started +%d+\n", ran.out)
  end)
end)
