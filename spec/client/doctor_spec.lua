-- `client:doctor`: what it finds, that it names the first fault, and that it starts no sync.

local base64url = require "autopilot.base.base64url"
local cjson = require "cjson"
local memory_store = require("autopilot.store").memory
local virtual_world = require "support.virtual_world"

local names = "name_resolution proxy connection tls service clock sign_in token permission licence "
  .. "last_sync cooldown store"

local function jwt(claims)
  return ("e30.%s.c2lnbmF0dXJl"):format(base64url.encode(cjson.encode(claims)))
end

--- The checks of a report by name, and their names in order.
local function checks_of(report)
  local by_name, list = {}, {}
  for index, check in ipairs(report.checks) do
    by_name[check.name], list[index] = check, check.name
    assert.truthy(check.text ~= "", check.name)
    assert.truthy(check.advice or (check.state ~= "wrong" and check.state ~= "warning"), check.text)
  end
  return by_name, table.concat(list, " ")
end

--- Examines a client of an emulated service. Returns the report, its checks, and the service.
local function examine(emulated, options, given)
  local world = virtual_world.new(given)
  local client, service = world:emulated(emulated, options)
  if given and given.before then
    given.before(client, world, service)
  end
  local report, failure = client:doctor()
  assert.equal((report or failure).ok, report ~= nil)
  assert.equal("doctor", (report or failure).operation)
  local checks, list = checks_of(report or failure)
  assert.equal(names, list)
  assert.equal(0, service.requests.sync)
  return report or failure, checks, service
end

--- Asserts which check is the first that is wrong, what it says, and that the failure names it.
local function assert_fault(name, text, report, checks)
  local check = checks[name]
  assert.equal("wrong", check.state, check.text)
  assert.matches(text, check.text)
  assert.is_false(report.ok)
  assert.equal(check.advice, report.hint)
  assert.equal(check.title .. ": " .. check.text, report.error.message)
  assert.truthy(tostring(report):find(check.title, 1, true))
end

describe("client:doctor", function()
  it("finds no fault where a sync would start, with two requests that only read", function()
    local report, checks, service = examine()
    assert.is_true(report.ok)
    assert.equal(2, service.requests.status)
    for name, check in pairs(checks) do
      local is_told = not (name == "name_resolution" or name == "proxy" or name == "tls")
      assert.equal(is_told and "ok" or "skipped", check.state, name)
    end
    assert.equal(401, report.requests[1].status)
    assert.truthy(report.requests[1].headers["date"])
    assert.equal(200, report.requests[2].status)
    assert.equal(report.requests[2].request_id, report.request_id)
  end)

  it("tells the last sync, and the time until the next one", function()
    local _, checks = examine({ duration = 5 }, nil, {
      before = function(_, world, service)
        service:trigger "contoso"
        world:pass(60)
      end,
    })
    assert.matches(
      "^completed; last sync: .* ago%); last trigger: .* %(59 s ago%)$",
      checks.last_sync.text
    )
    assert.matches("^a sync is possible in 9 min 1%d s, at 2026%-01%-01T", checks.cooldown.text)
  end)

  it("warns of a failed sync, which is not a fault of this set-up", function()
    local report, checks = examine(nil, nil, {
      before = function(_, world, service)
        service:trigger("contoso", { failed = true })
        world:pass(3600)
      end,
    })
    assert.is_true(report.ok)
    assert.equal("warning", checks.last_sync.state)
    assert.matches("^failed;", checks.last_sync.text)
  end)

  it("warns of a sync that may be stuck", function()
    local report, checks = examine(nil, nil, {
      before = function(_, world, service)
        service:trigger("contoso", { duration = 9000 })
        world:pass(4321)
      end,
    })
    assert.is_true(report.ok)
    assert.equal("warning", checks.last_sync.state)
    assert.matches("^in_progress;", checks.last_sync.text)
    assert.matches("none has completed since", checks.last_sync.advice)
  end)

  it("compares the clocks, and continues if they differ", function()
    for ahead, told in pairs {
      [0] = { "ok", "^the same" },
      [30] = { "ok", "^29 s behind" },
      [-90] = { "warning", "^1 min 2%d s ahead of" },
      [-3600] = { "wrong", "^59 min 5%d s ahead of" },
      [3600] = { "wrong", "^59 min 59 s behind" },
    } do
      local report, checks = examine(nil, nil, { ahead = ahead })
      assert.equal(told[1], checks.clock.state, ahead)
      assert.matches(told[2], checks.clock.text)
      assert.equal("ok", checks.permission.state)
      assert.equal(told[1] ~= "wrong", report.ok)
    end
  end)

  it("says by which clock a token has expired that its provider vouches for", function()
    local _, checks = examine(nil, {
      token = function()
        return jwt { exp = 1 }, 3600
      end,
    })
    assert.equal("ok", checks.token.state)
    assert.matches("expired %d+ d %d+ h ago by this machine's clock", checks.token.text)
  end)

  it("names the failed check of the network, and skips those behind it", function()
    for stage, name in pairs {
      resolve = "name_resolution",
      proxy = "proxy",
      connect = "connection",
      tls = "tls",
      send = "service",
      receive = "service",
    } do
      local client = virtual_world.new():scripted {
        { network = { stage = stage, message = "it is broken" } },
      }
      local _, report = client:doctor()
      local checks = checks_of(report)
      assert_fault(name, "it is broken", report, checks)
      assert.equal("skipped", checks.clock.state)
      assert.matches(
        ("^not checked, because '%s' is wrong$"):format(checks[name].title),
        checks.token.text
      )
      assert.equal("ok", checks.store.state)
    end
  end)

  it("names the service where a transport does not tell the stage", function()
    local client = virtual_world.new():client {
      transport = function()
        return nil, { stage = "", message = "broken", delivered = "unknown" }
      end,
    }
    local checks = checks_of(select(2, client:doctor()))
    assert.equal("wrong", checks.service.state)
    assert.equal("skipped", checks.sign_in.state)
  end)

  it("says that a request with a lost answer was sent, and does not mention a sync", function()
    local network = { stage = "receive", message = "it is broken", delivered = "unknown" }
    local _, report = virtual_world.new():scripted({ { network = network } }):doctor()
    assert.matches("^The connection broke, or the time was over", report.hint)
    network.stage = "tls"
    _, report = virtual_world.new():scripted({ { network = network } }):doctor()
    assert.matches("^The connection could not be made secure", report.hint)
  end)

  it("says that its deadline has passed, not that a permission is missing", function()
    for name, title in pairs { token = "sign_in", status = "permission" } do
      local world = virtual_world.new()
      local client = world:emulated(nil, {
        token = function()
          world:pass(name == "status" and 5 or 0)
          if name == "token" then
            world:pass(6)
            return nil, "it took too long", { is_transient = true }
          end
          return "good"
        end,
      })
      local _, report = client:doctor { deadline = 5 }
      local checks = checks_of(report)
      assert_fault(title, name == "token" and "too long" or "the deadline passed", report, checks)
      assert.matches("allow more time", report.hint)
      assert.equal("not checked, because the deadline has passed", checks.licence.text)
    end
  end)

  it("says which server answered instead of the service", function()
    for _, answer in ipairs {
      { status = 200, body = "<html><title>Please sign in</title></html>" },
      { status = 302, headers = { location = "https://portal.test/x" } },
      { status = 403, body = "<html><title>Blocked</title></html>" },
    } do
      answer.intermediary = true
      local client = virtual_world.new():scripted { answer }
      local _, report = client:doctor()
      assert_fault("service", "HTTP " .. answer.status, report, (checks_of(report)))
    end
  end)

  it("says why there is no token, with the token endpoint's answer", function()
    local report, checks = examine(nil, {
      token = function()
        return nil,
          "the secret has expired",
          { code = "invalid_client", correlation_id = "c-1", retry_after = 5, is_transient = true }
      end,
    })
    assert_fault("sign_in", "the secret has expired", report, checks)
    assert.equal("skipped", checks.token.state)
    assert.equal("c-1", report.requests[2].error.correlation_id)
    for _, name in ipairs { "delivered", "sends", "free_at", "is_transient" } do
      assert.is_nil(report.requests[2][name], name)
    end
  end)

  it("says why a token must not be sent", function()
    local tenant = "11111111-2222-3333-4444-555555555555"
    local audience, roles =
      "https://graph.microsoft.com", { "DeviceManagementServiceConfig.ReadWrite.All" }
    local now = virtual_world.start
    for text, claims in pairs {
      ["is of the tenant aaaaaaaa"] = { tid = "aaaaaaaa-2222-3333-4444-555555555555" },
      ["is for https://vault"] = { tid = tenant, aud = "https://vault.azure.net" },
      ["has expired"] = { tid = tenant, aud = audience, exp = now - 60 },
    } do
      local report, checks, service = examine(nil, { tenant = tenant, token = jwt(claims) })
      assert_fault("token", text, report, checks)
      assert.equal("ok", checks.sign_in.state)
      assert.equal("skipped", checks.permission.state)
      assert.equal(1, service.requests.status)
    end
    local text = { aud = audience, tid = tenant, appid = "app", roles = roles, exp = now + 60.25 }
    local _, checks = examine(nil, { tenant = tenant, token = jwt(text) })
    assert.equal(
      ("of the application app, tenant %s, audience %s, roles %s, expires in 1 min"):format(
        tenant,
        audience,
        roles[1]
      ),
      checks.token.text
    )
  end)

  it("says which permission is missing, according to the token or the service", function()
    local report, checks = examine(nil, { token = jwt { roles = { "Device.Read.All" } } })
    assert_fault("permission", "DeviceManagementServiceConfig.ReadWrite.All", report, checks)
    assert.equal("ok", checks.token.state)
    local tokens = { good = { tenant = "contoso", roles = { "Device.Read.All" } } }
    report, checks = examine { tokens = tokens }
    assert_fault("permission", "%(HTTP 403%)", report, checks)
    assert.equal("skipped", checks.licence.state)
  end)

  it("tells a tenant without a licence from a missing permission", function()
    local client = virtual_world.new():scripted {
      { status = 401, headers = { ["request-id"] = "r-1" } },
      { status = 400, body = '{"error":{"message":"Request not applicable to target tenant."}}' },
    }
    local _, report = client:doctor()
    local checks = checks_of(report)
    assert_fault("licence", "not applicable", report, checks)
    assert.equal("ok", checks.permission.state)
    assert.equal("skipped", checks.cooldown.state)
  end)

  it("sends nothing before a Retry-After is over", function()
    local client, transport = virtual_world.new():scripted {
      { status = 429, headers = { ["retry-after"] = 30, ["request-id"] = "r-1" } },
    }
    local report = assert(client:doctor())
    local checks = checks_of(report)
    assert.equal("warning", checks.service.state)
    assert.equal("warning", checks.permission.state)
    assert.equal("not checked, because the record could not be read", checks.licence.text)
    checks = checks_of(assert(client:doctor()))
    assert.equal(
      "not checked, because the service has asked to be left alone for 30 s",
      checks.connection.text
    )
    assert.equal(1, #transport.requests)
  end)

  it("writes a value to the store, removes it, and reports the store's error", function()
    local store, kept = memory_store {}, {}
    local add = store.add
    function store.add(self, key, value, ttl)
      kept[#kept + 1] = key
      return add(self, key, value, ttl)
    end
    local report, checks = examine(nil, { store = store })
    assert.is_true(report.ok)
    assert.matches("^can be written and read", checks.store.text)
    assert.is_nil(store:get(kept[1]))
    function store.add()
      return nil, "the disk is full"
    end
    report, checks = examine(nil, { store = store })
    assert_fault("store", "the disk is full", report, checks)
    assert.equal("ok", checks.cooldown.state)
  end)

  it("shows no secret that the service repeats, and no cookie", function()
    local secret = "a-token-of-many-characters"
    local client = virtual_world.new():scripted({
      { status = 401, headers = { ["request-id"] = "r", ["set-cookie"] = "id=cookie-secret" } },
      { status = 403, body = ('{"error":{"message":"no: %s"}}'):format(secret) },
    }, { token = secret })
    local _, report = client:doctor()
    local text = cjson.encode { report.checks, report.requests, tostring(report) }
    assert.is_nil(text:find(secret, 1, true))
    assert.is_nil(text:find("cookie-secret", 1, true))
  end)

  it("raises for a caller's mistake only", function()
    local client = virtual_world.new():emulated()
    assert.has_error(function()
      client:doctor { deadlin = 5 }
    end)
    client:close()
    local _, message = pcall(client.doctor, client)
    assert.matches("client:doctor: the client is closed", message)
  end)
end)
