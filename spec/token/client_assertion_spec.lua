-- An assertion of any platform, by a function or a variable; and the platforms whose build servers give one.

local azure_pipelines = require("autopilot.token.application").azure_pipelines
local client_assertion = require("autopilot.token.application").client_assertion
local github_actions = require("autopilot.token.application").github_actions
local mistakes = require "support.mistakes"
local overlay = require "support.overlay"
local token_world = require "support.token_world"

local assertion = "hush-4f6c1d0e9a7b"
local jwt_bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

describe("autopilot.token.client_assertion", function()
  local function provider(source, variables)
    return client_assertion {
      client_id = "app",
      assertion = source,
      getenv = token_world.getenv(variables or {}),
    }
  end

  it("signs in with the result of a function, called at each request", function()
    local world = token_world.scripted { token_world.granted(), token_world.granted() }
    local asked = {}
    local sign_in = provider(function(ask)
      asked[#asked + 1] = ask
      return assertion .. #asked
    end)
    assert.are.equal("opaque-token-0123456789", (sign_in(world.ask)))
    assert.are.same({
      client_assertion = assertion .. "1",
      client_assertion_type = jwt_bearer,
      client_id = "app",
      grant_type = "client_credentials",
      scope = "https://graph.microsoft.com/.default",
    }, token_world.form(world.requests[1].body))
    assert.are.equal(world.ask, asked[1])
    sign_in(world.ask)
    local second = token_world.form(world.requests[2].body)
    assert.are.equal(assertion .. "2", second.client_assertion)
  end)

  it("signs in with the value of a variable, in the tenant of the environment", function()
    local world = token_world.scripted { token_world.granted() }
    world.ask.tenant = nil
    local variables = { GITLAB_ID_TOKEN = assertion, AZURE_TENANT_ID = "contoso" }
    assert.is_truthy((provider("GITLAB_ID_TOKEN", variables)(world.ask)))
    assert.is_truthy(world.requests[1].url:find("/contoso/", 1, true))
    local form = token_world.form(world.requests[1].body)
    assert.are.equal(assertion, form.client_assertion)
  end)

  it("reads a variable with the name of an option", function()
    for _, name in ipairs { "assertion", "client_id", "tenant" } do
      local world = token_world.scripted { token_world.granted() }
      assert.is_truthy((provider(name, { [name] = assertion })(world.ask)))
      local form = token_world.form(world.requests[1].body)
      assert.are.equal(assertion, form.client_assertion)
    end
  end)

  it("lets the function yield", function()
    local world = token_world.scripted { token_world.granted() }
    local thread = coroutine.create(provider(function()
      return coroutine.yield "waiting"
    end))
    assert.are.same({ true, "waiting" }, { coroutine.resume(thread, world.ask) })
    assert.is_truthy(select(2, coroutine.resume(thread, assertion)))
  end)

  it("reports a missing assertion, and sends nothing", function()
    for said, source in pairs {
      ["client assertion is not set up: set NO_SUCH_VARIABLE"] = "NO_SUCH_VARIABLE",
      ["client assertion gave no token that can be used"] = "TWO_LINES",
      ["the function assertion gave no assertion: the vault is closed"] = function()
        return nil, "the vault\nis closed"
      end,
      ["the function assertion gave no assertion"] = function()
        error("vault has " .. assertion)
      end,
    } do
      local world = token_world.scripted {}
      local token, message, details =
        provider(source, { TWO_LINES = assertion .. "\nx" })(world.ask)
      assert.is_nil(token)
      assert.are.equal(said, message)
      assert.is_false(details.is_transient)
      assert.are.equal(0, #world.requests)
    end
  end)

  it("names the variable whose token is expired or not yet valid", function()
    local refused = token_world.refused(401, "invalid_client", 700024, "Not within its time.")
    local world = token_world.scripted { refused, refused }
    local _, _, details = provider("CI_TOKEN", { CI_TOKEN = assertion })(world.ask)
    assert.is_truthy(details.hint:find("The token in CI_TOKEN is not within its time", 1, true))
    _, _, details = provider(function()
      return assertion
    end)(world.ask)
    assert.is_truthy(details.hint:find("check this machine's clock", 1, true))
  end)

  it("never shows its assertion", function()
    for _, answer in ipairs {
      token_world.refused(401, "invalid_client", 70021, "No match for " .. assertion),
      { status = 500, body = assertion },
      { network = { message = assertion } },
    } do
      local world = token_world.scripted { answer }
      token_world.assert_nowhere(
        "4f6c1d0e9a7b",
        { provider("CI_TOKEN", { CI_TOKEN = assertion })(world.ask) }
      )
    end
  end)

  it("raises for a caller's mistake at the caller's line, without the assertion", function()
    mistakes.assert_refused("client_assertion", client_assertion, {
      ["option 'assertion' is required"] = { client_id = "app" },
      ["option 'client_id' is required"] = { assertion = "X" },
      ["option 'assertion' must be a function, or the name of an environment variable"] = {
        client_id = "app",
        assertion = "e30.hush.x",
      },
    }, "hush")
  end)
end)

-- Each build server: its provider, the variables of a job, and what its endpoint answers.
local servers = {
  github_actions = {
    new = github_actions,
    variables = {
      ACTIONS_ID_TOKEN_REQUEST_URL = "https://actions.test/_apis/idtoken?api-version=2.0",
      ACTIONS_ID_TOKEN_REQUEST_TOKEN = "request-" .. assertion,
      AZURE_CLIENT_ID = "app",
      AZURE_TENANT_ID = "contoso",
    },
    key = "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    address = "ACTIONS_ID_TOKEN_REQUEST_URL",
    answer = { count = 1, value = assertion },
    method = "GET",
    url = "https://actions.test/_apis/idtoken?api-version=2.0&audience="
      .. "api%3A%2F%2FAzureADTokenExchange",
  },
  azure_pipelines = {
    new = azure_pipelines,
    variables = {
      SYSTEM_OIDCREQUESTURI = "https://dev.azure.test/org/oidctoken",
      SYSTEM_ACCESSTOKEN = "request-" .. assertion,
      AZURESUBSCRIPTION_CLIENT_ID = "app",
      AZURESUBSCRIPTION_TENANT_ID = "contoso",
      AZURESUBSCRIPTION_SERVICE_CONNECTION_ID = "connection",
    },
    key = "SYSTEM_ACCESSTOKEN",
    address = "SYSTEM_OIDCREQUESTURI",
    answer = { oidcToken = assertion },
    method = "POST",
    url = "https://dev.azure.test/org/oidctoken?api-version=7.1&serviceConnectionId=connection",
  },
}

for name, server in pairs(servers) do
  describe("autopilot.token." .. name, function()
    local function ask(answers, changes, given)
      local variables = overlay({}, server.variables)
      for variable, value in pairs(changes or {}) do
        variables[variable] = value or nil
      end
      local world = token_world.scripted(answers)
      world.ask.tenant = nil
      local options = overlay({ getenv = token_world.getenv(variables) }, given)
      local token, message, details = server.new(options)(world.ask)
      return token, message, details, world.requests
    end

    it("gets the assertion from the build server, and signs in with it", function()
      local answers = { token_world.answer(200, server.answer), token_world.granted() }
      local token, _, _, requests = ask(answers)
      assert.are.equal("opaque-token-0123456789", token)
      local first = requests[1]
      assert.are.same({ server.method, server.url }, { first.method, first.url })
      assert.are.equal("Bearer request-" .. assertion, first.headers.Authorization)
      assert.is_truthy(requests[2].url:find("/contoso/", 1, true))
      local form = token_world.form(requests[2].body)
      assert.are.same({ assertion, "app" }, { form.client_assertion, form.client_id })
    end)

    it("prefers options", function()
      local answers = { token_world.answer(200, server.answer), token_world.granted() }
      local _, _, _, requests = ask(answers, nil, { client_id = "given", tenant = "fabrikam" })
      assert.is_truthy(requests[2].url:find("/fabrikam/", 1, true))
      assert.are.equal("given", token_world.form(requests[2].body).client_id)
    end)

    it("says which variable is missing, and sends nothing", function()
      for variable in pairs(server.variables) do
        local token, message, details, requests = ask({}, { [variable] = false })
        assert.is_nil(token)
        local said = variable:find "TENANT" and "tenant" or variable
        assert.is_truthy(message:find(said, 1, true), message)
        assert.is_false(details.is_transient)
        assert.are.equal(0, #requests)
      end
    end)

    it("ignores a tenant of the environment that is not an id or domain", function()
      for variable in pairs(server.variables) do
        for _, tenant in ipairs(variable:find "TENANT" and { "../evil?x=", "common" } or {}) do
          local token, message, _, requests = ask({}, { [variable] = tenant })
          assert.is_nil(token)
          assert.is_truthy(message:find("^the tenant must be "), message)
          assert.are.equal(0, #requests)
        end
      end
    end)

    it("sends its key over https only, or to this machine", function()
      for _, url in ipairs { "http://build.test/hush", "ftp://localhost/", "https://u:hush@x.t" } do
        local token, message, _, requests = ask({}, { [server.address] = url })
        assert.is_nil(token)
        assert.is_truthy(message:find("^" .. server.address .. " must be "), message)
        token_world.assert_nowhere("hush", message)
        assert.are.equal(0, #requests)
      end
      local answers = { token_world.answer(200, server.answer), token_world.granted() }
      assert.is_truthy((ask(answers, { [server.address] = "http://127.0.0.1:5/" })))
      local _, message = ask({}, { [server.key] = "hush\r\nX: y" })
      assert.are.equal(server.key .. " must be one line of ASCII text", message)
    end)

    it("reports the build server's refusal, without its key or an assertion", function()
      local echo = "no job for request-" .. assertion
      for _, answer in ipairs {
        token_world.answer(403, { message = echo }),
        token_world.answer(200, { value = { echo }, oidcToken = { echo } }),
        { status = 302, headers = { Location = "https://evil.test/" .. echo } },
        { status = 200, body = echo },
        { network = { message = echo } },
      } do
        local token, message, details, requests = ask { answer }
        assert.is_nil(token)
        assert.are.equal("string", type(message))
        token_world.assert_nowhere("4f6c1d0e9a7b", { message, details })
        assert.are.equal(1, #requests)
      end
      local _, message, details = ask { { status = 429, headers = { ["Retry-After"] = "7" } } }
      assert.is_truthy(message:find("throttling", 1, true), message)
      assert.are.same({ 7, true }, { details.retry_after, details.is_transient })
    end)
  end)
end

describe("autopilot.token.github_actions", function()
  it("names the workflow's missing permission if GitHub has set no variables", function()
    local variables = { AZURE_CLIENT_ID = "app", AZURE_TENANT_ID = "contoso" }
    local world = token_world.scripted {}
    local _, message = github_actions { getenv = token_world.getenv(variables) }(world.ask)
    assert.are.equal(
      "github actions is not set up: ACTIONS_ID_TOKEN_REQUEST_TOKEN is missing: "
        .. "give the workflow the permission id-token: write",
      message
    )
  end)
end)
