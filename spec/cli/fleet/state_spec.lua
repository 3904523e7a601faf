-- `autopilot-sync fleet --state`: what an interrupted run leaves to the next.

local command = require "support.command"
local files = require "support.files"
local fleet_command = require "support.fleet_command"
local fleet_state = require "autopilot.fleet.state"
local state_file = require "support.state_file"

local new_world, run, names = fleet_command.world, fleet_command.run, fleet_command.names
local reports_of, syncs_of = fleet_command.reports, fleet_command.syncs

describe("autopilot-sync fleet --state", function()
  local file, path

  before_each(function()
    file = state_file.new()
    path = file.path
  end)

  after_each(function()
    file:close()
  end)

  it("starts anew after a run that has finished", function()
    local world, service = new_world()
    assert.equal(0, run("--state " .. path, names(3), world).code)
    world.sleep(700)
    local list, remove_list = files.temporary(names(3))
    local args = ("fleet %s --state %s"):format(list, path)
    assert.equal(0, command.run(args, world).code)
    world.sleep(700)
    assert.equal(0, command.run(args, world).code)
    remove_list()
    assert.equal(3, syncs_of(service)["tenant01.example"])
  end)

  it("respects a cooldown from the run before", function()
    local world, _, requests = new_world()
    local list, remove_list = files.temporary(names(1))
    local args = ("fleet %s --state %s --json"):format(list, path)
    command.run(args, world)
    local before = #requests
    local ran = command.run(args, world)
    remove_list()
    assert.equal("cooldown", reports_of(ran)["tenant01.example"].outcome)
    assert.equal("client", reports_of(ran)["tenant01.example"].answered_by)
    assert.equal(before, #requests)
  end)

  it("keeps a cooldown for as long as --cooldown says", function()
    for cooldown, answered_by in pairs { ["20m"] = "client", ["5m"] = "service" } do
      os.remove(path)
      local world = new_world()
      local list, remove_list = files.temporary(names(1))
      local args = ("fleet %s --state %s --json --cooldown %s"):format(list, path, cooldown)
      command.run(args, world)
      world.sleep(cooldown == "20m" and 700 or 400)
      local ran = command.run(args, world)
      remove_list()
      local report = reports_of(ran)["tenant01.example"]
      assert.same({ "cooldown", answered_by }, { report.outcome, report.answered_by })
    end
  end)

  it("ignores another service's cooldowns", function()
    local world, service = new_world()
    local list, remove_list = files.temporary(names(1))
    local args = ("fleet %s --state %s --json"):format(list, path)
    assert.equal(0, command.run(args, world).code)
    world.sleep(300)
    local asked = service.requests.sync
    local ran = command.run(args .. " --base-url https://graph.example", world)
    remove_list()
    assert.equal("service", reports_of(ran)["tenant01.example"].answered_by)
    assert.equal(asked + 1, service.requests.sync)
  end)

  it("continues an interrupted run, and repeats nothing that is done", function()
    local interrupted = false
    local world, service = new_world {
      on_request = function(_, number)
        interrupted = interrupted or number > 9
      end,
    }
    world.was_interrupted = function()
      return interrupted
    end
    local list, remove_list = files.temporary(names(20))
    local args = ("fleet %s --state %s --concurrency 2 --json"):format(list, path)
    local first = command.run(args, world)
    assert.equal(130, first.code)
    assert.matches("interrupted: what was sent is awaited", first.err)
    assert.matches("interrupted: the same command goes on where this one ended\n$", first.err)
    local done = 0
    for tenant, report in pairs(reports_of(first)) do
      assert.equal(report.ok and 1 or nil, syncs_of(service)[tenant])
      done = done + (report.ok and 1 or 0)
    end
    assert.is_true(done > 2 and done < 20)

    world.was_interrupted = function()
      return false
    end
    local second = command.run(args, world)
    assert.equal(0, second.code)
    assert.matches(
      ("taking up the run that was begun before: %d done already"):format(done),
      second.err
    )
    local reports, order = reports_of(second)
    remove_list()
    assert.equal(20, #order)
    local recalled = 0
    for tenant, report in pairs(reports) do
      assert.is_true(report.ok)
      assert.equal(1, syncs_of(service)[tenant])
      recalled = recalled + (report.recalled and 1 or 0)
    end
    assert.equal(done, recalled)
  end)

  -- Runs the same command twice on 20 tenants; the first is interrupted after some requests.
  local function run_interrupted(args, world, between)
    local list, remove_list = files.temporary(names(20))
    args = ("fleet %s --state %s --concurrency 2 --json %s"):format(list, path, args)
    local asked, transport, is_interrupted = 0, world.transport, world.was_interrupted
    world.transport = function(request)
      asked = asked + 1
      return transport(request)
    end
    world.was_interrupted = function()
      return asked > 9
    end
    assert.equal(130, command.run(args, world).code)
    world.was_interrupted = is_interrupted
    between()
    local ran = command.run(args, world)
    remove_list()
    return reports_of(ran), ran
  end

  it("continues with the time at which the run was begun", function()
    for args, seconds in pairs { [""] = 0, ["--since -1m"] = 60 } do
      local is_refused = true
      local world, service = new_world {
        faults = function(_, request)
          local is_last = is_refused and request.url:find("tenant20", 1, true)
          return is_last and { kind = "status", status = 400 } or nil
        end,
      }
      local reports = run_interrupted("--operation ensure " .. args, world, function()
        is_refused = false
        world.sleep(100 - seconds)
        assert(service:trigger "tenant20.example")
        world.sleep(30)
      end)
      assert.equal("fresh", reports["tenant20.example"].outcome)
      os.remove(path)
    end
  end)

  it("continues after a deadline that was too short", function()
    local world, service = new_world()
    local list, remove_list = files.temporary(names(10))
    local args = ("fleet %s --state %s --spread 60 --json"):format(list, path)
    local first = reports_of(command.run(args .. " --deadline 30", world))
    local second, order = reports_of(command.run(args, world))
    remove_list()
    assert.equal(10, #order)
    local recalled = 0
    for tenant, report in pairs(second) do
      assert.is_true(report.ok)
      assert.equal(1, syncs_of(service)[tenant])
      assert.equal(first[tenant].ok or nil, report.recalled)
      recalled = recalled + (report.recalled and 1 or 0)
    end
    assert.is_true(recalled > 0 and recalled < 10)
  end)

  --- Interrupts the command once it has slept for more than so many seconds; returns a function that ends this.
  local function interrupt_after(seconds, world)
    local slept, pass, is_interrupted = 0, world.sleep, world.was_interrupted
    world.sleep = function(duration)
      slept = slept + duration
      pass(duration)
    end
    world.was_interrupted = function()
      return slept > seconds
    end
    return function()
      world.was_interrupted = is_interrupted
    end
  end

  it("continues after an interrupt that came when its last tenant had begun", function()
    local world = new_world {
      faults = { { kind = "throttle", on = "sync", retry_after = 60 } },
    }
    local list, remove_list = files.temporary(names(3))
    local args = ("fleet %s --state %s --json"):format(list, path)
    local go_on = interrupt_after(20, world)
    assert.equal(130, command.run(args, world).code)
    go_on()
    local ran = command.run(args, world)
    remove_list()
    assert.matches("2 done already", ran.err)
    assert.equal(0, ran.code)
  end)

  it("treats another operation or time as another run", function()
    local world = new_world {
      faults = { { kind = "throttle", on = "sync", retry_after = 60 } },
    }
    local list, remove_list = files.temporary(names(4))
    local args = ("fleet %s --state %s --json --operation ensure"):format(list, path)
    local go_on = interrupt_after(20, world)
    assert.equal(130, command.run(args .. " --max-age 5", world).code)
    go_on()
    for _, other in ipairs { " --max-age 6", " --since -5s", "" } do
      local ran = command.run(args .. other, world)
      assert.is_nil(ran.err:find "taking up")
    end
    local ran = command.run(args .. " --max-age 5", world)
    remove_list()
    assert.matches("taking up", ran.err)
  end)

  it("releases the file when it ends", function()
    collectgarbage "stop" -- which would close it too, at some time
    assert.equal(0, run("--state " .. path, names(1), (new_world())).code)
    local state, message = fleet_state.open { path = path }
    collectgarbage "restart"
    assert.is_nil(message)
    state:close()
  end)

  it("says that it could not be written, and ends in 1 if all else went well", function()
    local world = new_world()
    world.fleet = function(options)
      function options.state.transaction()
        return nil, "the disk is full"
      end
      return require "autopilot.fleet"(options)
    end
    local ran = run("--state " .. path, names(2), world)
    assert.equal(1, ran.code)
    assert.matches("started +2\n", ran.out)
    assert.matches("the state file .* could not be written: the disk is full\n$", ran.err)
  end)

  it("says once, and at once, that it cannot be used any more", function()
    local world = new_world()
    world.fleet = function(options)
      function options.state.renew()
        local is_away = world.now() < fleet_command.start + 20
        return world.clock() + 5, is_away and "PostgreSQL: no connection to the server" or nil
      end
      return require "autopilot.fleet"(options)
    end
    local ran = run("--spread 60 --state " .. path, names(2), world)
    assert.equal(0, ran.code)
    assert.equal(
      "autopilot-sync: the state cannot be used now: PostgreSQL: no connection to the server\n",
      ran.err
    )
  end)

  it("does not print the address of a database that could not be written", function()
    local open = fleet_state.open
    function fleet_state.open(given)
      given.path = path
      return open(given)
    end
    local world = new_world()
    world.fleet = function(options)
      function options.state.transaction()
        return nil, "it is read-only"
      end
      return require "autopilot.fleet"(options)
    end
    local ran = run("--state postgresql://me@db.example/name", names(2), world)
    fleet_state.open = open
    assert.equal(1, ran.code)
    assert.matches("the state in the database could not be written: it is read%-only\n$", ran.err)
    assert.is_nil(ran.err:find("db.example", 1, true))
  end)

  it("refuses an address with a password, and does not print it", function()
    for _, address in ipairs {
      "postgresql://me:hidden@host/name",
      "postgresql://me:hid/den@host/name",
      "postgresql://me@host/name?password=hidden",
    } do
      local ran = run("--state " .. address, names(1), (new_world()))
      assert.equal(2, ran.code)
      assert.equal(
        "autopilot-sync: option '--state' must not contain a password, which other users of this "
          .. "machine could read: it may be in the variable PGPASSWORD\n",
        ran.err
      )
    end
  end)

  it("says when it is in use", function()
    local state = assert(fleet_state.open { path = path })
    local ran = run("--state " .. path, names(1), (new_world()))
    state:close()
    assert.equal(2, ran.code)
    assert.matches("it is in use by another run", ran.err)
  end)
end)
