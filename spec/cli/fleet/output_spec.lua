-- `autopilot-sync fleet`: reports that could not be written, on a full disk or into a closed pipe.

local cjson = require "cjson.safe"
local cli = require "autopilot.cli"
local fleet_command = require "support.fleet_command"

local new_world, syncs_of = fleet_command.world, fleet_command.syncs

--- Runs the command with a standard output that fails after so many writes.
local function run(args, world, most, number)
  local left, out, err = most, {}, {}
  world.stdout = {
    write = function(self, ...)
      left = left - 1
      if left < 0 then
        return nil, "No space left on device", number or 28
      end
      out[#out + 1] = table.concat { ... }
      return self
    end,
    flush = function(self)
      return self
    end,
  }
  world.stderr = {
    write = function(self, ...)
      err[#err + 1] = table.concat { ... }
      return self
    end,
    flush = function() end,
  }
  local env = world.env
  function world.getenv(name)
    return env[name]
  end
  local code = cli.main(args, world)
  return { code = code, out = table.concat(out), err = table.concat(err) }
end

describe("autopilot-sync fleet with reports that cannot be written", function()
  local list, state

  before_each(function()
    list, state = os.tmpname(), os.tmpname()
    local file = assert(io.open(list, "wb"))
    file:write(fleet_command.names(4))
    file:close()
  end)

  after_each(function()
    os.remove(list)
    os.remove(state)
    os.remove(state .. "-wal")
  end)

  it("says so, even if tenants failed", function()
    local bad = { ["tenant01.example"] = { licensed = false } }
    for tenants, code in pairs { [{}] = 1, [bad] = 9 } do
      local world = new_world { tenants = next(tenants) and tenants or nil }
      local ran = run({ "fleet", list, "--json" }, world, 0)
      assert.equal(code, ran.code)
      assert.equal(
        "autopilot-sync: the output could not be written: No space left on device\n",
        ran.err
      )
    end
  end)

  it("prints them all when the same command is given again with its state", function()
    local world, service = new_world()
    local args = { "fleet", list, "--json", "--state", state }
    assert.equal(1, run(args, world, 2).code)
    local ran = run(args, world, math.huge)
    assert.equal(0, ran.code)
    assert.matches("taking up the run that was begun before: 4 done already", ran.err)
    local count = 0
    for line in ran.out:gmatch "[^\n]+" do
      local report = assert(cjson.decode(line))
      assert.is_true(report.recalled)
      assert.equal(1, syncs_of(service)[report.tenant])
      count = count + 1
    end
    assert.equal(4, count)
  end)

  it("ignores a reader that closes the pipe early", function()
    local ran = run({ "fleet", list, "--json" }, (new_world()), 2, 32)
    assert.equal("", ran.err)
    assert.equal(0, ran.code)
  end)
end)
