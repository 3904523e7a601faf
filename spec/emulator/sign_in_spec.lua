-- The emulator's side of signing in: people with codes, assertions, machines.

local base64url = require "autopilot.base.base64url"
local cjson = require "cjson"
local emulated_graph = require "support.emulated_graph"
local emulator = require "autopilot.emulator"
local overlay = require "support.overlay"

local post, sync = emulated_graph.post, emulated_graph.sync

local scope = "https://graph.microsoft.com/.default"
local jwt_bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
local device_grant = "urn:ietf:params:oauth:grant-type:device_code"

local function refusal(answer)
  return answer.error, answer.error_codes and answer.error_codes[1]
end

describe("autopilot.emulator: a person who signs in with a code", function()
  local service

  before_each(function()
    service = emulator.new { clients = { app = { public = true }, closed = { secret = "x" } } }
  end)

  local function offer(more)
    local fields = overlay({ client_id = "app", scope = scope .. " offline_access" }, more)
    return post(service, "devicecode", fields)
  end

  local function poll(code, more)
    local fields =
      overlay({ grant_type = device_grant, client_id = "app", device_code = code }, more)
    local answer = post(service, "token", fields)
    return answer
  end

  it("gets a code and an address, valid for a quarter of an hour", function()
    local answer, status = offer()
    assert.equal(200, status)
    assert.equal(900, answer.expires_in)
    assert.equal(5, answer.interval)
    assert.is_truthy(answer.message:find(answer.user_code, 1, true))
    assert.is_truthy(answer.message:find(answer.verification_uri, 1, true))
    assert.is_nil(answer.message:find(answer.device_code, 1, true))
    assert.equal(1, service.requests.device_code)
  end)

  it("is waited for until the code is typed; the token is a user's", function()
    local answer = offer()
    assert.same({ "authorization_pending", 70016 }, { refusal(poll(answer.device_code)) })
    assert.is_true(service:approve(answer.user_code, "ann@contoso.example"))
    service:advance(5)
    local granted = poll(answer.device_code)
    local claims = require "autopilot.base.jwt"(granted.access_token)
    assert.equal("ann@contoso.example", claims.upn)
    assert.equal("DeviceManagementServiceConfig.ReadWrite.All", claims.scp)
    assert.is_nil(claims.roles)
    assert.equal("string", type(granted.refresh_token))
    assert.equal(204, sync(service, granted.access_token).status)
    service:advance(5)
    assert.equal("bad_verification_code", (refusal(poll(answer.device_code))))
  end)

  it("must be polled more slowly after a poll that came too soon", function()
    local answer = offer()
    poll(answer.device_code)
    service:advance(4)
    assert.equal("slow_down", (refusal(poll(answer.device_code))))
    service:advance(9)
    assert.equal("slow_down", (refusal(poll(answer.device_code))))
    service:advance(15)
    assert.equal("authorization_pending", (refusal(poll(answer.device_code))))
  end)

  it("may decline, or let the code expire", function()
    local answer = offer()
    assert.is_true(service:decline(answer.user_code))
    assert.equal("authorization_declined", (refusal(poll(answer.device_code))))
    answer = offer()
    service:advance(900)
    assert.equal("expired_token", (refusal(poll(answer.device_code))))
    assert.is_false(service:approve "NOBODYS")
  end)

  it("cannot approve a code whose end the device was told", function()
    for _, over in ipairs { "declined", "expired" } do
      local answer = offer()
      if over == "declined" then
        service:decline(answer.user_code)
      else
        service:advance(900)
      end
      poll(answer.device_code)
      assert.is_false(service:approve(answer.user_code), over)
      service:advance(5)
      assert.equal("bad_verification_code", (refusal(poll(answer.device_code))), over)
    end
  end)

  it("signs in to the application that asked, if it allows this", function()
    local answer = offer()
    service:approve(answer.user_code)
    local told = poll(answer.device_code, { client_id = "closed" })
    assert.equal("bad_verification_code", (refusal(told)))
    assert.same({ "invalid_client", 70002 }, { refusal((offer { client_id = "closed" })) })
    assert.same({ "unauthorized_client", 700016 }, { refusal((offer { client_id = "nobody" })) })
    assert.same({ "invalid_scope", 1002012 }, { refusal((offer { scope = "openid" })) })
    local two = scope .. " https://vault.test/.default"
    assert.same({ "invalid_scope", 1002012 }, { refusal((offer { scope = two })) })
  end)

  it("gets a refresh token, which is valid until all are revoked", function()
    local answer = offer()
    service:approve(answer.user_code)
    local granted = poll(answer.device_code)
    local fields = {
      grant_type = "refresh_token",
      client_id = "app",
      refresh_token = granted.refresh_token,
      scope = scope .. " offline_access",
    }
    local again = post(service, "token", fields)
    assert.not_equal(granted.access_token, again.access_token)
    assert.not_equal(granted.refresh_token, again.refresh_token)
    fields.client_id = "closed"
    assert.equal("invalid_grant", (refusal((post(service, "token", fields)))))
    fields.client_id = "app"
    assert.equal("string", type(post(service, "token", fields).access_token))
    service:forget_sign_ins()
    assert.same({ "invalid_grant", 70000 }, { refusal((post(service, "token", fields))) })
    fields.refresh_token = nil
    assert.same({ "invalid_request", 900144 }, { refusal((post(service, "token", fields))) })
  end)
end)

describe("autopilot.emulator: a person who signed in to an application in a browser", function()
  local service, fields

  before_each(function()
    service = emulator.new { clients = { app = { secret = "x" }, other = { secret = "x" } } }
    fields = {
      grant_type = "refresh_token",
      client_id = "app",
      client_secret = "x",
      refresh_token = service:issue_refresh_token { client_id = "app", user = "ann@a.example" },
      scope = scope .. " offline_access",
    }
  end)

  it("has a refresh token that is valid for every tenant", function()
    for _, tenant in ipairs { "a.example", "b.example" } do
      local answer = post(service, "token", fields, tenant)
      local claims = require "autopilot.base.jwt"(answer.access_token)
      assert.equal("ann@a.example", claims.upn)
      assert.equal(204, sync(service, answer.access_token).status)
      fields.refresh_token = answer.refresh_token
    end
  end)

  it("is served through that application only, which must authenticate itself", function()
    fields.client_secret = "wrong"
    assert.same({ "invalid_client", 7000215 }, { refusal((post(service, "token", fields))) })
    fields.client_secret = nil
    assert.same({ "invalid_client", 7000218 }, { refusal((post(service, "token", fields))) })
    fields.client_secret, fields.client_id = "x", "other"
    assert.same({ "invalid_grant", 70000 }, { refusal((post(service, "token", fields))) })
  end)
end)

describe("autopilot.emulator: a job of a build server", function()
  local job = { key = "k", issuer = "https://i.test", subject = "s", service_connection = "c" }
  local service

  before_each(function()
    service = emulator.new { build_server = job }
  end)

  local function ask(method, url, key)
    local response = service:handle {
      method = method,
      url = "https://build.test/_apis/x/" .. url,
      headers = { Authorization = "Bearer " .. (key or "k") },
    }
    return response.status, cjson.decode(response.body)
  end

  it("gets an assertion in GitHub Actions and in Azure Pipelines", function()
    local status, answer = ask("GET", "idtoken?api-version=2.0&audience=mine")
    assert.equal(200, status)
    local claims = require "autopilot.base.jwt"(answer.value)
    assert.same({ "https://i.test", "s", "mine" }, { claims.iss, claims.sub, claims.aud })
    assert.equal(service:now() + 600, claims.exp)
    status, answer = ask("POST", "oidctoken?api-version=7.1&serviceConnectionId=c")
    assert.equal(200, status)
    claims = require "autopilot.base.jwt"(answer.oidcToken)
    assert.equal("api://AzureADTokenExchange", claims.aud)
  end)

  it("is refused without the right key, method, audience or service connection", function()
    assert.equal(401, (ask("GET", "idtoken?audience=mine", "wrong")))
    assert.equal(405, (ask("POST", "idtoken?audience=mine")))
    assert.equal(404, (ask("GET", "idtoken")))
    assert.equal(404, (ask("POST", "oidctoken?api-version=7.1&serviceConnectionId=d")))
    assert.equal(404, (ask("POST", "oidctoken?serviceConnectionId=c")))
    service = emulator.new()
    assert.equal(401, (ask("GET", "idtoken?audience=mine")))
  end)
end)

describe("autopilot.emulator: an assertion", function()
  local now = 1767225600

  local function jwt(header, claims)
    return table.concat({
      base64url.encode(cjson.encode(header)),
      base64url.encode(cjson.encode(claims)),
      "c2ln",
    }, ".")
  end

  --- What an application's assertion is answered with; `changed` fields of its claims.
  local function ask(application, header, claims, changed)
    local all = overlay({}, claims)
    overlay(all, changed)
    local service = emulator.new { start = now, clients = { app = application } }
    local answer, status = post(service, "token", {
      grant_type = "client_credentials",
      client_id = "app",
      scope = scope,
      client_assertion_type = jwt_bearer,
      client_assertion = jwt(header, all),
    })
    return answer.access_token and 200 or select(2, refusal(answer)), status
  end

  it("of a certificate must name a known one, and be made for this request", function()
    local header = { alg = "PS256", ["x5t#S256"] = "thumb" }
    local claims = {
      aud = "https://login.example/contoso/oauth2/v2.0/token",
      iss = "app",
      sub = "app",
      nbf = now,
      exp = now + 600,
    }
    local known = { certificates = { "other", "thumb" } }
    assert.equal(200, (ask(known, header, claims)))
    assert.equal(700027, (ask({ certificates = { "other" } }, header, claims)))
    assert.equal(700027, (ask({}, header, claims)))
    for number, changes in pairs {
      [700021] = { { iss = "else" }, { sub = "else" } },
      [700023] = { { aud = "https://login.example/fabrikam/oauth2/v2.0/token" }, { aud = "x" } },
      [700024] = { { exp = now - 301 }, { nbf = now + 301 }, { exp = "x" } },
    } do
      for _, changed in ipairs(changes) do
        assert.same({ number, 401 }, { ask(known, header, claims, changed) })
      end
    end
  end)

  it("of a platform must have issuer, subject and audience of a credential", function()
    local application = {
      federated = {
        { issuer = "https://other.test", subject = "s" },
        { issuer = "https://issuer.test", subject = "s" },
        { issuer = "https://own.test", subject = "s", audience = "mine" },
      },
    }
    local claims = {
      iss = "https://issuer.test",
      sub = "s",
      aud = "api://AzureADTokenExchange",
      exp = now + 60,
    }
    assert.equal(200, (ask(application, {}, claims)))
    assert.equal(200, (ask(application, {}, claims, { iss = "https://own.test", aud = "mine" })))
    for number, changed in pairs {
      [700211] = { iss = "https://nobody.test" },
      [700213] = { sub = "x" },
      [700212] = { aud = "x" },
      [700024] = { exp = now - 301 },
    } do
      assert.same({ number, 401 }, { ask(application, {}, claims, changed) })
    end
  end)
end)

describe("autopilot.emulator: a machine", function()
  local function get(service, path, headers)
    local response = service:handle { method = "GET", url = path, headers = headers or {} }
    return response.status, cjson.decode(response.body)
  end

  local machine = { tenant = "contoso", client_id = "machine", header = "key" }
  local metadata = "/metadata/identity/oauth2/token?api-version=2018-02-01"
    .. "&resource=https%3A%2F%2Fgraph.microsoft.com"
  local app_service = "/msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fgraph.microsoft.com"

  it("gets a token of its own, in a virtual machine and in App Service", function()
    local service = emulator.new { identity = machine }
    local status, answer = get(service, metadata, { Metadata = "true" })
    assert.equal(200, status)
    assert.equal("3599", answer.expires_in)
    assert.equal(204, sync(service, answer.access_token).status)
    status, answer = get(service, app_service, { ["X-IDENTITY-HEADER"] = "key" })
    assert.equal(200, status)
    assert.is_nil(answer.expires_in)
    assert.equal(("%d"):format(service:now() + 3599), answer.expires_on)
    assert.equal(2, service.requests.identity)
    for path, version in pairs {
      ["/msi/token"] = "2017-09-01&clientid=machine",
      ["/metadata/identity/oauth2/token"] = "2019-07-01-preview",
    } do
      local url = path .. "?resource=https%3A%2F%2Fgraph.microsoft.com&api-version=" .. version
      assert.equal(200, (get(service, url, { Secret = "key" })))
      assert.equal(401, (get(service, url, { Secret = "wrong" })))
      assert.equal(400, (get(service, url .. "0", { Secret = "key" })))
    end
  end)

  it("has a token with the tenant's id, as a token made for a domain has", function()
    local service = emulator.new {
      tenants = { ["id-1"] = { domain = "contoso.test" } },
      identity = { tenant = "Contoso.test", client_id = "machine" },
    }
    local _, answer = get(service, metadata, { Metadata = "true" })
    local made = service:issue_token { tenant = "contoso.test" }
    for _, token in ipairs { answer.access_token, made } do
      assert.equal("id-1", require "autopilot.base.jwt"(token).tid)
    end
  end)

  it("gets none without the header, with another identity, or without any identity", function()
    local service = emulator.new { identity = machine }
    assert.equal(400, (get(service, metadata)))
    local forwarded = { Metadata = "true", ["X-Forwarded-For"] = "x" }
    assert.equal(400, (get(service, metadata, forwarded)))
    assert.equal(400, (get(service, metadata .. "&client_id=else", { Metadata = "true" })))
    assert.equal(200, (get(service, metadata .. "&client_id=machine", { Metadata = "true" })))
    assert.equal(401, (get(service, app_service)))
    assert.equal(401, (get(service, app_service, { ["X-IDENTITY-HEADER"] = "wrong" })))
    local status, answer = get(emulator.new {}, metadata, { Metadata = "true" })
    assert.same({ 400, "Identity not found" }, { status, answer.error_description })
    service = emulator.new { identity = { tenant = "t", client_id = "c" } }
    assert.equal(401, (get(service, app_service, { ["X-IDENTITY-HEADER"] = "" })))
    assert.equal(401, (get(service, app_service)))
    for _, wrong in ipairs { { "2018%-02%-01", "2017-09-01" }, { "&resource=.*$", "" } } do
      local url = metadata:gsub(wrong[1], wrong[2])
      assert.equal(400, (get(service, url, { Metadata = "true" })))
    end
  end)
end)
