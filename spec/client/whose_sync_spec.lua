-- The tenant of a report is the one that was asked, and an unusable token is reported
-- before any request.

local autopilot = require "autopilot"
local base64url = require "autopilot.base.base64url"
local cjson = require "cjson"
local mistakes = require "support.mistakes"
local overlay = require "support.overlay"

local now = 1767225600
local ours, theirs = "a1111111-2222-3333-4444-555555555555", "b1111111-2222-3333-4444-555555555555"
local needed = "DeviceManagementServiceConfig.ReadWrite.All"

local function jwt(changes)
  local claims = {
    aud = "https://graph.microsoft.com",
    tid = ours,
    roles = { needed },
    exp = now + 3600,
  }
  for name, value in pairs(changes or {}) do
    claims[name] = value ~= "none" and value or nil
  end
  return ("e30.%s.c2lnbmF0dXJl"):format(base64url.encode(cjson.encode(claims)))
end

--- A service that answers every request with success; the requests that it got.
local function service()
  local requests = {}
  return function(request)
    requests[#requests + 1] = request
    if request.method == "POST" then
      return { status = 204, headers = {} }
    end
    local record = '{"syncStatus":"completed","lastSyncDateTime":"2026-01-01T00:00:00Z",'
      .. '"lastManualSyncTriggerDateTime":"2026-01-01T00:00:00Z"}'
    return { status = 200, headers = {}, body = record }
  end,
    requests
end

--- A client whose service answers every request with success.
local function client_of(given)
  local transport, requests = service()
  local options = {
    transport = transport,
    sleep = function() end,
    now = function()
      return now
    end,
  }
  return autopilot.client(overlay(options, given)), requests
end

--- The result of a sync with that token, and how many requests were sent.
local function sync_with(token, given)
  local client, requests = client_of(overlay({ token = token }, given))
  local report, failure = client:sync()
  return report or failure, #requests
end

local function assert_refused(code, said, token, given)
  local failure, sent = sync_with(token, given)
  assert.equal(0, sent)
  assert.is_false(failure.ok)
  assert.equal("token_error", failure.outcome)
  assert.equal("no", failure.delivered)
  assert.equal("client", failure.answered_by)
  assert.equal(code, failure.error.code)
  for _, text in ipairs(type(said) == "table" and said or { said }) do
    assert.is_truthy(failure.error.message:find(text, 1, true), failure.error.message)
  end
  assert.is_string(failure.hint)
  assert.is_nil(failure.tenant_id)
  assert.is_nil(failure.is_transient)
  return failure
end

describe("a report", function()
  it("names the tenant of the token that was sent, and the caller's name for it", function()
    for _, token in ipairs {
      jwt(),
      function()
        return jwt(), 3600
      end,
    } do
      local report = sync_with(token)
      assert.equal("started", report.outcome)
      assert.same({ ours, ours }, { report.tenant, report.tenant_id })
      report = sync_with(token, { tenant = "contoso.com" })
      assert.same({ "contoso.com", ours }, { report.tenant, report.tenant_id })
      local line = "sync contoso.com: started (tenant id " .. ours .. ", HTTP 204"
      assert.equal(1, (tostring(report):find(line, 1, true)))
    end
  end)

  it("names it for every operation", function()
    for _, operation in ipairs { "status", "ensure", "wait", "sync" } do
      local client = client_of { token = jwt() }
      local report, failure = client[operation](client)
      local told = report or failure
      assert.same({ ours, ours }, { told.tenant, told.tenant_id }, operation)
    end
  end)

  it("names none if the token is opaque or has no tenant, which is no failure", function()
    for _, token in ipairs { "opaque", jwt { tid = "none" }, "e30.e30.x", jwt { tid = {} } } do
      local report = sync_with(token)
      assert.equal("started", report.outcome)
      assert.is_nil(report.tenant)
      assert.is_nil(report.tenant_id)
      assert.equal(ours, sync_with(token, { tenant = ours }).tenant)
    end
  end)

  it("names the tenant of the token that was sent last", function()
    local tokens = { jwt(), jwt { tid = theirs }, "opaque" }
    local client = client_of {
      cooldown = 0,
      token = function()
        return table.remove(tokens, 1)
      end,
    }
    assert.equal(ours, client:sync().tenant_id)
    assert.equal(theirs, client:sync().tenant_id)
    assert.is_nil(client:sync().tenant_id)
  end)
end)

describe("a token of another tenant", function()
  it("is not sent, and both tenants are named", function()
    for _, tenant in ipairs { theirs, theirs:upper(), "{" .. theirs .. "}" } do
      local failure = assert_refused("TenantMismatch", { ours, theirs }, jwt(), { tenant = tenant })
      assert.equal(tenant, failure.tenant)
      assert_refused("TenantMismatch", { ours, theirs }, function()
        return jwt(), 3600
      end, { tenant = tenant })
    end
  end)

  it("is not confused with the same tenant in braces or capitals", function()
    for _, tenant in ipairs { ours, ours:upper(), "{" .. ours:upper() .. "}" } do
      assert.equal("started", sync_with(jwt(), { tenant = tenant }).outcome)
    end
  end)

  it("is not sent from a cache either", function()
    local client, requests = client_of {
      tenant = theirs,
      token = autopilot.token.cached(function()
        return jwt(), 3600
      end),
    }
    for _ = 1, 2 do
      assert.equal("TenantMismatch", select(2, client:sync()).error.code)
    end
    assert.equal(0, #requests)
  end)
end)

describe("an unusable token", function()
  it("is reported as expired, and since when", function()
    for ago, said in pairs {
      [0] = "0 s ago",
      [59] = "59 s ago",
      [600] = "10 min ago",
      [3 * 3600 + 5] = "expired 3 h ago",
      [90 * 86400] = "90 d ago",
    } do
      assert_refused("TokenExpired", said, jwt { exp = now - ago })
    end
  end)

  it("is fetched again once if it has expired, because its file may have a newer one", function()
    local asks = {}
    local report = sync_with(function(ask)
      asks[#asks + 1] = ask
      return jwt { exp = ask.refresh and now + 60 or now - 60 }
    end)
    assert.equal("started", report.outcome)
    assert.equal(2, #asks)
    assert.equal(jwt { exp = now - 60 }, asks[2].refused)
  end)

  it(
    "is sent where its provider vouches for its time: then the clock of this machine is wrong",
    function()
      local report = sync_with(function()
        return jwt { exp = now - 7200 }, 3600
      end)
      assert.equal("started", report.outcome)
    end
  )

  it("is reported as one for another service, naming both", function()
    local said = { "https://management.azure.com", "https://graph.microsoft.com" }
    assert_refused("WrongAudience", said, jwt { aud = "https://management.azure.com" })
    assert_refused("WrongAudience", "https://graph.microsoft.us", jwt(), { cloud = "us_gov" })
  end)

  it(
    "may name the service in every way that Entra does, and be for a gateway of one's own",
    function()
      for _, audience in ipairs {
        "https://graph.microsoft.com/",
        "HTTPS://graph.microsoft.com",
        "00000003-0000-0000-c000-000000000000",
        "none",
      } do
        assert.equal("started", sync_with(jwt { aud = audience }).outcome, audience)
      end
      local gateway = { base_url = "https://gateway.example" }
      assert.equal("started", sync_with(jwt { aud = "api://gateway" }, gateway).outcome)
    end
  )

  it("is reported as one without the permission", function()
    assert_refused("MissingPermission", needed, jwt { roles = { "Device.Read.All" } })
    assert_refused("MissingPermission", needed, jwt { roles = "none", scp = "openid User.Read" })
    local reads = { "DeviceManagementServiceConfig.Read.All" }
    assert_refused("MissingPermission", needed, jwt { roles = reads })
  end)

  it("may have the permission in every form, or not mention any", function()
    for _, changes in ipairs {
      { roles = { "x", needed:lower() } },
      { roles = "none", scp = "openid " .. needed },
      { roles = { "DeviceManagementConfiguration.ReadWrite.All" } },
      { roles = "none", wids = { "62e90394-69f5-4237-9190-012177145e10" } },
    } do
      assert.equal("started", sync_with(jwt(changes)).outcome)
    end
  end)

  it("needs less to read the record", function()
    local token = jwt { roles = { "DeviceManagementServiceConfig.Read.All" } }
    assert.is_true(client_of({ token = token }):status().ok)
    local failure = select(2, client_of({ token = jwt { roles = { "x" } } }):status())
    assert.equal("MissingPermission", failure.error.code)
  end)

  it("of a cache is fetched again once: the permission may be new", function()
    local granted, asked = false, 0
    local client = client_of {
      token = autopilot.token.cached(function()
        asked = asked + 1
        return jwt { roles = granted and { needed } or { "x" } }, 3600
      end),
    }
    assert.equal("MissingPermission", select(2, client:sync()).error.code)
    assert.equal(1, asked)
    granted = true
    assert.equal("started", client:sync().outcome)
    assert.equal(2, asked)
  end)

  it("of a person signed in to the Azure CLI has its own hint", function()
    local failure = assert_refused(
      "MissingPermission",
      needed,
      jwt { roles = "none", scp = "User.Read", appid = "04b07795-8ddb-461a-bbee-02f9e1bf7b46" }
    )
    assert.is_truthy(failure.hint:find("AADSTS65002", 1, true))
    assert.is_truthy(failure.hint:find("service principal", 1, true))
  end)
end)

describe("a fleet of several tenants", function()
  local function fleet_of(token, tenants)
    local transport, requests = service()
    local reports = {}
    autopilot.fleet({ tenants = tenants, client = { token = token }, transport = transport }):run {
      on_report = function(_, report)
        reports[#reports + 1] = report
      end,
    }
    return reports, #requests
  end

  it("refuses a fixed token", function()
    for _, tenants in ipairs {
      { "a.test", "b.test" },
      function()
        return nil
      end,
    } do
      local message = mistakes.raised(function()
        local made = autopilot.fleet { tenants = tenants, client = { token = "t" } }
        return made
      end)
      assert.is_truthy(
        message:find "^spec/client/whose_sync_spec.lua:%d+: autopilot.fleet: option 'client.token'"
      )
    end
    local reports, sent = fleet_of("t", { "a.test" })
    assert.same({ "started", 1 }, { reports[1].outcome, sent })
  end)

  it("reports no token if the provider signs in to one tenant only", function()
    local function getenv() end
    for _, provider in ipairs {
      autopilot.token.static "t",
      autopilot.token.managed_identity { getenv = getenv },
    } do
      local reports, sent = fleet_of(provider, { "a.test", "b.test" })
      assert.same({ 2, 0 }, { #reports, sent })
      for _, report in ipairs(reports) do
        assert.same({ "token_error", "TenantMismatch" }, { report.outcome, report.error.code })
      end
    end
    local reports = fleet_of(autopilot.token.static "t", { "a.test" })
    assert.equal("started", reports[1].outcome)
  end)

  it("continues with the next provider of a chain", function()
    local chain = autopilot.token.chain {
      autopilot.token.managed_identity { getenv = function() end },
      function(ask)
        return "token of " .. ask.tenant:gsub("%.", "-")
      end,
    }
    local reports, sent = fleet_of(chain, { "a.test", "b.test" })
    assert.same({ "started", "started", 2 }, { reports[1].outcome, reports[2].outcome, sent })
  end)
end)
