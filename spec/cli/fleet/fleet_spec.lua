-- `autopilot-sync fleet`: lists, ways to sign in, operations, what is printed.

local command = require "support.command"
local files = require "support.files"
local fleet_command = require "support.fleet_command"
local scripted = require "autopilot.transport.scripted"

local secret = fleet_command.secret
local new_world, run, names = fleet_command.world, fleet_command.run, fleet_command.names
local reports_of, syncs_of = fleet_command.reports, fleet_command.syncs

describe("autopilot-sync fleet", function()
  it("asks for a sync of every tenant in a list, and reports the results", function()
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

  it("names the failed tenants with a hint, and ends in 9", function()
    local world = new_world {
      tenants = { good = {}, bad = { licensed = false }, ["a-bad"] = { licensed = false } },
    }
    local ran = run("", "bad\ngood\na-bad\n", world)
    assert.equal(9, ran.code)
    assert.equal("", ran.err)
    assert.equal(
      "not_licensed: The tenant has no Intune licence, or Intune is not its MDM authority.\n"
        .. "  a-bad  Request not applicable to target tenant.\n"
        .. "  bad  Request not applicable to target tenant.\n"
        .. "\n"
        .. "not_licensed             2\n"
        .. "started                  1\n"
        .. "in all                   3  in 0 s\n",
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
    local pieces = { "a.exa", "mple\nb.example" }
    world.stdin = {
      read = function()
        return table.remove(pieces, 1)
      end,
    }
    local ran = command.run("fleet -", world)
    assert.equal("", ran.err)
    assert.same({ ["a.example"] = 1, ["b.example"] = 1 }, syncs_of(service))
  end)

  describe("signs in", function()
    local path, remove

    before_each(function()
      path, remove = files.temporary "hidden-other\n"
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

    it("with the secrets of the lines only, if all lines have one", function()
      local world = new_world()
      world.env = {}
      local line = '{"tenant":"a.example","client_id":"other","client_secret_file":"'
        .. path
        .. '"}'
      local ran = run("", line .. "\n", world)
      assert.equal("", ran.err)
      assert.equal(0, ran.code)
    end)

    it("with the secret of a line even if the others sign in in another way", function()
      local world, service = new_world()
      world.env = { AZURE_CLIENT_ID = "other" }
      local ran = run(
        "--json --auth workload --token-file " .. path,
        "tenant,client_secret_file\na.example," .. path .. "\nb.example,\n",
        world
      )
      assert.same({ ["a.example"] = 1 }, syncs_of(service))
      assert.equal("token_error", reports_of(ran)["b.example"].outcome)
    end)

    it("but reports a tenant whose secret cannot be read, and goes on with the others", function()
      local world, service = new_world()
      local ran = run(
        "--json",
        "tenant,client_id,client_secret_file\na.example,other,/nowhere/secret\nb.example,,\n",
        world
      )
      assert.equal(9, ran.code)
      local report = reports_of(ran)["a.example"]
      assert.equal("token_error", report.outcome)
      assert.equal("no", report.delivered)
      assert.matches(
        "line 2: client_secret_file cannot be used: /nowhere/secret",
        report.error.message
      )
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
      assert.matches("no way to sign in is given: choose one with %-%-auth", mistake "")
    end)

    it("a token, which belongs to one tenant", function()
      local pattern = "is the token of one tenant, and there are many: choose how to sign in"
      assert.matches("^AUTOPILOT_TOKEN " .. pattern, mistake("", nil, { AUTOPILOT_TOKEN = "t" }))
      assert.matches("^%-%-token%-file " .. pattern, mistake "--token-file x")
    end)

    it("the identity of this machine, which belongs to one tenant", function()
      local sentence = "--auth managed signs in to the tenant of this machine alone, and there are "
        .. "many: choose another way with --auth"
      assert.equal(sentence, mistake "--auth managed")
      assert.equal(sentence, mistake("--auth managed --client-id identity", "a.example\n"))
    end)

    it("a list that cannot be read, or is empty", function()
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

    it("options that contradict each other", function()
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

    it("a state file that is another kind of file", function()
      local path, remove = files.temporary "some text\n"
      assert.matches("the state file .* no state file", mistake("--state " .. path, nil, app))
      remove()
    end)
  end)

  describe("with --operation", function()
    it("status only reads", function()
      local world, service = new_world()
      local ran = run("--operation status --json", names(2), world)
      assert.equal(0, ran.code)
      assert.equal("unknown", reports_of(ran)["tenant01.example"].sync_status)
      assert.same({}, syncs_of(service))
      ran = run("--operation status", names(2), world)
      assert.matches("^read +2\n", ran.out)
    end)

    it("ensure starts what is needed, and reports what is done as fresh", function()
      local world, service = new_world()
      service:trigger "tenant01.example"
      world.sleep(5)
      local ran = run("--operation ensure --max-age 60 --json", names(2), world)
      local reports = reports_of(ran)
      assert.equal("fresh", reports["tenant01.example"].outcome)
      assert.equal("completed", reports["tenant02.example"].outcome)
      assert.same({ ["tenant01.example"] = 1, ["tenant02.example"] = 1 }, syncs_of(service))
    end)

    it("ensure uses the time in a tenant's line", function()
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

    it("wait skips a line whose time is in the future", function()
      local world = new_world()
      local ran = run("--operation wait", "tenant,since\na.example,99999999999\n", world)
      assert.equal(9, ran.code)
      assert.matches("line 2: since must not be in the future", ran.err)
    end)
  end)

  it("reports the tenants that were not begun before the deadline", function()
    local pass
    local world, service = new_world {
      on_request = function()
        pass(3)
      end,
    }
    pass = world.sleep
    local ran = run("--json --deadline 10 --concurrency 1", names(9), world)
    local reports, order = reports_of(ran)
    local started, count = syncs_of(service), 0
    assert.equal(9, #order)
    assert.equal(9, ran.code)
    for tenant, report in pairs(reports) do
      assert.equal(report.ok, started[tenant] ~= nil)
      count = count + (report.ok and 1 or 0)
    end
    assert.is_true(count >= 1 and count <= 3)
    assert.matches("No sync was requested: the deadline passed", ran.out)
  end)

  it("checks for an interrupt five times a second, also during a long sleep", function()
    local world = new_world { faults = { { kind = "throttle", on = "sync", retry_after = 60 } } }
    local pass, longest = world.sleep, 0
    world.sleep = function(seconds)
      longest = math.max(longest, seconds)
      pass(seconds)
    end
    assert.equal(0, run("", names(1), world).code)
    assert.is_true(longest > 0.1 and longest <= 0.2)
  end)

  it("draws its progress on a terminal, and erases it", function()
    local world = new_world()
    world.is_terminal, world.terminal_width = true, 60
    local ran = run("", names(30), world)
    assert.matches("^\r%[[#-]+%] %d+/~?%d+, 0 failed", ran.err)
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
