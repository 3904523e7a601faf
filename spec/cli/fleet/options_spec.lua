-- `autopilot-sync fleet`: options and fields for the number of requests at a time, and for `since`.

local files = require "support.files"
local fleet_command = require "support.fleet_command"

local new_world, run, names = fleet_command.world, fleet_command.run, fleet_command.names
local reports_of, syncs_of = fleet_command.reports, fleet_command.syncs

describe("autopilot-sync fleet", function()
  it("sends at most --concurrency requests at a time, by default 64", function()
    for args, expected in pairs { [""] = 64, ["--concurrency 7"] = 7 } do
      local world = new_world()
      local fleet
      world.fleet = function(options)
        fleet = require "autopilot.fleet"(options)
        return fleet
      end
      assert.equal(0, run(args, names(2), world).code)
      assert.equal(expected, fleet.options.concurrency)
    end
  end)

  it("--operation wait waits for a sync since the time in a line or in --since", function()
    local world, service = new_world()
    for index = 1, 3 do
      service:trigger(("tenant0%d.example"):format(index))
    end
    world.sleep(30)
    local list = "tenant,since\ntenant01.example,-10s\ntenant02.example,-1m\ntenant03.example,\n"
    local reports = reports_of(run("--operation wait --since -10s --json", list, world))
    assert.equal("timed_out", reports["tenant01.example"].outcome)
    assert.equal("completed", reports["tenant02.example"].outcome)
    assert.equal("timed_out", reports["tenant03.example"].outcome)
  end)

  it("resolves a line's relative time from the beginning of the resumed run", function()
    local path, remove = files.temporary ""
    local world, service = new_world()
    local is_interrupted = true
    world.was_interrupted = function()
      return is_interrupted
    end
    local args = "--operation ensure --json --state " .. path
    local list, remove_list = files.temporary "tenant,since\ntenant01.example,-10s\n"
    local command = require "support.command"
    assert.equal(130, command.run(("fleet %s %s"):format(list, args), world).code)
    local before = syncs_of(service)["tenant01.example"] or 0
    is_interrupted = false
    world.sleep(700)
    service:trigger "tenant01.example"
    world.sleep(100)
    local ran = command.run(("fleet %s %s"):format(list, args), world)
    remove_list()
    remove()
    os.remove(path .. "-wal")
    assert.equal("fresh", reports_of(ran)["tenant01.example"].outcome)
    assert.equal(before + 1, syncs_of(service)["tenant01.example"])
  end)

  it("finds the tenants in another program's export, and says once what it ignores", function()
    local world, service = new_world()
    local ran = run("--column Kunde", "Kunde;Ort\na.example;X\nb.example;Y\n", world)
    assert.equal(0, ran.code)
    assert.equal("autopilot-sync: line 1: columns that are ignored: Ort\n", ran.err)
    assert.same({ ["a.example"] = 1, ["b.example"] = 1 }, syncs_of(service))
  end)

  it("prints nothing about a run without failures, with --quiet", function()
    for _, list in ipairs { "tenant;Ort\na.example;X\n", "Kunden\na.example\na.example\n" } do
      local ran = run("--quiet", list, (new_world()))
      assert.same({ 0, "", "" }, { ran.code, ran.out, ran.err })
    end
  end)

  it("sends nothing if the list is not text, or the state cannot be a file", function()
    local world, _, requests = new_world()
    local ran = run("", "PK\3\4\20\0\6\0\n" .. ("\1\n"):rep(100), world)
    assert.equal(2, ran.code)
    assert.equal(
      "autopilot-sync: the list LIST: it is an Excel workbook or another ZIP archive: "
        .. "save the sheet as CSV\n",
      ran.err
    )
    for path, kind in pairs { ["/dev/null"] = "device", ["/"] = "folder" } do
      ran = run("--state " .. path, names(1), world)
      assert.equal(2, ran.code)
      assert.equal(("autopilot-sync: the state file %s: it is a %s\n"):format(path, kind), ran.err)
    end
    assert.equal(0, #requests)
  end)
end)
