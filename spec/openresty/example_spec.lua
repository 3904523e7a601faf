-- examples/openresty, the files that users start from, in real nginx with the emulated service behind them.

local await = require "support.await"
local certificates = require "support.certificates"
local database_server = require "support.database_server"
local emulated_service = require "support.emulated_service"
local example_world = require "support.example_world"
local files = require "support.files"
local name_server = require "support.name_server"
local nginx_world = require "support.nginx_world"

local obstacle = nginx_world.obstacle()

describe("the example for OpenResty", function()
  if obstacle then
    return pending(obstacle)
  end

  local world

  --- Ends the world of a test; its log may contain only expected lines, and never the secret.
  local function finish(expected)
    local complaints, log = world.server:complaints(expected), world.server:log()
    local secret = world.service.client_secret
    world:stop()
    assert.same({}, complaints)
    assert.is_nil(log:find(secret, 1, true))
  end

  describe("answers POST /sync/TENANT", function()
    setup(function()
      world = example_world.start {
        tenants = { "one.example", "two.example", "busy.example", "slow.example", "off.example" },
      }
    end)

    teardown(function()
      finish()
    end)

    it("with 202 and the report when a sync was started, then with 429 and Retry-After", function()
      local report, answer = world:sync "one.example"
      assert.equal(202, answer.status)
      assert.equal("application/json", answer.headers["content-type"])
      assert.equal("no-store", answer.headers["cache-control"])
      assert.equal("started", report.outcome)
      assert.equal("one.example", report.tenant)
      assert.equal(1, #report.attempts)
      local before = world:arrived "sync"
      for _ = 1, 10 do -- whichever worker is asked
        local refused, again = world:sync "one.example"
        assert.equal("cooldown", refused.outcome)
        assert.equal(429, again.status)
        local seconds = tonumber(again.headers["retry-after"])
        assert.is_true(seconds > 590 and seconds <= 611, again.headers["retry-after"])
      end
      assert.equal(before, world:arrived "sync")
    end)

    it("with 409 while another client's sync is running", function()
      world.service:control("POST", "trigger", { tenant = "busy.example", duration = 300 })
      local report, answer = world:sync "busy.example"
      assert.equal("in_progress", report.outcome)
      assert.equal(409, answer.status)
    end)

    it(
      "with 429 or 503 and the service's own Retry-After when it wants to be left alone",
      function()
        world:inject { kind = "throttle", on = "sync", retry_after = 333 }
        local report, answer = world:sync "two.example"
        assert.equal("throttled", report.outcome)
        assert.equal(429, answer.status)
        assert.equal("333", answer.headers["retry-after"])
        world:inject {
          kind = "status",
          on = "sync",
          status = 503,
          headers = { ["retry-after"] = "222" },
        }
        report, answer = world:sync "slow.example"
        assert.equal("unavailable", report.outcome)
        assert.equal(503, answer.status)
        assert.equal("222", answer.headers["retry-after"])
      end
    )

    it("with 502 when the service refuses the portal's credentials", function()
      world:inject { kind = "status", on = "sync", status = 403 }
      local report, answer = world:sync "off.example"
      assert.equal("forbidden", report.outcome)
      assert.equal(502, answer.status)
      assert.is_string(report.hint)
    end)

    it(
      "with 404 for a tenant that is not the portal's, and 405 for a GET; nobody is asked",
      function()
        local before = world:arrived "token"
        assert.equal(404, select(2, world:sync "elsewhere.example").status)
        local answer = world.server:get "/sync/one.example"
        assert.equal(405, answer.status)
        assert.equal("POST", answer.headers.allow)
        assert.equal(before, world:arrived "token")
      end
    )
  end)

  it(
    "posts once for 60 requests at once over its workers, and tells all of them the truth",
    function()
      world = example_world.start { tenants = { "one.example" } }
      world:inject { kind = "slow_answer", on = "sync", seconds = 0.5 }
      local calls, counts = {}, {}
      for index = 1, 60 do
        calls[index] = world:begin_sync "one.example"
      end
      for _, call in ipairs(calls) do
        local report, answer = example_world.decoded(call:answer())
        local key = ("%d %s"):format(answer.status, tostring(report.outcome))
        counts[key] = (counts[key] or 0) + 1
      end
      assert.same({ ["202 started"] = 60 }, counts)
      assert.equal(1, world:arrived "sync")
      finish()
    end
  )

  it("finishes and counts what a disconnected caller began", function()
    world = example_world.start { tenants = { "one.example" } }
    world:inject { kind = "slow_answer", on = "sync", seconds = 0.5 }
    local call = world:begin_sync "one.example"
    await("the request", function()
      return world:arrived "sync" == 1
    end)
    call:abort()
    await("its outcome", function()
      return world:metric 'autopilot_operations_total{operation="sync",outcome="started"}' == 1
    end)
    assert.equal(1, world:count("one.example", "sync", "started"))
    finish()
  end)

  it("says by GET /ready/TENANT whether a sync would be accepted now", function()
    world = example_world.start { tenants = { "one.example" } }
    local report, answer = world:ready "one.example"
    assert.equal(200, answer.status)
    assert.is_true(report.ready)
    world:sync "one.example"
    report, answer = world:ready "one.example"
    assert.equal(503, answer.status)
    assert.is_false(report.ready)
    assert.is_true(tonumber(answer.headers["retry-after"]) > 590)
    assert.equal(404, world.server:get("/ready/elsewhere.example").status)
    assert.equal(200, world.server:get("/ready").status)
    finish()
  end)

  it("is not ready without tenants, and a reload reads them again, losing no metric", function()
    world = example_world.start { tenants = { "# none" } }
    assert.equal(503, world.server:get("/ready").status)
    assert.equal(404, select(2, world:sync "new.example").status)
    local file = assert(io.open(world.server.folder .. "/tenants.txt", "w"))
    file:write "new.example\n"
    file:close()
    world.server:reload()
    assert.equal(200, world.server:get("/ready").status)
    assert.equal(202, select(2, world:sync "new.example").status)
    local started = 'autopilot_operations_total{operation="sync",outcome="started"}'
    assert.equal(1, world:metric(started))
    world.server:reload()
    assert.equal(1, world:metric(started))
    -- The new workers know of the cooldown, too.
    assert.equal(429, select(2, world:sync "new.example").status)
    assert.equal(1, world:arrived "sync")
    finish()
  end)

  it("keeps its knowledge after a crash of a worker", function()
    world = example_world.start { tenants = { "one.example" } }
    assert.equal(202, select(2, world:sync "one.example").status)
    for _, worker in ipairs(world.server:workers()) do
      world.server:kill_worker(worker)
    end
    assert.equal(429, select(2, world:sync "one.example").status)
    assert.equal(1, world:arrived "sync")
    finish { "worker process %d+ exited on signal 9" }
  end)

  it(
    "tells of a file that its workers cannot read, and looks after its tenants as before",
    function()
      local service = emulated_service.start()
      local copy, remove = files.temporary(files.read(service.ca_file))
      world = example_world.start {
        beside = { service = service },
        tenants = { "one.example" },
        keep_fresh_every = 1,
        environment = { AUTOPILOT_CA_FILE = copy },
      }
      assert.equal(200, world.server:get("/ready").status)
      remove()
      for _, worker in ipairs(world.server:workers()) do
        world.server:kill_worker(worker)
      end
      local function assert_told(answered)
        local report, answer = example_world.decoded(answered)
        assert.equal(503, answer.status)
        local told = "^autopilot.client: option 'http.ca_file' cannot be read: "
        assert.matches(told, report.error.message)
      end
      assert_told(world.server:get "/ready")
      assert_told(world.server:get "/ready/one.example")
      assert_told(world:begin_sync("one.example"):answer())
      await("a look", function()
        return world:count("one.example", "ensure", "unexpected") > 0
      end)
      finish { "^%s", "^stack traceback", "init_worker_by_lua error", "exited on signal 9" }
    end
  )

  it("finds the library by LUA_PATH even if a module reads the environment early", function()
    local perl = "/usr/lib/nginx/modules/ngx_http_perl_module.so"
    if not files.read(perl) then
      return pending "nginx's module for Perl is not installed"
    end
    local text = files.read "examples/openresty/nginx.conf"
    world = example_world.start {
      configuration = ("load_module %s;\n%s"):format(perl, text),
      tenants = { "one.example" },
    }
    assert.equal(200, world.server:get("/ready").status)
    finish()
  end)

  it("acts as one portal on two hosts that have one Redis", function()
    local missing = database_server.obstacle "Redis"
    if missing then
      return pending(missing)
    end
    local redis = database_server.start "Redis"
    local environment = { PORTAL_STORE = redis:options().url }
    local tenants = { "one.example" }
    world = example_world.start { tenants = tenants, environment = environment }
    local other = example_world.start {
      tenants = tenants,
      environment = environment,
      beside = world,
    }
    assert.equal(202, select(2, world:sync "one.example").status)
    local refused, answer = other:sync "one.example"
    assert.equal("cooldown", refused.outcome)
    assert.equal(429, answer.status)
    assert.equal(1, world:arrived "sync")
    other.server:stop()
    redis:remove()
    finish()
  end)

  it("finds its Redis by name when its lines for that are enabled", function()
    local missing = database_server.obstacle "Redis"
    if missing then
      return pending(missing)
    end
    local names, certificate = name_server(), certificates.make()
    local redis = database_server.start "Redis"
    local configuration, changes = files.read("examples/openresty/nginx.conf"):gsub(
      "\n  #(resolver) [^;]+;",
      ("\n  %%1 127.0.0.1:%d ipv6=off;"):format(names.port)
    )
    assert.equal(1, changes)
    configuration, changes = configuration:gsub(
      "\n  #(lua_ssl_trusted_certificate) [^;]+;",
      "\n  %1 " .. certificate.ca .. ";"
    )
    assert.equal(1, changes)
    world = example_world.start {
      configuration = configuration,
      tenants = { "one.example" },
      environment = { PORTAL_STORE = redis:options().url:gsub("127%.0%.0%.1", "redis.example") },
    }
    local call = world:begin_sync "one.example"
    assert.equal("redis.example", names:answer_one())
    assert.equal(202, call:answer().status)
    assert.equal(0, world:metric "autopilot_store_failures_total")
    names:close()
    redis:remove()
    certificates.remove(certificate)
    finish()
  end)

  it("does not start, and says why, with wrong settings", function()
    for value, name in pairs {
      ["often"] = "PORTAL_MAX_AGE",
      ["postgresql://db.example"] = "PORTAL_STORE",
      ["redis://me:secret-word@host:0"] = "PORTAL_STORE",
    } do
      local _, message =
        pcall(example_world.start, { tenants = {}, environment = { [name] = value } })
      assert.matches(name .. " must be ", tostring(message))
      assert.is_nil(tostring(message):find("secret-word", 1, true))
    end
    local _, message = pcall(example_world.start, { tenants = { "one.example", "not a tenant" } })
    assert.matches("line 2 of the list of tenants is not a tenant", tostring(message), 1, true)
  end)
end)

-- What the page on OpenResty does not print: the rest of nginx's configuration (`$PRIVATE` too), and where
-- the service is.
local before_page = [[
include modules-enabled/*.conf;
daemon off;
pid nginx.pid;
error_log stderr warn;
worker_processes 2;
events {}
env AUTOPILOT_BASE_URL;
env AUTOPILOT_CA_FILE;
env AZURE_AUTHORITY_HOST;
]]
local where_the_service_is = [[
      base_url = os.getenv "AUTOPILOT_BASE_URL",
      http = { ca_file = os.getenv "AUTOPILOT_CA_FILE" },
]]

describe("the configuration in doc/openresty.md", function()
  if obstacle then
    return pending(obstacle)
  end

  it("works as it is printed", function()
    local file = assert(io.open "doc/openresty.md")
    local printed = file:read("*a"):match "```nginx\n(.-)```"
    file:close()
    local adapted, changes = printed
      :gsub("127%.0%.0%.1:8080", "127.0.0.1:$PORT")
      :gsub("\nhttp {\n", "%0  $PRIVATE\n")
      :gsub("(client = autopilot%.client {\n)", function(line)
        return line .. where_the_service_is
      end)
    assert.equal(1, changes)
    local world = example_world.start { configuration = before_page .. adapted, tenants = {} }
    local first, second = world.server:get("/sync").body, world.server:get("/sync").body
    local complaints, posts = world.server:complaints(), world:arrived "sync"
    world:stop()
    assert.matches("^sync contoso.onmicrosoft.com: started", first)
    assert.matches("^sync contoso.onmicrosoft.com: cooldown, again in 6%d%d s", second)
    assert.equal(1, posts)
    assert.same({}, complaints)
  end)
end)
