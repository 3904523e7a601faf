-- The way to sign in that the environment names.

local emulator = require "autopilot.emulator"
local environment = require("autopilot.token.environment").environment
local files = require "support.files"
local overlay = require "support.overlay"
local virtual_world = require "support.virtual_world"

local function provider_of(variables, given)
  local options = {
    getenv = function(name)
      return variables[name]
    end,
  }
  overlay(options, given)
  return environment(options)
end

-- The forms that are sent, and the answer to all of them.
local function recording()
  local requests = {}
  return function(request)
    requests[#requests + 1] = request
    return {
      status = 200,
      headers = {},
      body = '{"token_type":"Bearer","access_token":"token","expires_in":3600}',
    }
  end,
    requests
end

local function ask(transport, more)
  local asked = {
    cloud = "global",
    scope = "https://graph.microsoft.com/.default",
    transport = transport,
    sleep = function() end,
    now = function()
      return 1767225600
    end,
  }
  overlay(asked, more)
  return asked
end

describe("autopilot.token.environment", function()
  it("reads variables without line ends after their values", function()
    local transport, requests = recording()
    local provider = provider_of {
      AZURE_TENANT_ID = "home.example\r\n",
      AZURE_CLIENT_ID = "app\n",
      AZURE_CLIENT_SECRET = "secret\r\n",
    }
    assert.equal("token", (provider(ask(transport))))
    assert.matches("/home.example/", requests[1].url, 1, true)
    assert.matches("client_secret=secret&", requests[1].body .. "&", 1, true)
  end)

  it("signs in with the secret", function()
    local transport, requests = recording()
    local provider = provider_of {
      AZURE_TENANT_ID = "home.example",
      AZURE_CLIENT_ID = "app",
      AZURE_CLIENT_SECRET = "s&cret",
      AZURE_FEDERATED_TOKEN_FILE = "/no/such/file",
    }
    assert.same({ "token", 3600, {} }, { provider(ask(transport)) })
    assert.equal(
      "https://login.microsoftonline.com/home.example/oauth2/v2.0/token",
      requests[1].url
    )
    assert.is_truthy(requests[1].body:find("client_secret=s%26cret", 1, true))
    assert.is_truthy(requests[1].body:find("client_id=app", 1, true))
  end)

  it("requests a token for the client's tenant rather than the environment's", function()
    local variables = {
      AZURE_TENANT_ID = "home.example",
      AZURE_CLIENT_ID = "app",
      AZURE_CLIENT_SECRET = "s",
    }
    local transport, requests = recording()
    provider_of(variables)(ask(transport, { tenant = "contoso" }))
    provider_of(variables, { tenant = "fixed" })(ask(transport, { tenant = "contoso" }))
    assert.is_truthy(requests[1].url:find("/contoso/", 1, true))
    assert.is_truthy(requests[2].url:find("/fixed/", 1, true))
  end)

  it("uses the authority of the environment", function()
    local transport, requests = recording()
    provider_of {
      AZURE_TENANT_ID = "t",
      AZURE_CLIENT_ID = "app",
      AZURE_CLIENT_SECRET = "s",
      AZURE_AUTHORITY_HOST = "https://login.example/",
    }(ask(transport))
    assert.equal("https://login.example/t/oauth2/v2.0/token", requests[1].url)
  end)

  it("signs in with the platform's token", function()
    local path, remove = files.temporary "assertion"
    local transport, requests = recording()
    provider_of {
      AZURE_TENANT_ID = "t",
      AZURE_CLIENT_ID = "app",
      AZURE_FEDERATED_TOKEN_FILE = path,
    }(ask(transport))
    remove()
    assert.is_truthy(requests[1].body:find("client_assertion=assertion", 1, true))
  end)

  it("prefers the certificate to the platform's token, and the secret to both", function()
    local transport, requests = recording()
    local token, message = provider_of {
      AZURE_TENANT_ID = "t",
      AZURE_CLIENT_ID = "app",
      AZURE_CLIENT_CERTIFICATE_PATH = "/no/such/certificate",
      AZURE_FEDERATED_TOKEN_FILE = "/no/such/token",
    }(ask(transport))
    assert.is_nil(token)
    assert.is_truthy(message:find("/no/such/certificate", 1, true), message)
    assert.equal(0, #requests)
  end)

  it("is nil and a sentence if nothing is set; an empty variable counts as not set", function()
    for _, case in ipairs {
      { {}, "the environment names no way to sign in: set AZURE_CLIENT_SECRET" },
      { { AZURE_CLIENT_SECRET = "" }, "the environment names no way to sign in" },
      { { AZURE_CLIENT_ID = "app" }, "the environment names no way to sign in" },
      { { AZURE_CLIENT_SECRET = "hidden" }, "set AZURE_CLIENT_ID" },
      { { AZURE_CLIENT_SECRET = "hidden", AZURE_CLIENT_ID = "" }, "set AZURE_CLIENT_ID" },
      { { AZURE_CLIENT_SECRET = "hidden", AZURE_CLIENT_ID = "app" }, "tenant" },
      {
        { AZURE_CLIENT_SECRET = "hid\nden", AZURE_CLIENT_ID = "app", AZURE_TENANT_ID = "t" },
        "the environment is wrong: ",
      },
    } do
      local transport, requests = recording()
      local token, message, details = provider_of(case[1])(ask(transport))
      assert.is_nil(token)
      assert.is_truthy(message:find(case[2], 1, true), message)
      assert.is_nil(message:find "hid")
      assert.is_false(details.is_transient)
      assert.equal(0, #requests)
    end
  end)

  it("is read when a token is requested", function()
    local variables = {}
    local transport = recording()
    local provider = provider_of(variables)
    assert.is_nil((provider(ask(transport))))
    variables.AZURE_TENANT_ID, variables.AZURE_CLIENT_ID = "t", "app"
    variables.AZURE_CLIENT_SECRET = "s"
    assert.equal("token", (provider(ask(transport))))
  end)

  it("signs a client in at the emulated service, and reports a wrong secret", function()
    local world = virtual_world.new()
    local service = emulator.new { clients = { app = { secret = "right" } } }
    for secret, outcome in pairs { right = "started", wrong = "token_error" } do
      local client = world:client {
        transport = service:transport(),
        token = provider_of { AZURE_CLIENT_ID = "app", AZURE_CLIENT_SECRET = secret },
      }
      local report, failure = client:sync()
      assert.equal(outcome, (report or failure).outcome)
      if failure then
        assert.equal("7000215", failure.error.reason)
        assert.equal("invalid_client", failure.error.code)
        assert.is_truthy(failure.hint:find "secret")
      end
    end
  end)
end)
