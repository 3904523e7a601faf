-- The example for OpenResty: what it tells of its tenants, whom it lets start a sync, and what it says when
-- something is missing.

local await = require "support.await"
local cjson = require "cjson"
local example_world = require "support.example_world"
local files = require "support.files"
local nginx_world = require "support.nginx_world"
local sentence = require "autopilot.base.sentence"
local shell = require "autopilot.cli.emulate.shell"

local named = example_world.named

local obstacle = nginx_world.obstacle()

describe("the example for OpenResty", function()
  if obstacle then
    return pending(obstacle)
  end

  local world

  --- A dictionaries.conf.
  local function dictionaries(of_store, of_tenants)
    local line = "lua_shared_dict autopilot_%s %s;\n"
    return line:format("store", of_store) .. line:format("tenants", of_tenants)
  end

  --- The rows of GET /tenants by tenant, and the whole answer.
  local function rows(query)
    local told = example_world.decoded(world.server:get("/tenants" .. (query or "")))
    local by_tenant = {}
    for _, row in ipairs(told.tenants) do
      by_tenant[row.tenant] = row
    end
    return by_tenant, told
  end

  describe("lists by GET /tenants", function()
    setup(function()
      world = example_world.start {
        tenants = {
          "new.example",
          "synced.example",
          "refused.example",
          "throttled.example",
          "noted.example",
          "repeated.example",
        },
        service = { duration = 0 },
      }
    end)

    teardown(function()
      local complaints = world.server:complaints()
      world:stop()
      assert.same({}, complaints)
    end)

    it("all tenants in the order of the list, even without any request yet", function()
      local _, told = rows()
      assert.equal("new.example", told.tenants[1].tenant)
      assert.equal("throttled.example", told.tenants[4].tenant)
      assert.same({
        tenant = "new.example",
        state = "stale",
        needs_attention = false,
      }, told.tenants[1])
    end)

    it("the time of the last request for a sync, and when the next one is possible", function()
      local before = os.time()
      world:sync "synced.example"
      local row = rows()["synced.example"]
      assert.equal("fresh", row.state)
      assert.is_true(row.last_trigger >= before and row.last_trigger <= os.time() + 1)
      assert.is_true(math.abs(row.next_possible - row.last_trigger - 610) < 1)
      assert.equal("started", row.last.outcome)
      assert.equal(204, row.last.status)
      assert.is_string(row.last.request_id)
    end)

    it("tenants that need attention, with a hint, until they succeed", function()
      world:inject { kind = "status", on = "sync", status = 403 }
      world:sync "refused.example"
      local row = rows()["refused.example"]
      assert.equal("needs_attention", row.state)
      assert.is_true(row.needs_attention)
      assert.equal("forbidden", row.last.outcome)
      assert.matches("Grant the application", row.last.hint)
      -- That the record can be read does not say that a sync would be accepted.
      world:ready "refused.example"
      assert.equal("needs_attention", rows()["refused.example"].state)
      world:sync "refused.example"
      assert.equal("fresh", rows()["refused.example"].state)
    end)

    it("a tenant whose sync may be old but cannot be repeated yet", function()
      world:inject { kind = "throttle", on = "sync", retry_after = 333 }
      assert.equal("throttled", world:sync("throttled.example").outcome)
      local row, told = rows()["throttled.example"], select(2, rows())
      assert.equal("cooling_down", row.state)
      assert.is_true(math.abs(row.next_possible - told.now - 333) < 20)
    end)

    it("with `since`, only the tenants with a newer note", function()
      local _, told = rows()
      world:sync "noted.example"
      local changed = rows(("?since=%.3f"):format(told.now))
      assert.is_table(changed["noted.example"])
      changed["noted.example"] = nil
      assert.same({}, changed)
    end)

    it("its own knowledge, without requests to the service", function()
      local function asked()
        return world:arrived "sync" + world:arrived "status" + world:arrived "token"
      end
      local before = asked()
      rows()
      world:history "synced.example"
      world.server:get "/"
      assert.equal(before, asked())
    end)

    it("and by GET /tenants/TENANT/history the last results, equal ones combined", function()
      for _ = 1, 4 do
        world:sync "repeated.example"
      end
      local history = world:history "repeated.example"
      assert.equal(2, #history)
      assert.equal("cooldown", history[1].outcome)
      assert.equal(3, history[1].times)
      assert.is_true(history[1].first_at <= history[1].at)
      assert.equal("started", history[2].outcome)
      local answer = world.server:get "/tenants/elsewhere.example/history"
      assert.equal(404, answer.status)
    end)

    it("under the portal's own host names only", function()
      local function status(path, host)
        return world.server:send("GET", path, { Host = host }):answer().status
      end
      for path in ("/ /tenants /tenants/new.example/history /metrics /ready/one"):gmatch "%S+" do
        assert.equal(421, status(path, "attacker.example"))
      end
      assert.equal(200, status("/ready", "attacker.example"))
      for host in ("localhost:8080 192.0.2.1 [2001:db8::1]:8080"):gmatch "%S+" do
        assert.equal(200, status("/metrics", host))
      end
    end)
  end)

  describe("starts a sync", function()
    setup(function()
      world = example_world.start { tenants = { "one.example" } }
    end)

    teardown(function()
      world:stop()
    end)

    local function status(headers)
      return world.server:post("/sync/one.example", headers).status
    end

    it("only with the header that pages of other sites cannot add", function()
      assert.equal(403, status {})
    end)

    it("not for a page of another site", function()
      for _, headers in ipairs {
        { ["Sec-Fetch-Site"] = "cross-site" },
        { ["Sec-Fetch-Site"] = "same-site" },
        { Origin = "https://attacker.example" },
        { Origin = "null" },
      } do
        headers["X-Requested-With"] = "spec"
        assert.equal(403, status(headers))
      end
    end)

    it("not under a foreign host name", function()
      local before = world:arrived "token"
      assert.equal(
        421,
        status {
          Host = "attacker.example",
          Origin = "http://attacker.example",
          ["X-Requested-With"] = "spec",
        }
      )
      assert.equal(before, world:arrived "token")
    end)

    it("for its own page, and for a program", function()
      for _, headers in ipairs {
        { Origin = "http://localhost", ["Sec-Fetch-Site"] = "same-origin" },
        { Origin = "http://localhost" },
        {},
      } do
        headers["X-Requested-With"] = "spec"
        assert.is_not.equal(403, status(headers))
      end
      assert.equal(1, world:arrived "sync")
    end)
  end)

  it("can be checked while it runs, before a reload", function()
    world = example_world.start { tenants = { "one.example" } }
    local function check(name, value)
      return world.server:try { PORTAL_CHECK = "yes", [name] = value }
    end
    local code, output = check("PORTAL_MAX_AGE", "60")
    assert.equal(0, code)
    assert.matches("the portal can start; it has 1 tenants\n", output)
    for _, case in ipairs {
      { "PORTAL_MAX_AGE", "often", "PORTAL_MAX_AGE must be " },
      { "PORTAL_MAX_AGE", "nan", "PORTAL_MAX_AGE must be " },
      { "LUA_PATH", "/nowhere/?.lua;;", "module 'autopilot.openresty' not found" },
      { "AUTOPILOT_BASE_URL", "ftp://x", "option 'base_url' must be" },
      { "AUTOPILOT_CA_FILE", "/nowhere", "'http.ca_file' cannot be read: /nowhere" },
      { "AZURE_CLIENT_SECRET", "", "cannot sign in: the environment names no way" },
      { "AZURE_CLIENT_ID", "", "cannot sign in: .* set AZURE_CLIENT_ID" },
      { "PORTAL_CLIENT_SECRET_FILE", "/nowhere", "cannot sign in: /nowhere: No such file" },
    } do
      code, output = check(case[1], case[2])
      assert.is_not.equal(0, code)
      assert.matches(case[3], output)
    end
    assert.equal(0, world:arrived "token")
    assert.equal(200, world.server:get("/ready").status)
    world:stop()
  end)

  it("keeps a long message as valid UTF-8", function()
    world = example_world.start { tenants = { "one.example" } }
    for shift = 1, 2 do
      local message = ("x"):rep(shift) .. (" nécessité"):rep(60)
      local body = cjson.encode { error = { code = "Forbidden", message = message } }
      world:inject { kind = "status", on = "status", status = 403, body = body }
      world:ready "one.example"
      local text = world.server:get("/tenants").body
      assert.matches("nécessité", text)
      assert.equal(text, sentence.valid(text))
    end
    world:stop()
  end)

  it("may have further names, those of a proxy in front of it", function()
    world = example_world.start {
      tenants = { "one.example" },
      environment = { PORTAL_HOSTS = "portal.example, other.example" },
    }
    local function status(host)
      return world.server:send("GET", "/tenants", { Host = host }):answer().status
    end
    assert.equal(200, status "Portal.example:8443")
    assert.equal(200, status "other.example")
    assert.equal(421, status "localhost")
    world:stop()
  end)

  it("does not start without the library, and says why", function()
    local _, message = pcall(example_world.start, {
      tenants = {},
      environment = { LUA_PATH = "/nowhere/?.lua;;" },
    })
    assert.matches("module 'autopilot.openresty' not found", tostring(message))
  end)

  it("logs at start which of its dictionaries are too small for the list", function()
    world = example_world.start {
      tenants = named(1000),
      dictionaries = dictionaries("3m", "3m"),
    }
    local expected = "autopilot_tenants has 3072 KB, and 1000 tenants need 8m: run `prepare`"
    assert.is_truthy(world.server:log():find(expected, 1, true))
    assert.same({}, world.server:complaints { "autopilot_tenants has" })
    world:stop()
  end)

  it("logs once a minute that a dictionary is full", function()
    world = example_world.start {
      tenants = named(100),
      keep_fresh_every = 0.05,
      dictionaries = dictionaries("3m", "32k"),
    }
    await("several looks", function()
      return world:metric 'autopilot_operations_total{operation="ensure",outcome="fresh"}' >= 300
    end)
    local _, times = world.server:log():gsub("autopilot_tenants is too small: ", "")
    assert.is_true(times >= 1 and times <= 2, times) -- one for each worker
    world:stop()
  end)

  it("has dictionaries for 3000 tenants after `prepare` has read the list", function()
    local list = "# of the spec\n\n" .. table.concat(named(3000), "\n") .. "\n"
    local text = example_world.dictionaries_for(list)
    assert.matches("the list has 3000%.", text)
    assert.is_true(tonumber(text:match "autopilot_store (%d+)m;") >= 6)
    assert.is_true(tonumber(text:match "autopilot_tenants (%d+)m;") >= 24)
  end)

  it("is not linked into its own copy by `prepare`", function()
    local folder, remove = files.folder()
    local script = 'mkdir "$1/portal" && examples/openresty/prepare "$1" 2>&1; ls "$1/portal"'
    local said = shell.read(script, folder)
    remove()
    assert.equal(("prepare: %s/portal is a copy of the program: remove it\n"):format(folder), said)
  end)

  it("serves its dashboard with a policy that allows no other scripts", function()
    world = example_world.start { tenants = { "one.example" } }
    local first, second = world.server:get "/", world.server:get "/"
    world:stop()
    assert.equal("text/html; charset=utf-8", first.headers["content-type"])
    local policy = first.headers["content-security-policy"]
    assert.is_truthy(policy:find("default-src 'none'", 1, true))
    assert.is_nil(policy:find("unsafe", 1, true))
    local nonce = policy:match "script%-src 'nonce%-([^']+)'"
    assert.is_true(#nonce >= 22)
    assert.is_truthy(first.body:find(('<script nonce="%s">'):format(nonce), 1, true))
    assert.is_nil(second.headers["content-security-policy"]:find(nonce, 1, true))
    -- One file: nothing is fetched but the portal's own JSON.
    assert.is_nil(first.body:find "src=" or first.body:find "@import" or first.body:find "//%w+%.")
  end)
end)
