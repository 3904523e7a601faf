-- Requests of other clients of Entra: MSAL in its languages, the SDKs of Azure, `az`.

local base64url = require "autopilot.base.base64url"
local cjson = require "cjson"
local emulated_graph = require "support.emulated_graph"
local emulator = require "autopilot.emulator"
local inspect = require "autopilot.base.jwt"
local overlay = require "support.overlay"

local post, sync = emulated_graph.post, emulated_graph.sync

local graph = "https://graph.microsoft.com"
local default_scope = graph .. "/.default"
local login = "https://login.microsoftonline.com"

local function get(service, url, headers)
  local response = service:handle { method = "GET", url = url, headers = headers }
  return cjson.decode(response.body), response.status
end

describe("autopilot.emulator: discovery", function()
  local service

  before_each(function()
    service = emulator.new { tenants = { ["id-1"] = { domain = "contoso.test" } } }
  end)

  local configuration = "/v2.0/.well-known/openid-configuration"

  it("tells a tenant's endpoints, on the host that was asked", function()
    for name, place in pairs {
      [login .. "/contoso.test" .. configuration] = login,
      ["/contoso.test" .. configuration .. "?x=1"] = "https://localhost:8443",
    } do
      local told, status = get(service, name, { Host = "localhost:8443" })
      assert.equal(200, status)
      assert.equal(place .. "/id-1/v2.0", told.issuer)
      local base = place .. "/contoso.test/oauth2/v2.0/"
      assert.equal(base .. "authorize", told.authorization_endpoint)
      assert.equal(base .. "token", told.token_endpoint)
      assert.equal(base .. "devicecode", told.device_authorization_endpoint)
      local methods = { "client_secret_post", "private_key_jwt", "client_secret_basic" }
      assert.same(methods, told.token_endpoint_auth_methods_supported)
      local keys = get(service, told.jwks_uri)
      assert.equal("RSA", keys.keys[1].kty)
    end
    assert.equal(4, service.requests.discovery)
  end)

  it("names no tenant for the common endpoints, and refuses an unknown tenant", function()
    local told = get(service, login .. "/common" .. configuration)
    assert.equal(login .. "/{tenantid}/v2.0", told.issuer)
    local refused, status = get(service, login .. "/nobody.test" .. configuration)
    assert.equal(400, status)
    assert.same({ "invalid_tenant", 90002 }, { refused.error, refused.error_codes[1] })
    local posted = service:handle { method = "POST", url = login .. "/common" .. configuration }
    assert.equal(400, posted.status)
  end)

  it("knows a tenant's endpoints under its own path only", function()
    for _, place in ipairs { "", "/tenants/contoso.test" } do
      local _, status = get(service, login .. place .. configuration)
      assert.equal(401, status)
    end
    assert.equal(0, service.requests.discovery)
  end)

  it("gives the keys as JSON, with the name of the one in its tokens", function()
    local key = get(service, login .. "/common/discovery/v2.0/keys").keys[1]
    assert.same(key, get(service, "/discovery/v2.0/keys", {}).keys[1])
    local token = service:issue_token { tenant = "id-1" }
    assert.equal(key.kid, cjson.decode(base64url.decode(token:match "^[^.]+")).kid)
    assert.equal(256, #base64url.decode(key.n))
  end)

  it("lists Entra's hosts: its own, and the one that was asked", function()
    local path = "/common/discovery/instance?api-version=1.1&authorization_endpoint="
    local function ask(host)
      local endpoint = ("https%%3A%%2F%%2F%s%%2Fid-1%%2Foauth2%%2Fv2.0%%2Fauthorize"):format(host)
      return get(service, path .. endpoint, { host = "localhost:8443" })
    end
    local hosts = { "login.microsoftonline.com", "localhost:8443", "login.chinacloudapi.cn" }
    for _, host in ipairs(hosts) do
      local told, status = ask(host)
      assert.equal(200, status)
      assert.equal("https://" .. host .. "/id-1" .. configuration, told.tenant_discovery_endpoint)
      assert.equal("localhost:8443", told.metadata[1].preferred_network)
      assert.equal("login.windows.net", told.metadata[2].aliases[2])
    end
    local without_port = ask "localhost"
    local place = "https://localhost:8443/id-1" .. configuration
    assert.equal(place, without_port.tenant_discovery_endpoint)
    local refused, status = ask "evil.test"
    assert.same({ 400, "invalid_instance" }, { status, refused.error })
    assert.equal("invalid_request", (get(service, "/common/discovery/instance")).error)
  end)

  it("can meet a fault of its own", function()
    service:inject { kind = "status", status = 503, on = "discovery" }
    assert.equal(503, service:handle({ method = "GET", url = "/discovery/v2.0/keys" }).status)
  end)
end)

describe("autopilot.emulator: a person who signs in with MSAL", function()
  local scope = default_scope .. " openid profile offline_access"
  local service

  before_each(function()
    service = emulator.new { clients = { app = { public = true } }, device_code = { interval = 0 } }
  end)

  local function sign_in(more)
    local asked = { client_id = "app", scope = scope }
    local offer = post(service, "devicecode", overlay(asked, more))
    service:approve(offer.user_code, "ann@contoso.example")
    return (
      post(service, "token", {
        grant_type = "device_code",
        client_id = "app",
        device_code = offer.device_code,
        client_info = "1",
        scope = asked.scope,
      })
    )
  end

  it("gets an id token with the account, and the granted scopes", function()
    local granted = sign_in()
    assert.equal(
      ("%s/DeviceManagementServiceConfig.ReadWrite.All %s openid profile"):format(
        graph,
        default_scope
      ),
      granted.scope
    )
    local account = cjson.decode(base64url.decode(granted.client_info))
    local claims = inspect(granted.id_token)
    assert.equal("contoso", account.utid)
    assert.equal(account.uid, claims.oid)
    assert.equal(account.uid, inspect(granted.access_token).oid)
    assert.same(
      { "app", "contoso", "ann@contoso.example" },
      { claims.aud, claims.tid, claims.preferred_username }
    )
    assert.equal(granted.client_info, sign_in().client_info)
  end)

  it("gets an id token of the issuer that discovery names", function()
    local host = { Host = "localhost:8443" }
    local token = service:issue_refresh_token { client_id = "app" }
    local form = "client_id=app&grant_type=refresh_token&scope=openid+%s&refresh_token=%s"
    local response = service:handle {
      method = "POST",
      url = "/contoso/oauth2/v2.0/token",
      headers = host,
      body = form:format(default_scope, token),
    }
    local told = get(service, "/contoso/v2.0/.well-known/openid-configuration", host)
    assert.equal(told.issuer, inspect(cjson.decode(response.body).id_token).iss)
  end)

  it("gets only the scopes that were asked for", function()
    local granted = sign_in { scope = default_scope }
    assert.is_nil(granted.id_token)
    assert.is_nil(granted.refresh_token)
  end)

  it("may ask for single permissions, of Graph unless a resource is named", function()
    for _, permissions in ipairs {
      "DeviceManagementServiceConfig.ReadWrite.All",
      "User.Read " .. graph .. "/DeviceManagementServiceConfig.ReadWrite.All",
    } do
      local granted = sign_in { scope = permissions }
      assert.equal(graph, inspect(granted.access_token).aud)
    end
    assert.equal(204, sync(service, sign_in({ scope = "User.Read" }).access_token).status)
  end)

  it("signs in to the tenant of the user's name if the URL names none", function()
    service = emulator.new {
      clients = { app = { public = true, secret = "x" } },
      tenants = { ["id-1"] = { domain = "contoso.example" } },
      device_code = { interval = 0 },
    }
    local fields = { client_id = "app", scope = scope, grant_type = "device_code" }
    local tenants = { ["ann@contoso.example"] = "id-1", ["ann@else.example"] = false }
    for user, expected in pairs(tenants) do
      local offer = post(service, "devicecode", fields, "organizations")
      service:approve(offer.user_code, user)
      fields.device_code = offer.device_code
      local granted = post(service, "token", fields, "organizations")
      assert.equal(expected, expected and inspect(granted.access_token).tid)
      assert.same(not expected and { 50020 } or nil, granted.error_codes)
    end
    fields = { client_id = "app", client_secret = "x", scope = default_scope }
    fields.grant_type = "client_credentials"
    assert.same({ 50059 }, (post(service, "token", fields, "common")).error_codes)
  end)

  it("has a refresh token that is valid in other tenants, too", function()
    local granted = sign_in()
    local fields = {
      grant_type = "refresh_token",
      client_id = "app",
      refresh_token = granted.refresh_token,
      scope = scope,
    }
    local there = post(service, "token", fields, "fabrikam")
    assert.equal("fabrikam", inspect(there.access_token).tid)
    assert.equal(204, sync(service, there.access_token).status)
    assert.is_truthy(service:record("fabrikam").last_manual_trigger)
    assert.is_nil(service:record("contoso").last_manual_trigger)
  end)
end)

describe("autopilot.emulator: an application", function()
  local service

  before_each(function()
    service = emulator.new { clients = { app = { secret = "x", certificates = { "sha-1" } } } }
  end)

  local function ask(more)
    return post(
      service,
      "token",
      overlay({ grant_type = "client_credentials", client_id = "app", scope = default_scope }, more)
    )
  end

  it("may name the resource with a slash, by its id, or its own", function()
    for resource, status in pairs {
      [graph] = 204,
      [graph .. "/"] = 204,
      ["00000003-0000-0000-c000-000000000000"] = 204,
      ["api://11111111-2222-4333-8444-555555555555"] = 401,
    } do
      service = emulator.new { clients = { app = { secret = "x" } } }
      local answer = ask { client_secret = "x", scope = resource .. "/.default" }
      assert.equal(resource, inspect(answer.access_token).aud)
      assert.equal(status, sync(service, answer.access_token).status)
    end
    local wrong = { "User.Read", graph .. "/User.Read", "nothing/.default", "/.default" }
    for _, scope in ipairs(wrong) do
      assert.equal("invalid_scope", (ask { client_secret = "x", scope = scope }).error)
    end
  end)

  it("may name its certificate by SHA-1", function()
    local function part(value)
      return base64url.encode(cjson.encode(value))
    end
    local function assertion(thumbprint)
      local claims = {
        aud = login .. "/contoso/oauth2/v2.0/token",
        iss = "app",
        sub = "app",
        exp = service:now() + 600,
      }
      return part { alg = "RS256", x5t = thumbprint } .. "." .. part(claims) .. ".c2ln"
    end
    local fields = {
      client_assertion_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
      client_assertion = assertion "sha-1",
    }
    assert.equal("string", type((ask(fields)).access_token))
    fields.client_assertion = assertion "sha-1="
    assert.equal("string", type((ask(fields)).access_token))
    fields.client_assertion = assertion "other"
    assert.same({ 700027 }, (ask(fields)).error_codes)
  end)

  it("gets a claims challenge first in the header, and declares CP1 in any form", function()
    local secret = { client_secret = "x" }
    service:inject { kind = "claims_challenge", on = "sync" }
    local refused = sync(service, ask(secret).access_token)
    assert.equal(401, refused.status)
    local told = refused.headers["www-authenticate"]
    assert.matches('^Bearer realm="", .*error="insufficient_claims"', told)
    local claims = cjson.decode(base64url.decode(told:match 'claims="([^"]+)"'))
    claims.access_token.xms_cc = { values = { "CP1" } }
    secret.claims = cjson.encode(claims)
    assert.equal(204, sync(service, ask(secret).access_token).status)
  end)

  it("gets another challenge before it with the option noise", function()
    service:inject { kind = "claims_challenge", on = "sync", noise = true }
    local refused = sync(service, ask({ client_secret = "x" }).access_token)
    assert.matches('^Negotiate, Bearer realm=""', refused.headers["www-authenticate"])
  end)
end)

describe("autopilot.emulator: a machine's identity", function()
  local machine = {
    tenant = "contoso",
    client_id = "client",
    object_id = "object",
    resource_id = "/subscriptions/S/identity",
    header = "key",
  }
  local metadata = "/metadata/identity/oauth2/token/?api-version=2018-02-01&resource=" .. graph

  local function ask(service, more)
    return get(service, metadata .. (more or ""), { Metadata = "true" })
  end

  it("is accepted with a slash after the path, too", function()
    local service = emulator.new { identity = machine }
    assert.equal(200, (select(2, ask(service))))
    assert.equal(1, service.requests.identity)
  end)

  it("may be selected by each of its ids; any other is refused", function()
    local service = emulator.new { identity = machine }
    local bare = emulator.new { identity = { tenant = "contoso", client_id = "client" } }
    for parameter, value in pairs {
      client_id = "client",
      object_id = "object",
      principal_id = "object",
      msi_res_id = "/SUBSCRIPTIONS/s/identity",
      mi_res_id = "/subscriptions/S/identity",
    } do
      assert.equal(200, (select(2, ask(service, "&" .. parameter .. "=" .. value))))
      local refused, status = ask(service, "&" .. parameter .. "=other")
      assert.same({ 400, "Identity not found" }, { status, refused.error_description })
      if parameter ~= "client_id" then
        assert.equal(400, (select(2, ask(bare, "&" .. parameter .. "=" .. value))))
      end
    end
  end)

  it("gets a claims challenge, and then a new token that satisfies it", function()
    local service = emulator.new { identity = machine }
    service:inject { kind = "claims_challenge", on = "sync" }
    assert.equal(401, sync(service, ask(service).access_token).status)
    local refused = ("ab"):rep(32)
    for more, status in pairs {
      [""] = 401,
      ["&xms_cc=cp1"] = 401,
      ["&token_sha256_to_refresh=" .. refused] = 401,
    } do
      assert.equal(status, sync(service, ask(service, more).access_token).status)
    end
    local good = ask(service, "&xms_cc=x,CP1&token_sha256_to_refresh=" .. refused)
    assert.equal(204, sync(service, good.access_token).status)
  end)
end)
