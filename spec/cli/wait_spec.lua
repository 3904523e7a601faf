local cjson = require "cjson"
local command = require "support.command"
local emulator = require "autopilot.emulator"
local overlay = require "support.overlay"

--- A world for the command in which time passes only in sleeps, and its emulated service.
local function new_world(given)
  local service = emulator.new { duration = 60 }
  local world = {
    env = {
      AUTOPILOT_TOKEN = service:issue_token { tenant = "contoso.example" },
      AZURE_TENANT_ID = "contoso.example",
    },
    transport = service:transport(),
    is_terminal = false,
    sleep = function(seconds)
      service:advance(seconds)
    end,
    random = function()
      return 0.5
    end,
  }
  function world.now()
    return service:now()
  end
  world.clock = world.now
  overlay(world, given)
  return world, service
end

describe("autopilot-sync", function()
  it("ensure starts a sync and waits for it if no earlier sync counts", function()
    local world, service = new_world()
    local ran = command.run({ "ensure", "--since", "-10m" }, world)
    assert.equal(0, ran.code)
    assert.matches("^ensure contoso%.example: completed ", ran.out)
    assert.equal(1, service.requests.sync)
  end)

  it("says that the clock was never set", function()
    local world = new_world()
    function world.now()
      return 10
    end
    local lines = { "ensure --since -1h", "wait --since -1h", "ensure --since 1750000000" }
    for _, line in ipairs(lines) do
      local ran = command.run(line, world)
      assert.equal(2, ran.code)
      assert.matches(
        "option '%-%-since' .*clock is wrong, it shows 1970%-01%-01T00:00:10Z",
        ran.err
      )
    end
  end)

  it("ensure starts no sync if an earlier one counts", function()
    local world, service = new_world()
    command.run({ "sync", "--wait" }, world)
    service:advance(100)
    for _, wanted in ipairs { { "--since", "-10m" }, { "--max-age", "900" } } do
      local ran = command.run({ "ensure", wanted[1], wanted[2] }, world)
      assert.equal(0, ran.code)
      assert.matches("^ensure contoso%.example: fresh ", ran.out)
    end
    assert.equal(1, service.requests.sync)
  end)

  it("ensure --no-wait says when to ask again, and never sleeps", function()
    local world = new_world()
    command.run({ "sync", "--wait" }, world)
    world.sleep = function()
      error "slept"
    end
    local ran = command.run({ "ensure", "--since", "now", "--no-wait", "--json" }, world)
    local report = cjson.decode(ran.out)
    assert.equal(4, ran.code)
    assert.equal("cooldown", report.outcome)
    assert.is_true(report.retry_after > 500)
    assert.equal("client", report.answered_by)
  end)

  it("wait waits for another client's sync, and starts none", function()
    local world, service = new_world()
    assert(service:trigger "contoso.example")
    local ran = command.run({ "wait" }, world)
    assert.equal(0, ran.code)
    assert.matches("^wait contoso%.example: completed ", ran.out)
    assert.equal(0, service.requests.sync)
  end)

  it("wait ends at its deadline with exit code 8", function()
    local world, service = new_world()
    local began = service:now()
    local ran = command.run({ "wait", "--deadline", "30" }, world)
    assert.equal(8, ran.code)
    assert.is_true(service:now() - began <= 30)
  end)

  it("sync --wait waits until the sync has completed", function()
    local world, service = new_world()
    local ran = command.run({ "sync", "--wait", "--json" }, world)
    assert.equal("completed", cjson.decode(ran.out).outcome)
    assert.is_true(service:now() >= service:record("contoso.example").last_sync)
  end)

  it("sync says when to ask again, even if the service does not", function()
    local world, service = new_world()
    assert(service:trigger "contoso.example")
    service:advance(100)
    local ran = command.run({ "sync" }, world)
    assert.equal(4, ran.code)
    assert.matches("cooldown, again in 5%d%d s", ran.err)
  end)

  it("redraws one line of progress on a terminal and erases it at the end", function()
    local world = new_world { is_terminal = true }
    local ran = command.run({ "ensure" }, world)
    assert.matches("^\rin_progress %(%d+ s so far%)", ran.err)
    assert.matches("\r +\r$", ran.err)
    assert.is_nil(ran.err:find "[\n\27]")
  end)

  -- The times in the lines of progress, in their order.
  local function told_seconds(text)
    local list = {}
    for elapsed in text:gmatch "%(([%w ]+) so far%)" do
      local minutes, seconds = elapsed:match "(%d+) min", elapsed:match "(%d+) s"
      list[#list + 1] = (minutes or 0) * 60 + (seconds or 0)
    end
    return list
  end

  it("redraws it each second, even between reads of the status", function()
    for _, args in ipairs { { "ensure" }, { "sync", "--wait" }, { "wait" } } do
      local world, service = new_world { is_terminal = true }
      if args[1] == "wait" then
        service:trigger "contoso.example"
      end
      local told = told_seconds(command.run(args, world).err)
      assert.is_true(told[#told] >= 55 and service.requests.status < 20)
      for index = 2, #told do
        assert.is_true(told[index] - told[index - 1] <= 2, table.concat(told, " "))
      end
    end
  end)

  it("counts a cooldown down each second", function()
    local world = new_world { is_terminal = true }
    command.run({ "sync", "--wait" }, world)
    local ran = command.run({ "ensure" }, world)
    for seconds = 50, 10, -1 do
      assert.is_truthy(ran.err:find(("cooldown: %d s left"):format(seconds), 1, true))
    end
    assert.matches("cooldown: 9 min %d+ s left", ran.err)
  end)

  it("keeps to the width of a narrow terminal", function()
    for width = 1, 40 do
      local world = new_world { is_terminal = true, terminal_width = width }
      for line in command.run({ "ensure" }, world).err:gmatch "[^\r]+" do
        assert.is_true(#line < width)
      end
    end
    local world = new_world { is_terminal = true, terminal_width = 14 }
    assert.matches("^\rin_progress\r", command.run({ "ensure" }, world).err)
  end)

  it("erases the line before it reports an interrupt", function()
    local world = new_world { is_terminal = true }
    local slept = 0
    world.sleep = function()
      slept = slept + 1
      if slept == 2 then
        error "interrupted!"
      end
    end
    local ran = command.run({ "wait" }, world)
    assert.equal(130, ran.code)
    assert.matches("\r +\r\27%[31mautopilot%-sync: interrupted: [%l ]+\27%[0m\n$", ran.err)
  end)

  it("shows no progress in a pipe, with --json or --quiet, or on a dumb terminal", function()
    for _, arguments in ipairs { { "ensure" }, { "ensure", "--json" }, { "ensure", "--quiet" } } do
      local world = new_world { is_terminal = #arguments > 1 }
      assert.equal("", command.run(arguments, world).err)
    end
    local world = new_world { is_terminal = true }
    world.env.TERM = "dumb"
    assert.equal("", command.run({ "ensure" }, world).err)
  end)

  it("refuses a time before 1970 or in the future, and two times at once", function()
    local wrong = {
      ["option '%-%-since' must not be in the future"] = { "--since", "2999-01-01T00:00:00Z" },
      ["in the future: give seconds, not milliseconds"] = { "--since", "1790000000000" },
      ["option '%-%-since' must not be before 1970"] = { "--since", "1969-12-31T23:59:59Z" },
      ["option '%-%-since' must not be before"] = { "--since", "-99999d" },
      ["'%-%-since' must be .*2026%-07%-23T13:23:15%+02:00"] = { "--since", "2026-07-23T13:23:15" },
      ["exclude each other"] = { "--since", "now", "--max-age", "5" },
      ["option '%-%-max%-age' must be"] = { "--max-age", "-5" },
    }
    for expected, arguments in pairs(wrong) do
      local world, service = new_world()
      local ran = command.run({ "ensure", (table.unpack or unpack)(arguments) }, world) -- luacheck: ignore
      assert.equal(2, ran.code)
      assert.matches(expected, ran.err)
      assert.equal(0, service.requests.status + service.requests.sync)
    end
  end)
end)
