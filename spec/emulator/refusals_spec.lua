-- Which requests the emulated service refuses, and how.

local emulated_graph = require "support.emulated_graph"

local error_of, new_service = emulated_graph.error_of, emulated_graph.asked
local settings_url, start = emulated_graph.settings_url, emulated_graph.start

describe("autopilot.emulator: authorization", function()
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

  it("accepts only one audience on request", function()
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

  it("finds a tenant by its id and its domain, in upper or lower case", function()
    local service = new_service {
      tokens = { good = { tenant = "Contoso.example" }, free = { tenant = "ID-2" } },
      tenants = {
        ["id-1"] = { domain = "contoso.example", licensed = false },
        ["id-2"] = { domain = "fabrikam.example" },
      },
    }
    assert.equal(400, service.sync().status)
    assert.is_true(service.emulator:trigger "fabrikam.example")
    assert.equal(409, service.sync("free").status)
    assert.equal("inProgress", service.emulator:record("Fabrikam.example").status)
  end)

  it("returns the caller's id as Intune's activity id", function()
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

  it("has the settings in beta only, as Graph does", function()
    local service = new_service()
    local url = settings_url:gsub("/beta/", "/v1.0/")
    for method, path in pairs { POST = url .. "/sync", GET = url } do
      local message = refusal(service.ask(method, path, "good"), 400, "BadRequest")
      assert.equal("Resource not found for the segment 'windowsAutopilotSettings'.", message)
    end
  end)

  it("finds a path in any case, with a query, on any host", function()
    local service = new_service()
    local path = "/BETA/devicemanagement/WindowsAutopilotSettings?$select=syncStatus"
    assert.equal(200, service.ask("GET", path, "good").status)
    assert.equal(200, service.ask("GET", "https://[::1]:8443" .. path, "good").status)
  end)
end)
