-- `autopilot-sync fleet` in this process, over the emulated service; time passes only in sleeps.

local cjson = require "cjson.safe"
local command = require "support.command"
local emulator = require "autopilot.emulator"
local fleet_state = require "autopilot.fleet.state"
local scripted = require "autopilot.transport.scripted"

local secret = "hidden&secret"
local start = 1790000000.25

-- A service, the world of a command that talks to it, and what was sent.
local function new_world(given)
  given = given or {}
  local time = start
  local function now()
    return time
  end
  local service = emulator.new {
    clients = {
      app = { secret = secret },
      other = { secret = "hidden-other" },
      weak = { secret = secret, roles = {} },
    },
    tenants = given.tenants,
    now = now,
    faults = given.faults,
  }
  local answer, requests = service:transport(), {}
  local world = {
    env = { AZURE_CLIENT_ID = "app", AZURE_CLIENT_SECRET = secret },
    now = now,
    clock = now,
    random = function()
      return 0.5
    end,
    sleep = function(seconds)
      time = time + seconds
    end,
    transport = function(request)
      requests[#requests + 1] = request
      if given.on_request then
        given.on_request(request, #requests)
      end
      return answer(request)
    end,
    was_interrupted = function()
      return false
    end,
  }
  return world, service, requests
end

-- Runs a command line on a list. Nothing secret is ever printed.
local function run(args, list, world)
  local path, remove = command.file(list)
  local ran = command.run("fleet " .. path .. " " .. (args or ""), world)
  remove()
  ran.err = ran.err:gsub(path:gsub("%p", "%%%0"), "LIST")
  assert.is_nil((ran.out .. ran.err):find("hidden", 1, true))
  return ran
end

local function reports_of(ran)
  local reports, order = {}, {}
  for line in ran.out:gmatch "[^\n]+" do
    local report = assert(cjson.decode(line))
    reports[report.tenant] = report
    order[#order + 1] = report.tenant
  end
  return reports, order
end

-- How many syncs the service has started for each tenant.
local function syncs_of(service)
  local counts = {}
  for _, event in ipairs(service.log) do
    if event.event == "sync" then
      counts[event.tenant] = (counts[event.tenant] or 0) + 1
    end
  end
  return counts
end

local function names(count)
  local lines = {}
  for index = 1, count do
    lines[index] = ("tenant%02d.example"):format(index)
  end
  return table.concat(lines, "\n") .. "\n"
end

describe("autopilot-sync fleet", function()
  it("asks for a sync for every tenant of a list, and says how it went", function()
    local world, service = new_world()
    local ran = run("", names(3), world)
    assert.equal("", ran.err)
    assert.equal(0, ran.code)
    assert.equal("started                  3\nin all                   3  in 0 s\n", ran.out)
    assert.same(
      { ["tenant01.example"] = 1, ["tenant02.example"] = 1, ["tenant03.example"] = 1 },
      syncs_of(service)
    )
  end)

  it("prints one report in each line with --json, and nothing else on standard output", function()
    local ran = run("--json", names(5) .. "no tenant\ntenant01.example\n", (new_world()))
    local reports, order = reports_of(ran)
    assert.equal(5, #order)
    for _, report in pairs(reports) do
      assert.equal("started", report.outcome)
      assert.equal(204, report.status)
    end
    assert.equal(
      "autopilot-sync: line 6: tenant must be a tenant id or a domain\n"
        .. "autopilot-sync: line 7: tenant01.example is in line 1 already: left out\n",
      ran.err
    )
    assert.equal(9, ran.code)
  end)

  it("names those that failed, with the hint that helps, and ends in 9", function()
    local world = new_world {
      tenants = { good = {}, bad = { licensed = false }, ["a-bad"] = { licensed = false } },
    }
    local ran = run("", "bad\ngood\na-bad\n", world)
    assert.equal(9, ran.code)
    assert.equal("", ran.err)
    assert.equal(
      "not_licensed             2\n"
        .. "started                  1\n"
        .. "in all                   3  in 0 s\n"
        .. "\n"
        .. "not_licensed: The tenant has no Intune licence, or Intune is not its MDM authority.\n"
        .. "  a-bad  Request not applicable to target tenant.\n"
        .. "  bad  Request not applicable to target tenant.\n",
      ran.out
    )
    ran = run(
      "--quiet",
      "bad\ngood\n",
      (new_world { tenants = { good = {}, bad = { licensed = false } } })
    )
    assert.equal("", ran.out)
    assert.matches("^not_licensed: [^\n]*\n  bad [^\n]*\n$", ran.err)
  end)

  it("counts duplicates, and bad lines as failures", function()
    local ran = run("", "a.example\nb c\nA.example\n", (new_world()))
    assert.equal(9, ran.code)
    assert.matches("bad lines +1\nduplicates +1\n$", ran.out)
    ran = run("", "a.example\nA.example\n", (new_world()))
    assert.equal(0, ran.code)
  end)

  it("reads the list from standard input", function()
    local world, service = new_world()
    local lines = { "a.example", "b.example" }
    world.stdin = {
      read = function(_, format)
        assert.equal("*l", format)
        return table.remove(lines, 1)
      end,
    }
    local ran = command.run("fleet -", world)
    assert.equal("", ran.err)
    assert.same({ ["a.example"] = 1, ["b.example"] = 1 }, syncs_of(service))
  end)

  describe("signs in", function()
    local path, remove

    before_each(function()
      path, remove = command.file "hidden-other\n"
      os.execute(("chmod 600 '%s'"):format(path))
    end)

    after_each(function()
      remove()
    end)

    it("to each tenant as itself, with the application and secret of its line", function()
      local world, _, requests = new_world()
      local ran = run(
        "--json",
        "tenant,cloud,client_id,client_secret_file\n"
          .. "a.example,,,\n"
          .. "b.example,china,other,"
          .. path
          .. "\n",
        world
      )
      assert.equal("", ran.err)
      local reports = reports_of(ran)
      assert.equal("started", reports["a.example"].outcome)
      assert.equal("started", reports["b.example"].outcome)
      local urls = {}
      for _, request in ipairs(requests) do
        urls[request.url:gsub("^https://", "")] = request.body or ""
      end
      assert.matches("client_id=app", urls["login.microsoftonline.com/a.example/oauth2/v2.0/token"])
      assert.matches(
        "client_id=other",
        urls["login.partner.microsoftonline.cn/b.example/oauth2/v2.0/token"]
      )
      assert.is_truthy(
        urls["microsoftgraph.chinacloudapi.cn/beta/deviceManagement/windowsAutopilotSettings/sync"]
      )
    end)

    it("with the secrets of the lines alone, when they all have one", function()
      local world = new_world()
      world.env = {}
      local line = '{"tenant":"a.example","client_id":"other","client_secret_file":"'
        .. path
        .. '"}'
      local ran = run("", line .. "\n", world)
      assert.equal("", ran.err)
      assert.equal(0, ran.code)
    end)

    it("not to a tenant whose secret cannot be read, and to the others", function()
      local world, service = new_world()
      local ran = run(
        "--json",
        "tenant,client_id,client_secret_file\na.example,other,/nowhere/secret\nb.example,,\n",
        world
      )
      assert.equal(9, ran.code)
      assert.matches("line 2: client_secret_file cannot be used: /nowhere/secret", ran.err)
      assert.same({ ["b.example"] = 1 }, syncs_of(service))
    end)

    it("with one secret from standard input for all applications", function()
      local world, service = new_world()
      local reads = 0
      world.stdin = {
        read = function()
          reads = reads + 1
          return reads == 1 and secret .. "\n" or nil
        end,
      }
      world.env = {}
      local ran = run(
        "--client-id app --client-secret-file -",
        "tenant,client_id\na.example,\nb.example,weak\n",
        world
      )
      assert.matches("forbidden +1\nstarted +1\n", ran.out)
      assert.same({ ["a.example"] = 1 }, syncs_of(service))
    end)
  end)

  describe("is refused before anything is sent:", function()
    local function mistake(args, list, env)
      local transport = scripted {}
      local world = { transport = transport, env = env or { AUTOPILOT_TOKEN = "" } }
      local ran = run(args, list or "a.example\n", world)
      assert.equal("", ran.out)
      assert.equal(2, ran.code)
      assert.equal(0, #transport.requests)
      return (ran.err:match "^autopilot%-sync: ([^\n]*)\n$")
    end
    local app = { AZURE_CLIENT_ID = "app", AZURE_CLIENT_SECRET = secret }

    it("no way to sign in", function()
      assert.matches("it is not said how to sign in: choose with %-%-auth", mistake "")
    end)

    it("a token, which is of one tenant", function()
      local pattern = "is the token of one tenant, and there are many: choose how to sign in"
      assert.matches("^AUTOPILOT_TOKEN " .. pattern, mistake("", nil, { AUTOPILOT_TOKEN = "t" }))
      assert.matches("^%-%-token%-file " .. pattern, mistake "--token-file x")
    end)

    it("a list that cannot be read, or is none", function()
      assert.equal("the list cannot be read: LIST: it is empty", mistake("", "", app))
      assert.equal("the list LIST: there is no tenant in it", mistake("", "\n", app))
      assert.matches(
        "^the list LIST: line 1: unknown field 'clout'",
        mistake("", "tenant,clout\n", app)
      )
      local ran = command.run("fleet /nowhere/list", { env = app })
      assert.equal(2, ran.code)
      assert.matches("the list cannot be read: /nowhere/list", ran.err)
      ran = command.run("fleet /", { env = app })
      assert.equal(2, ran.code)
    end)

    it("options that say nothing together", function()
      assert.equal(
        "options '--since' and '--max-age' exclude each other",
        mistake("--operation ensure --since now --max-age 5", nil, app)
      )
      assert.matches("'%-%-since' goes with", mistake("--since now", nil, app))
      assert.matches("'%-%-max%-age' goes with", mistake("--max-age 5 --operation wait", nil, app))
      assert.matches("'%-%-resume%-within' goes with", mistake("--resume-within 5", nil, app))
      assert.equal(
        "option '--since' must not be in the future",
        mistake("--operation wait --since 99999999999", nil, app)
      )
      local ran = command.run("fleet - --client-id a --client-secret-file -", { env = app })
      assert.matches("standard input cannot be both", ran.err)
    end)

    it("options that the client refuses", function()
      assert.matches(
        "^%-%-base%-url must be https",
        mistake("--base-url http://a.example", nil, app)
      )
    end)

    it("a state file that is none", function()
      local path, remove = command.file "some text\n"
      assert.matches("the state file .* no state file", mistake("--state " .. path, nil, app))
      remove()
    end)
  end)

  describe("with --operation", function()
    it("status reads, and starts nothing", function()
      local world, service = new_world()
      local ran = run("--operation status --json", names(2), world)
      assert.equal(0, ran.code)
      assert.equal("unknown", reports_of(ran)["tenant01.example"].sync_status)
      assert.same({}, syncs_of(service))
      ran = run("--operation status", names(2), world)
      assert.matches("^read +2\n", ran.out)
    end)

    it("ensure starts what is needed, and finds fresh what is done", function()
      local world, service = new_world()
      service:trigger "tenant01.example"
      world.sleep(5)
      local ran = run("--operation ensure --max-age 60 --json", names(2), world)
      local reports = reports_of(ran)
      assert.equal("fresh", reports["tenant01.example"].outcome)
      assert.equal("completed", reports["tenant02.example"].outcome)
      assert.same({ ["tenant01.example"] = 1, ["tenant02.example"] = 1 }, syncs_of(service))
    end)

    it("ensure takes the moment of a tenant's own line", function()
      local world, service = new_world()
      service:trigger "tenant01.example"
      service:trigger "tenant02.example"
      world.sleep(700)
      local ran = run(
        "--operation ensure --since -1m --json",
        "tenant,since\ntenant01.example,-1h\ntenant02.example,\n",
        world
      )
      local reports = reports_of(ran)
      assert.equal("fresh", reports["tenant01.example"].outcome)
      assert.equal("completed", reports["tenant02.example"].outcome)
      assert.equal(2, syncs_of(service)["tenant02.example"])
    end)

    it("wait leaves out a line whose moment is to come", function()
      local world = new_world()
      local ran = run("--operation wait", "tenant,since\na.example,99999999999\n", world)
      assert.equal(9, ran.code)
      assert.matches("line 2: since must not be in the future", ran.err)
    end)
  end)

  it("tells who was not begun with when the deadline has passed", function()
    local world = new_world {
      faults = function(operation)
        return operation == "sync" and { kind = "throttle", retry_after = 30 } or nil
      end,
    }
    local ran = run("--json --deadline 10 --concurrency 1", names(3), world)
    local _, order = reports_of(ran)
    assert.equal(3, #order)
    assert.equal(9, ran.code)
  end)

  describe("with --state", function()
    local path, remove

    before_each(function()
      path, remove = command.file ""
    end)

    after_each(function()
      remove()
      os.remove(path .. "-wal")
    end)

    it("does everything anew after a run that came to its end", function()
      local world, service = new_world()
      assert.equal(0, run("--state " .. path, names(3), world).code)
      world.sleep(700)
      local list, remove_list = command.file(names(3))
      local args = ("fleet %s --state %s"):format(list, path)
      assert.equal(0, command.run(args, world).code)
      world.sleep(700)
      assert.equal(0, command.run(args, world).code)
      remove_list()
      assert.equal(3, syncs_of(service)["tenant01.example"])
    end)

    it("knows of a cooldown from the run before, and does not ask in vain", function()
      local world, _, requests = new_world()
      local list, remove_list = command.file(names(1))
      local args = ("fleet %s --state %s --json"):format(list, path)
      command.run(args, world)
      local before = #requests
      local ran = command.run(args, world)
      remove_list()
      assert.equal("cooldown", reports_of(ran)["tenant01.example"].outcome)
      assert.equal("client", reports_of(ran)["tenant01.example"].answered_by)
      assert.equal(before, #requests)
    end)

    it("goes on where an interrupted run ended, and repeats nothing that is done", function()
      local interrupted = false
      local world, service = new_world {
        on_request = function(_, number)
          interrupted = interrupted or number > 9
        end,
      }
      world.was_interrupted = function()
        return interrupted
      end
      local list, remove_list = command.file(names(20))
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

    it("says when it is in use", function()
      local state = assert(fleet_state.open { path = path })
      local ran = run("--state " .. path, names(1), (new_world()))
      state:close()
      assert.equal(2, ran.code)
      assert.matches("it is in use by another run", ran.err)
    end)
  end)

  it("without a state file says after an interrupt who is not told of", function()
    local world = new_world()
    local count = 0
    world.was_interrupted = function()
      count = count + 1
      return count > 3
    end
    local ran = run("--concurrency 1", names(20), world)
    assert.equal(130, ran.code)
    assert.matches("interrupted: tenants that are not told of were not begun with", ran.err)
  end)

  it("draws its progress where somebody watches, and takes it away", function()
    local world = new_world()
    world.is_terminal, world.terminal_width = true, 60
    local ran = run("", names(30), world)
    assert.matches("^\r", ran.err)
    assert.matches("\r +\r$", ran.err)
    assert.is_nil(ran.err:find "\27")
    for line in ran.err:gmatch "[^\r]+" do
      assert.is_true(#line < 60)
    end
    for args, env in pairs { ["--quiet"] = "", ["--json"] = "", [""] = "dumb" } do
      world = new_world()
      world.is_terminal, world.env.TERM = true, env
      assert.equal("", run(args, names(30), world).err)
    end
  end)
end)
