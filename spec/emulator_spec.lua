local cjson = require "cjson.safe"
local emulator = require "autopilot.emulator"

local unpack = unpack or table.unpack -- luacheck: compat

local settings_url = "https://graph.microsoft.com/beta/deviceManagement/windowsAutopilotSettings"
local never = "0001-01-01T00:00:00Z"
local start = 1767225600 -- 2026-01-01T00:00:00Z

--- A service with one good token, and functions that ask it as a client would.
local function new_service(given)
  given = given or {}
  given.tokens = given.tokens or { good = { tenant = "contoso" } }
  local service = { emulator = emulator.new(given) }
  local transport = service.emulator:transport()

  function service.ask(method, url, token, headers)
    headers = headers or {}
    headers.Authorization = token and "Bearer " .. token
    return transport { method = method, url = url, headers = headers, timeout = { total = 60 } }
  end
  function service.sync(token)
    return service.ask("POST", settings_url .. "/sync", token or "good")
  end
  function service.status(token)
    return service.ask("GET", settings_url, token or "good")
  end
  function service.record(token)
    return cjson.decode(service.status(token).body)
  end
  return service
end

--- The error of a Graph body; `nested` is what Intune has put into the message.
local function error_of(response)
  local body = assert(cjson.decode(response.body))
  return body.error, cjson.decode(body.error.message)
end

describe("autopilot.emulator: the sync action", function()
  it("starts a sync with 204 and no body", function()
    local response = new_service().sync()
    assert.equal(204, response.status)
    assert.equal("", response.body)
    assert.is_nil(response.headers["content-length"])
    assert.is_nil(response.headers["content-type"])
  end)

  it("answers 409 while a sync is in progress, then 429 until the cooldown has passed", function()
    local service = new_service { duration = 30, cooldown = 600 }
    assert.equal(204, service.sync().status)
    assert.equal(409, service.sync().status)
    service.emulator:advance(29.9)
    assert.equal(409, service.sync().status)
    service.emulator:advance(0.1)
    assert.equal(429, service.sync().status)
    service.emulator:advance(569.9)
    assert.equal(429, service.sync().status)
    service.emulator:advance(0.125)
    assert.equal(204, service.sync().status)
  end)

  it("has no cooldown when it is 0", function()
    local service = new_service { duration = 0, cooldown = 0 }
    assert.equal(204, service.sync().status)
    assert.equal(204, service.sync().status)
  end)

  it("counts the cooldown from the sync's end where that is asked for", function()
    local service = new_service { duration = 30, cooldown_from = "completion" }
    service.sync()
    service.emulator:advance(629)
    assert.equal(429, service.sync().status)
    service.emulator:advance(1)
    assert.equal(204, service.sync().status)
  end)

  it("begins the cooldown anew at a refusal only where that is asked for", function()
    for extend, status in pairs { [true] = 429, [false] = 204 } do
      local service = new_service { duration = 0, extend_cooldown = extend }
      service.sync()
      service.emulator:advance(400)
      assert.equal(429, service.sync().status)
      service.emulator:advance(200)
      assert.equal(status, service.sync().status)
    end
  end)

  it("tells the rest of the cooldown nowhere, in the header or in the body", function()
    local null = cjson.null
    local expected = {
      absent = { body = null },
      header = { header = "500", body = null },
      body = { body = 500 },
    }
    for where, told in pairs(expected) do
      local service = new_service { duration = 0, retry_after = where }
      service.sync()
      service.emulator:advance(100.5)
      local refused = service.sync()
      assert.equal(told.header, refused.headers["retry-after"])
      assert.equal(told.body, select(2, error_of(refused)).RetryAfter)
    end
  end)

  it("takes the time of a sync from a function of tenant and count", function()
    local seen = {}
    local service = new_service {
      cooldown = 0,
      duration = function(tenant, count)
        seen[count] = tenant
        return count * 10
      end,
    }
    service.sync()
    service.emulator:advance(10)
    assert.equal(204, service.sync().status)
    service.emulator:advance(19)
    assert.equal(409, service.sync().status)
    assert.same({ "contoso", "contoso" }, seen)
  end)

  it("keeps every tenant's state apart", function()
    local service = new_service { tokens = { a = { tenant = "a" }, b = { tenant = "b" } } }
    assert.equal(204, service.sync("a").status)
    assert.equal(204, service.sync("b").status)
    assert.equal(409, service.sync("a").status)
  end)
end)

describe("autopilot.emulator: the record", function()
  it("shows a tenant that was never synced", function()
    local response = new_service().status()
    assert.equal(200, response.status)
    assert.equal("application/json", response.headers["content-type"])
    assert.equal(("%d"):format(#response.body), response.headers["content-length"])
    local record = cjson.decode(response.body)
    assert.equal("unknown", record.syncStatus)
    assert.equal(never, record.lastSyncDateTime)
    assert.equal(never, record.lastManualSyncTriggerDateTime)
    local context = "https://graph.microsoft.com/beta/$metadata#"
      .. "deviceManagement/windowsAutopilotSettings/$entity"
    assert.equal(context, record["@odata.context"])
  end)

  it("shows a sync in progress and its end with seven fractional digits", function()
    local service = new_service { duration = 30.5, start = start + 0.25 }
    service.sync()
    local running = service.record()
    assert.equal("inProgress", running.syncStatus)
    assert.equal("2026-01-01T00:00:00.2500000Z", running.lastManualSyncTriggerDateTime)
    assert.equal(never, running.lastSyncDateTime)
    service.emulator:advance(30.5)
    local ended = service.record()
    assert.equal("completed", ended.syncStatus)
    assert.equal("2026-01-01T00:00:00.2500000Z", ended.lastManualSyncTriggerDateTime)
    assert.equal("2026-01-01T00:00:30.7500000Z", ended.lastSyncDateTime)
  end)

  it("writes stamps with an offset where that is asked for", function()
    local service = new_service { zone = "-08:00" }
    service.sync()
    local record = service.record()
    assert.equal("2025-12-31T16:00:00.0000000-08:00", record.lastManualSyncTriggerDateTime)
    assert.equal(never, record.lastSyncDateTime)
  end)

  it("stands inside a value where that is asked for", function()
    assert.equal("unknown", new_service({ wrapped = true }).record().value.syncStatus)
  end)

  it("keeps the last completed sync when a later one fails", function()
    local service = new_service { duration = 10 }
    service.sync()
    service.emulator:advance(600)
    service.emulator:inject { kind = "failed_sync" }
    assert.equal(204, service.sync().status)
    assert.equal("inProgress", service.record().syncStatus)
    service.emulator:advance(10)
    local record = service.record()
    assert.equal("failed", record.syncStatus)
    assert.equal("2026-01-01T00:00:10.0000000Z", record.lastSyncDateTime)
    assert.equal("2026-01-01T00:10:00.0000000Z", record.lastManualSyncTriggerDateTime)
  end)

  it("never forgets a stamp, however many automatic syncs came after it", function()
    local service = new_service { duration = 1 }
    service.sync()
    for _ = 1, 20 do
      service.emulator:advance(1)
      assert.is_true(service.emulator:trigger("contoso", { automatic = true }))
    end
    service.emulator:advance(1)
    local record = service.record()
    assert.equal("2026-01-01T00:00:00.0000000Z", record.lastManualSyncTriggerDateTime)
    assert.equal("2026-01-01T00:00:21.0000000Z", record.lastSyncDateTime)
  end)
end)

describe("autopilot.emulator: who may call", function()
  local function refusal(response, status, code)
    assert.equal(status, response.status)
    local told, nested = error_of(response)
    assert.equal(code, told.code)
    return told.message, nested
  end

  it("refuses a missing, an unknown, a foreign and an expired token with 401", function()
    local service = new_service {
      tokens = {
        old = { tenant = "contoso", expires = start + 10 },
        foreign = { tenant = "contoso", audience = "https://vault.azure.net" },
        here = { tenant = "contoso", audience = "https://graph.microsoft.us" },
      },
    }
    assert.equal(204, service.sync("here").status)
    assert.equal(200, service.status("old").status)
    service.emulator:advance(10)
    local url = settings_url .. "/sync"
    local responses = {
      ["Access token is empty."] = service.ask("POST", url),
      ["CompactToken parsing failed with error code: 80049217"] = service.sync "nobody's",
      ["Lifetime validation failed, the token is expired."] = service.sync "old",
      ["Access token validation failure. Invalid audience."] = service.sync "foreign",
    }
    for message, response in pairs(responses) do
      assert.equal(message, (refusal(response, 401, "InvalidAuthenticationToken")))
      assert.matches("^Bearer ", response.headers["www-authenticate"])
    end
    local basic = service.ask("POST", url, nil, { authorization = "Basic here" })
    assert.equal(401, basic.status)
  end)

  it("accepts one audience alone where that is asked for", function()
    local service = new_service { audience = "https://graph.microsoft.us" }
    local token = { tenant = "contoso", audience = "https://graph.microsoft.com" }
    assert.equal(401, service.sync(service.emulator:issue_token(token)).status)
    token.audience = "https://graph.microsoft.us"
    assert.equal(204, service.sync(service.emulator:issue_token(token)).status)
  end)

  it("refuses a token without the permission with 403, as Intune does", function()
    local read = "DeviceManagementServiceConfig.Read.All"
    local service = new_service {
      tokens = {
        none = { tenant = "contoso", roles = {} },
        reader = { tenant = "contoso", roles = { read } },
      },
    }
    for _, token in ipairs { "none", "reader" } do
      local message, nested = refusal(service.sync(token), 403, "Forbidden")
      assert.matches('^{\r\n  "_version": 3,\r\n  "Message": "', message)
      assert.matches('"RetryAfter": null,\r\n', message)
      assert.matches(
        "^Application is not authorized to perform this operation%. Application must have one of "
          .. "the following scopes: DeviceManagementServiceConfig%.ReadWrite%.All %- "
          .. "Operation ID %(for customer support%): %x+%-",
        nested.Message
      )
    end
    assert.equal(200, service.status("reader").status)
    assert.equal(403, service.status("none").status)
  end)

  it("refuses a tenant without licence with 400", function()
    local service = new_service { tenants = { contoso = { licensed = false } } }
    local _, nested = refusal(service.sync(), 400, "BadRequest")
    assert.matches("^Request not applicable to target tenant%.", nested.Message)
  end)

  it("tells the caller's id as Intune's activity id", function()
    local service = new_service()
    service.sync()
    local headers = { ["Client-Request-Id"] = "11111111-2222-4333-8444-555555555555" }
    local response = service.ask("POST", settings_url .. "/sync", "good", headers)
    local message, nested = refusal(response, 409, "Conflict")
    assert.matches("Activity ID: 11111111%-2222%-4333%-8444%-555555555555 ", nested.Message)
    assert.matches("https://proxy", message)
    assert.equal(
      "11111111-2222-4333-8444-555555555555",
      error_of(response).innerError["client-request-id"]
    )
  end)

  it("answers 405 to a wrong method and 404 to a wrong path", function()
    local service = new_service()
    local wrong_method = service.ask("GET", settings_url .. "/sync", "good")
    refusal(wrong_method, 405, "MethodNotAllowed")
    assert.equal("POST", wrong_method.headers.allow)
    refusal(service.ask("POST", settings_url, "good"), 405, "MethodNotAllowed")
    for _, path in ipairs { "/", "", "/beta", "/v2/deviceManagement/windowsAutopilotSettings" } do
      refusal(service.ask("GET", "https://host" .. path, "good"), 404, "ResourceNotFound")
    end
    refusal(service.ask("GET", settings_url .. "/sync/x", "good"), 404, "ResourceNotFound")
  end)

  it("finds a path in either version, in any case, with a query, on any host", function()
    local service = new_service()
    local path = "/V1.0/devicemanagement/WindowsAutopilotSettings?$select=syncStatus"
    assert.equal(200, service.ask("GET", path, "good").status)
    assert.equal(200, service.ask("GET", "https://[::1]:8443" .. path, "good").status)
  end)
end)

describe("autopilot.emulator: every answer", function()
  it("has the service's date and ids, and repeats the caller's id", function()
    local service = new_service { start = 784111777.9 }
    local ids = {}
    local responses = {
      service.sync(),
      service.sync(),
      service.status(),
      service.sync "bad",
      service.ask("GET", "https://host/", "good"),
      service.ask("GET", "https://host/t/oauth2/v2.0/token"),
    }
    assert.equal(6, #responses)
    for _, response in ipairs(responses) do
      assert.equal("Sun, 06 Nov 1994 08:49:37 GMT", response.headers.date)
      local id = response.headers["request-id"]
      assert.matches("^%x+%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x+$", id)
      assert.equal(36, #id)
      assert.is_nil(ids[id])
      ids[id] = true
      assert.equal(id, response.headers["client-request-id"])
      assert.truthy(cjson.decode(response.headers["x-ms-ags-diagnostic"]).ServerInfo)
      assert.equal("string", type(response.http_version))
    end
    local mine = service.ask("GET", settings_url, "good", { ["client-request-id"] = "mine" })
    assert.equal("mine", mine.headers["client-request-id"])
  end)

  it("has a right date in any year", function()
    local calendar = require "autopilot.emulator.calendar"
    local day = 86400
    local random = 7
    for _ = 1, 2000 do
      random = (random * 48271) % 2147483647
      local at = random * 2 -- 1970 to 2106
      assert.equal(os.date("!%Y-%m-%dT%H:%M:%S", at), calendar.date_and_time(at, "T"))
    end
    assert.equal("Thu, 29 Feb 2024 23:59:59 GMT", calendar.http_date(1709251200 - 1))
    assert.equal("Fri, 01 Mar 2024 00:00:00 GMT", calendar.http_date(1709251200))
    assert.equal("Wed, 31 Dec 1969 23:59:59 GMT", calendar.http_date(-1))
    assert.equal("2000-02-29 00:00:00", calendar.date_and_time(11016 * day, " "))
    assert.equal("2100-03-01 00:00:00", calendar.date_and_time(47541 * day, " "))
    assert.equal("1600-03-01 00:00:00", calendar.date_and_time(-135080 * day, " "))
    assert.equal("1970-01-02T00:00:00.0000000Z", calendar.stamp(day - 1e-9, "Z"))
    assert.equal("1970-01-01T05:30:00.5000000+05:30", calendar.stamp(0.5, "+05:30"))
  end)
end)

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

  local function claims_of(token)
    local values = {}
    local base64url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    local header, payload, signature = token:match "^([%w_-]+)%.([%w_-]+)%.([%w_-]+)$"
    for letter in payload:gmatch "." do
      values[#values + 1] = base64url:find(letter, 1, true) - 1
    end
    local bytes = {}
    for at = 1, #values, 4 do
      local bits = 0
      for place = 0, 3 do
        bits = bits * 64 + (values[at + place] or 0)
      end
      for place = 2, 2 - (math.min(4, #values - at + 1) - 2), -1 do
        bytes[#bytes + 1] = string.char(math.floor(bits / 256 ^ place) % 256)
      end
    end
    return cjson.decode(table.concat(bytes)), header, signature
  end

  it("gives an application's token, which Graph then accepts until it expires", function()
    local service = emulator.new { clients = { app = { secret = secret } } }
    local response = ask(service)
    assert.equal(200, response.status)
    local granted = cjson.decode(response.body)
    assert.equal("Bearer", granted.token_type)
    assert.equal(3599, granted.expires_in)

    local claims, _, signature = claims_of(granted.access_token)
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

  it("gives the roles and the lifetime that were set", function()
    local service = emulator.new {
      clients = { app = { secret = secret, roles = {} } },
      token_lifetime = 60,
    }
    local granted = cjson.decode(ask(service).body)
    assert.equal(60, granted.expires_in)
    assert.is_nil(claims_of(granted.access_token).roles)
  end)

  it("tells a wrong tenant, application, secret and form by AADSTS number", function()
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
    assert_answer(401, 900023, { client_assertion = "signed", client_assertion_type = "saml" })
  end)

  it("forgets tokens long expired, so that its memory does not grow for ever", function()
    local service = emulator.new { token_lifetime = 10, log_limit = 0 }
    local first = service:issue_token { tenant = "t" }
    for _ = 1, 3000 do
      service:advance(10)
      service:issue_token { tenant = "t" }
    end
    local left = 0
    for _ in pairs(service.service.tokens.issued) do
      left = left + 1
    end
    assert.is_true(left < 1500)
    assert.is_nil(service.service.tokens.issued[first])
  end)
end)
