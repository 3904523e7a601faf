local managed_identity = require "autopilot.token.managed_identity"
local mistakes = require "support.mistakes"
local overlay = require "support.overlay"
local token_world = require "support.token_world"

local opaque = "opaque-token-0123456789"
local hidden = "hush-4f6c1d0e9a7b"
local now = 1767225600.25
local resource = "resource=https%3A%2F%2Fgraph.microsoft.com"

-- What tells each platform.
local platforms = {
  service_fabric = {
    IDENTITY_ENDPOINT = "https://10.0.0.4:2377/metadata/identity/oauth2/token",
    IDENTITY_HEADER = hidden,
    IDENTITY_SERVER_THUMBPRINT = "AB12",
  },
  app_service = { IDENTITY_ENDPOINT = "http://127.0.0.1:41/msi/token", IDENTITY_HEADER = hidden },
  machine_learning = { MSI_ENDPOINT = "http://localhost:42/msi?a=b", MSI_SECRET = hidden },
  arc = {
    IDENTITY_ENDPOINT = "http://localhost:40342/metadata/identity/oauth2/token",
    IMDS_ENDPOINT = "http://localhost:40342",
  },
  cloud_shell = { MSI_ENDPOINT = "http://localhost:50342/oauth2/token" },
  imds = {},
}

local function provider(platform, given, more)
  local variables = {}
  for _, source in ipairs { platforms[platform], more or {} } do
    overlay(variables, source)
  end
  local options = overlay({ getenv = token_world.getenv(variables) }, given)
  return managed_identity(options)
end

local function granted(fields)
  return token_world.granted(fields)
end

--- Asks once in a world with these answers.
local function ask(platform, answers, given, more)
  local world = token_world.scripted(answers)
  local token, second, third = provider(platform, given, more)(world.ask)
  return token, second, third, world
end

describe("autopilot.token.managed_identity", function()
  it("asks App Service", function()
    local answer = granted { expires_on = tostring(now + 3600) }
    answer.body = answer.body:gsub('"expires_in":%d+,?', ""):gsub(",}", "}")
    local token, expires_in, extra, world = ask("app_service", { answer })
    assert.are.equal(opaque, token)
    assert.are.equal(3600, expires_in)
    assert.is_nil(extra.refresh_in)
    local sent = world.requests[1]
    assert.are.equal("GET", sent.method)
    local url = "http://127.0.0.1:41/msi/token?api-version=2019-08-01&" .. resource
    assert.are.equal(url, sent.url)
    assert.are.equal(hidden, sent.headers["X-IDENTITY-HEADER"])
  end)

  it(
    "tells App Service and Service Fabric which token a claims challenge refused, as MSAL does",
    function()
      local world_ask = { claims = '{"access_token":{}}', refresh = true, refused = "abc" }
      local hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" -- SHA-256 (FIPS 180)
      for platform in pairs(platforms) do
        local world = token_world.scripted { granted() }
        assert.are.equal(opaque, (provider(platform)(overlay(world.ask, world_ask))))
        local url = world.requests[1].url
        local is_told = platform == "app_service" or platform == "service_fabric"
        assert.are.equal(is_told, url:find("&token_sha256_to_refresh=" .. hash, 1, true) ~= nil)
        assert.are.equal(is_told, url:find("&xms_cc=cp1", 1, true) ~= nil)
      end
      local _, _, _, world = ask("app_service", { granted() })
      assert.is_nil(world.requests[1].url:find "xms_cc")
    end
  )

  it("asks Azure Machine Learning", function()
    local token, _, _, world = ask("machine_learning", { granted() })
    assert.are.equal(opaque, token)
    local url = "http://localhost:42/msi?a=b&api-version=2017-09-01&"
    assert.are.equal(url .. resource, world.requests[1].url)
    assert.are.equal(hidden, world.requests[1].headers.secret)
    local default = { DEFAULT_IDENTITY_CLIENT_ID = "the-default" }
    _, _, _, world = ask("machine_learning", { granted() }, nil, default)
    assert.are.equal(url .. "clientid=the-default&" .. resource, world.requests[1].url)
  end)

  it("asks Cloud Shell by a form", function()
    local token, _, _, world = ask("cloud_shell", { granted() })
    assert.are.equal(opaque, token)
    local sent = world.requests[1]
    assert.are.equal("POST", sent.method)
    assert.are.equal("http://localhost:50342/oauth2/token", sent.url)
    assert.are.equal("true", sent.headers.Metadata)
    assert.are.same({ resource = "https://graph.microsoft.com" }, token_world.form(sent.body))
  end)

  it("asks the metadata service by default", function()
    local token, expires_in, _, world = ask("imds", { granted { expires_in = "3599" } })
    assert.are.equal(opaque, token)
    assert.are.equal(3599, expires_in)
    local sent = world.requests[1]
    assert.are.equal("true", sent.headers.Metadata)
    assert.are.equal(
      "http://169.254.169.254/metadata/identity/oauth2/token?api-version=2018-02-01&" .. resource,
      sent.url
    )
    local host = { AZURE_POD_IDENTITY_AUTHORITY_HOST = "http://127.0.0.1:2579/" }
    _, _, _, world = ask("imds", { granted() }, nil, host)
    assert.is_truthy(world.requests[1].url:find("^http://127.0.0.1:2579/metadata/identity/"))
  end)

  it("asks Service Fabric", function()
    local answer = granted { expires_on = now + 3600 }
    local token, _, _, world = ask("service_fabric", { answer })
    assert.are.equal(opaque, token)
    local sent = world.requests[1]
    assert.are.equal("GET", sent.method)
    assert.are.equal(
      "https://10.0.0.4:2377/metadata/identity/oauth2/token?api-version=2019-07-01-preview&"
        .. resource,
      sent.url
    )
    assert.are.same({ Secret = hidden }, sent.headers)
  end)

  it("gives advice if Service Fabric's certificate is not trusted", function()
    local failure = { stage = "tls", message = "self-signed certificate", delivered = "no" }
    local token, message, details = ask("service_fabric", { { network = failure } })
    assert.is_nil(token)
    assert.is_truthy(message:find("self-signed certificate", 1, true))
    assert.is_truthy(details.hint:find("http.ca_file", 1, true))
    failure = { stage = "connect", message = "refused", delivered = "no" }
    details = select(3, ask("service_fabric", { { network = failure } }))
    assert.is_truthy(details.hint:find("check IDENTITY_ENDPOINT", 1, true), details.hint)
    assert.is_true(details.is_transient)
  end)

  it("detects the platform in a fixed order, and ignores an empty variable", function()
    local all = {}
    for _, variables in pairs(platforms) do
      overlay(all, variables)
    end
    all.IDENTITY_ENDPOINT = platforms.arc.IDENTITY_ENDPOINT
    local _, message = ask("imds", {}, nil, all)
    assert.is_truthy(message:find "Service Fabric")
    for _, step in ipairs {
      { "IDENTITY_SERVER_THUMBPRINT", "X-IDENTITY-HEADER" },
      { "IDENTITY_HEADER", "secret" },
      { "MSI_SECRET", "Metadata", "GET", "http://localhost:40342/metadata" },
      { "IMDS_ENDPOINT", "Metadata", "POST" },
      { "MSI_ENDPOINT", "Metadata", "GET", "http://169.254.169.254/" },
    } do
      all[step[1]] = ""
      local world = select(4, ask("imds", { granted() }, nil, all))
      local sent = world.requests[1]
      assert.is_truthy(sent.headers[step[2]], step[1])
      assert.are.equal(step[3] or "GET", sent.method)
      assert.is_truthy(sent.url:find(step[4] or "", 1, true), step[1])
    end
  end)

  it("requests a user-assigned identity by the platform's own names", function()
    for platform, names in pairs {
      app_service = { client_id = "client_id", resource_id = "mi_res_id", object_id = "object_id" },
      imds = { client_id = "client_id", resource_id = "msi_res_id", object_id = "object_id" },
      machine_learning = { client_id = "clientid" },
      arc = {},
      cloud_shell = {},
      service_fabric = {},
    } do
      for _, kind in ipairs { "client_id", "resource_id", "object_id" } do
        local token, message, _, world = ask(platform, { granted() }, { [kind] = "/an id&x=y" })
        if names[kind] then
          assert.are.equal(opaque, token)
          local wanted = names[kind] .. "=%2Fan%20id%26x%3Dy"
          assert.is_truthy(world.requests[1].url:find("[?&]" .. wanted:gsub("%%", "%%%%")))
        else
          assert.is_nil(token)
          assert.is_truthy(message:find("no identity that is chosen by " .. kind, 1, true))
          assert.are.equal(0, #world.requests)
        end
      end
    end
  end)

  it("requests the resource of the cloud or of the option scope", function()
    local world = token_world.scripted { granted(), granted() }
    world.ask.cloud, world.ask.scope = "us_gov", nil
    provider "imds"(world.ask)
    assert.is_truthy(world.requests[1].url:find("graph.microsoft.us", 1, true))
    provider("imds", { scope = "https://x.test/.default" })(world.ask)
    assert.is_truthy(world.requests[2].url:find("resource=https%3A%2F%2Fx.test", 1, true))
  end)

  it("reads every form of expiry, the earlier of two", function()
    for _, case in ipairs {
      { { expires_in = 100, expires_on = now + 50 }, 50 },
      { { expires_in = "100", expires_on = tostring(now + 5000) }, 100 },
      { { expires_in = 100, expires_on = 5 }, 0 },
      { { expires_in = 7199.5 }, 7199.5 },
      { { expires_in = 7200 }, 7200 },
      { { expires_in = 86400, refresh_in = "500" }, 86400, 500 },
      { { expires_in = "soon", expires_on = {} }, nil },
      { { expires_in = -1 }, nil },
      { { expires_in = "9/19/2017 11:23:11 PM +00:00" }, nil },
    } do
      local token, expires_in, extra = ask("imds", { granted(case[1]) })
      assert.are.equal(opaque, token)
      assert.are.equal(case[2], expires_in)
      assert.are.equal(case[3], extra.refresh_in)
    end
  end)

  it(
    "goes over http to a link-local address only where the platform's endpoint may be one",
    function()
      local url = "http://169.254.130.2:8081/msi/token"
      for platform, variable in pairs {
        app_service = "IDENTITY_ENDPOINT",
        machine_learning = "MSI_ENDPOINT",
        imds = "AZURE_POD_IDENTITY_AUTHORITY_HOST",
      } do
        assert.are.equal(opaque, (ask(platform, { granted() }, nil, { [variable] = url })))
      end
      for platform, variable in pairs {
        arc = "IDENTITY_ENDPOINT",
        cloud_shell = "MSI_ENDPOINT",
        service_fabric = "IDENTITY_ENDPOINT",
      } do
        for _, address in ipairs { url, "http://10.0.0.4/msi/token" } do
          local token, message, _, world = ask(platform, {}, nil, { [variable] = address })
          assert.is_nil(token)
          assert.is_truthy(message:find("http is for loopback addresses only", 1, true), message)
          assert.are.equal(0, #world.requests)
        end
      end
    end
  )

  it("refuses a token for the Graph of another cloud", function()
    local world = token_world.scripted({}, { cloud = "china" })
    world.ask.scope = "https://graph.microsoft.com/.default"
    local token, message, details = provider "imds"(world.ask)
    assert.is_nil(token)
    assert.is_truthy(message:find("the scope is that of the cloud 'global'", 1, true), message)
    assert.is_false(details.is_transient)
    assert.are.equal(0, #world.requests)
  end)

  it("sends nothing to an invalid address, and does not quote it", function()
    for _, url in ipairs {
      "http://evil.test/hush",
      "http://127.0.0.1.evil.test/hush",
      "http://169.254.169.254.evil.test/hush",
      "http://169.254.300.1/hush",
      "http://10.0.0.4/hush",
      "https://user:hush@127.0.0.1/",
      "http://user@localhost/hush",
      "https://x.test/hush#fragment",
      "https://x.test/hush\r\nX: y",
      "https://x.test/hush hush",
      "http://localhost\\@evil.test/hush",
      "ftp://localhost/hush",
      "file:///hush",
      "localhost/hush",
      "https://",
    } do
      for platform, variable in pairs {
        app_service = "IDENTITY_ENDPOINT",
        machine_learning = "MSI_ENDPOINT",
        arc = "IDENTITY_ENDPOINT",
        cloud_shell = "MSI_ENDPOINT",
        imds = "AZURE_POD_IDENTITY_AUTHORITY_HOST",
      } do
        local token, message, details, world = ask(platform, {}, nil, { [variable] = url })
        assert.is_nil(token)
        assert.is_truthy(message:find("^" .. variable .. " must be "), message)
        token_world.assert_nowhere("hush", { message, details })
        assert.is_false(details.is_transient)
        assert.are.equal(0, #world.requests)
      end
    end
    for _, url in ipairs { "https://x.test/a", "HTTP://[::1]:5/a", "http://169.254.131.1/a" } do
      assert.are.equal(
        opaque,
        (ask("machine_learning", { granted() }, nil, { MSI_ENDPOINT = url }))
      )
    end
    local _, message = ask("app_service", {}, nil, { IDENTITY_HEADER = "hush\r\nX: y" })
    assert.are.equal("IDENTITY_HEADER must be one line of ASCII text", message)
  end)

  it("reads errors in each form of the platforms", function()
    for _, case in ipairs {
      { "app_service", { statusCode = 400, message = "No identity." }, "No identity." },
      { "arc", { error = { code = "bad", message = "It\nis so." } }, "It", "bad" },
      {
        "imds",
        { error = "invalid_request", error_description = "Odd." },
        "Odd.",
        "invalid_request",
      },
      {
        "cloud_shell",
        { error = { code = "audience_wrong" } },
        "audience_wrong",
        "audience_wrong",
      },
      { "machine_learning", { Message = "Nothing." }, "Nothing." },
    } do
      local token, message, details = ask(case[1], { token_world.answer(400, case[2]) })
      assert.is_nil(token)
      assert.is_truthy(message:find "^managed identity of ")
      assert.is_truthy(message:find(case[3], 1, true), message)
      assert.are.equal(case[4], details.code)
      assert.is_false(details.is_transient)
    end
  end)

  it("survives any answer, and shows none of its secrets", function()
    for platform in pairs(platforms) do
      for _, answer in ipairs {
        { status = 200, body = "" },
        { status = 200, body = "<html>" .. hidden },
        { status = 200, body = '{"access_token":"hush hush"}' },
        { status = 200, body = '{"access_token":null}' },
        { status = 200, body = '{"access_token":"x","token_type":"pop"}' },
        { status = 302, headers = { Location = "https://evil.test/" .. hidden } },
        { status = 400, body = ("x"):rep(300000) },
        { status = 400, body = '{"message":"' .. hidden .. '"}' },
        {
          status = 403,
          body = '{"error":{"code":"' .. hidden .. '","message":"' .. hidden .. '"}}',
        },
        { network = { message = "no route for " .. hidden } },
        { network = { message = "two\nlines" } },
      } do
        local token, message, details = ask(platform, { answer })
        assert.is_nil(token)
        assert.is_nil(message:find "%c")
        assert.is_true(#message <= 300)
        if platforms[platform].IDENTITY_HEADER or platforms[platform].MSI_SECRET then
          token_world.assert_nowhere("4f6c1d0e9a7b", { message, details })
        end
      end
    end
    local raising = token_world.over(function(request)
      error(request.headers["X-IDENTITY-HEADER"])
    end)
    local token, message = provider "app_service"(raising.ask)
    assert.is_nil(token)
    token_world.assert_nowhere("4f6c1d0e9a7b", message)
  end)

  it("raises for a caller's mistake at the caller's line", function()
    mistakes.assert_refused("managed_identity", managed_identity, {
      ["did you mean 'client_id'?"] = { clientid = "x" },
      ["option 'client_id' must be one line of text"] = { client_id = "" },
      ["takes one of 'client_id', 'resource_id' and 'object_id'"] = {
        client_id = "a",
        object_id = "b",
      },
      ["option 'probe' must be above 0"] = { probe = 0 },
    })
  end)
end)
