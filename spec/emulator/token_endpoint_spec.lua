-- The emulated token endpoint gives tokens to applications, or refuses them in Entra's words.

local base64url = require "autopilot.base.base64url"
local cjson = require "cjson.safe"
local emulated_graph = require "support.emulated_graph"
local emulator = require "autopilot.emulator"

local settings_url, start = emulated_graph.settings_url, emulated_graph.start
local unpack = unpack or table.unpack -- luacheck: compat

describe("autopilot.emulator: the token endpoint", function()
  local secret = "a+b & c=%~"

  local function form(fields)
    local parts = {}
    for name, value in pairs(fields) do
      local encoded = value:gsub("[^%w._~-]", function(letter)
        return letter == " " and "+" or ("%%%02X"):format(letter:byte())
      end)
      parts[#parts + 1] = name .. "=" .. encoded
    end
    return table.concat(parts, "&")
  end

  --- Asks for a token with the right fields but for those that are changed; false takes one away.
  local function ask(service, changed, tenant, headers)
    local fields = {
      grant_type = "client_credentials",
      client_id = "app",
      client_secret = secret,
      scope = "https://graph.microsoft.com/.default",
    }
    for name, value in pairs(changed or {}) do
      fields[name] = value or nil
    end
    return service:handle {
      method = "POST",
      url = ("https://login.microsoftonline.com/%s/oauth2/v2.0/token"):format(tenant or "contoso"),
      headers = headers,
      body = form(fields),
    }
  end

  --- The claims of a token, and its signature.
  local function claims_of(token)
    local payload, signature = token:match "^[%w_-]+%.([%w_-]+)%.([%w_-]+)$"
    return cjson.decode(base64url.decode(payload)), signature
  end

  it("gives an application's token, which Graph then accepts until it expires", function()
    local service = emulator.new { clients = { app = { secret = secret } } }
    local response = ask(service)
    assert.equal(200, response.status)
    local granted = cjson.decode(response.body)
    assert.equal("Bearer", granted.token_type)
    assert.equal(3599, granted.expires_in)

    local claims, signature = claims_of(granted.access_token)
    assert.equal("contoso", claims.tid)
    assert.equal("app", claims.appid)
    assert.equal("https://graph.microsoft.com", claims.aud)
    assert.same({ "DeviceManagementServiceConfig.ReadWrite.All" }, claims.roles)
    assert.equal(start, claims.iat)
    assert.equal(start + 3599, claims.exp)
    assert.equal(86, #signature)

    local request = {
      method = "GET",
      url = settings_url,
      headers = { authorization = "bearer " .. granted.access_token },
    }
    service:advance(3598)
    assert.equal(200, service:handle(request).status)
    service:advance(1)
    assert.equal(401, service:handle(request).status)
  end)

  it("never gives the same token twice", function()
    local service = emulator.new { clients = { app = { secret = secret } } }
    assert.not_equal(ask(service).body, ask(service).body)
  end)

  it("gives the configured roles and lifetime", function()
    local service = emulator.new {
      clients = { app = { secret = secret, roles = {} } },
      token_lifetime = 60,
    }
    local granted = cjson.decode(ask(service).body)
    assert.equal(60, granted.expires_in)
    assert.is_nil(claims_of(granted.access_token).roles)
  end)

  it("refuses a wrong tenant, application, secret and form with an AADSTS number", function()
    local expired = { secret = secret, secret_expires = start }
    local service = emulator.new {
      clients = { app = { secret = secret }, old = expired, bare = {} },
      tenants = { ["1111"] = { domain = "Contoso.com" } },
    }
    local cases = {
      { 200, nil, nil, {}, "1111" },
      { 200, nil, nil, {}, "contoso.COM" },
      { 400, "invalid_request", 90002, {}, "fabrikam.com" },
      { 400, "unauthorized_client", 700016, { client_id = "nobody" } },
      { 401, "invalid_client", 7000215, { client_secret = "wrong" } },
      { 401, "invalid_client", 7000215, { client_id = "bare" } },
      { 401, "invalid_client", 7000222, { client_id = "old" } },
      { 401, "invalid_client", 7000218, { client_secret = false } },
      { 400, "invalid_request", 900144, { grant_type = false } },
      { 400, "invalid_request", 900144, { client_id = false } },
      { 400, "invalid_request", 900144, { scope = false } },
      { 400, "unsupported_grant_type", 70003, { grant_type = "password" } },
      { 400, "invalid_scope", 1002012, { scope = "https://graph.microsoft.com/User.Read" } },
    }
    for _, case in ipairs(cases) do
      local status, code, number, changed, tenant = unpack(case, 1, 5)
      local response = ask(service, changed, tenant or "1111", { ["client-request-id"] = "mine" })
      local told = cjson.decode(response.body)
      assert.equal(status, response.status)
      assert.equal(code, told.error)
      if code then
        assert.same({ number }, told.error_codes)
        assert.matches("^AADSTS" .. number .. ": .* Trace ID: ", told.error_description)
        assert.equal("2026-01-01 00:00:00Z", told.timestamp)
        assert.equal(response.headers["request-id"], told.trace_id)
        assert.equal("mine", told.correlation_id)
        assert.is_nil(response.body:find(secret, 1, true))
      end
    end
    local got = service:handle { method = "GET", url = "/1111/oauth2/v2.0/token" }
    assert.same({ 900561 }, cjson.decode(got.body).error_codes)
  end)

  it("takes application and secret from a Basic header, too", function()
    local service = emulator.new { clients = { ["app:~"] = { secret = secret } } }
    local function ask_with(credentials)
      local encoded = base64url.encode(credentials):gsub("-", "+"):gsub("_", "/")
      local padded = encoded .. ("="):rep(-#encoded % 4)
      local left_out = { client_id = false, client_secret = false }
      return ask(service, left_out, nil, { Authorization = "Basic " .. padded })
    end
    local right = ask_with "app%3A~:a%2Bb+%26%20c%3D%25%7E"
    assert.equal(200, right.status)
    local claims = claims_of(cjson.decode(right.body).access_token)
    assert.equal("app:~", claims.appid)
    for credentials, number in pairs {
      ["app%3A~:wrong"] = 7000215,
      ["nobody:" .. secret] = 700016,
      ["app"] = 900144,
    } do
      assert.same({ number }, cjson.decode(ask_with(credentials).body).error_codes)
    end
  end)

  it("lets an application's own function judge a client assertion", function()
    local seen
    local service = emulator.new {
      clients = {
        bare = {},
        app = {
          verify = function(assertion, fields)
            seen = fields.client_id
            return assertion == "signed", "not signed"
          end,
        },
      },
    }
    local jwt_bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    local function assert_answer(status, number, changed)
      changed.client_secret = false
      changed.client_assertion_type = changed.client_assertion_type or jwt_bearer
      local response = ask(service, changed)
      assert.equal(status, response.status)
      assert.same(number and { number }, cjson.decode(response.body).error_codes)
    end
    assert_answer(200, nil, { client_assertion = "signed" })
    assert.equal("app", seen)
    assert_answer(401, 700027, { client_assertion = "forged" })
    assert_answer(401, 700027, { client_assertion = "signed", client_id = "bare" })
    assert_answer(400, 90011, { client_assertion = "signed", client_assertion_type = "saml" })
  end)

  it("forgets expired tokens, so that its memory is bounded", function()
    local service = emulator.new { token_lifetime = 10, log_limit = 0 }
    local first = service:issue_token { tenant = "t" }
    for _ = 1, 3000 do
      service:advance(10)
      service:issue_token { tenant = "t" }
    end
    local left = 0
    for _ in pairs(service.tokens.issued) do
      left = left + 1
    end
    assert.is_true(left < 1500)
    assert.is_nil(service.tokens.issued[first])
  end)
end)
