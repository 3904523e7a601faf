local files = require "support.files"
local mistakes = require "support.mistakes"
local token_world = require "support.token_world"
local workload_identity = require("autopilot.token.application").workload_identity

local jwt_bearer = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

--- An emulated service that takes this assertion.
local function emulated(good, given)
  return token_world.emulated({
    clients = {
      app = {
        verify = function(assertion)
          return assertion == good
        end,
      },
    },
  }, given)
end

describe("autopilot.token.workload_identity", function()
  local path, remove

  before_each(function()
    path, remove = files.temporary("platform-token-1\n", "644")
  end)

  after_each(function()
    remove()
  end)

  local function variables(changes)
    local all = {
      AZURE_FEDERATED_TOKEN_FILE = path,
      AZURE_CLIENT_ID = "app",
      AZURE_TENANT_ID = "contoso",
      AZURE_AUTHORITY_HOST = "https://login.microsoftonline.com/",
    }
    for name, value in pairs(changes or {}) do
      all[name] = value or nil
    end
    return { getenv = token_world.getenv(all) }
  end

  it("names the file whose token is expired or not yet valid", function()
    local world = token_world.scripted {
      token_world.refused(
        401,
        "invalid_client",
        700024,
        "Client assertion is not within its valid time."
      ),
    }
    local _, message, details = workload_identity(variables())(world.ask)
    assert.is_truthy(message:find("not within its valid time", 1, true))
    assert.is_truthy(details.hint:find(path, 1, true), details.hint)
  end)

  it("reports an audience that no federated credential has", function()
    local world = token_world.scripted {
      token_world.refused(
        401,
        "invalid_client",
        700212,
        "No matching federated identity record found."
      ),
    }
    local _, _, details = workload_identity(variables())(world.ask)
    assert.is_truthy(details.hint:find("api://AzureADTokenExchange", 1, true), details.hint)
  end)

  it("signs in with the platform's file and environment", function()
    local world = emulated "platform-token-1"
    world.ask.tenant = nil
    local token, expires_in = workload_identity(variables())(world.ask)
    assert.are.equal("string", type(token))
    assert.are.equal(3599, expires_in)
    local sent = world.requests[1]
    assert.are.equal("https://login.microsoftonline.com/contoso/oauth2/v2.0/token", sent.url)
    assert.are.same({
      client_assertion = "platform-token-1",
      client_assertion_type = jwt_bearer,
      client_id = "app",
      grant_type = "client_credentials",
      scope = "https://graph.microsoft.com/.default",
    }, token_world.form(sent.body))
  end)

  it("prefers options, then the client's tenant, then the environment", function()
    local other, remove_other = files.temporary "other-token"
    local world = emulated("other-token", { tenant = "asked" })
    local given = variables { AZURE_CLIENT_ID = false }
    given.client_id, given.token_file = "app", other
    assert.is_truthy((workload_identity(given)(world.ask)))
    assert.is_truthy(world.requests[1].url:find("/asked/", 1, true))
    given.tenant = "given"
    assert.is_truthy((workload_identity(given)(world.ask)))
    assert.is_truthy(world.requests[2].url:find("/given/", 1, true))
    remove_other()
  end)

  it("reads the file at each request", function()
    local world = emulated "platform-token-2"
    local sign_in = workload_identity(variables())
    files.write(path, "platform-token-2")
    assert.is_truthy((sign_in(world.ask)))
    files.write(path, "platform-token-3")
    local _, message = sign_in(world.ask)
    token_world.assert_nowhere("platform-token", message)
    local last = world.requests[#world.requests]
    assert.are.equal("platform-token-3", token_world.form(last.body).client_assertion)
  end)

  it("names a missing setting, when a token is requested", function()
    for name, option in pairs {
      AZURE_FEDERATED_TOKEN_FILE = "token_file",
      AZURE_CLIENT_ID = "client_id",
    } do
      for _, value in ipairs { false, "" } do
        local world = emulated "platform-token-1"
        local token, message, details = workload_identity(variables { [name] = value })(world.ask)
        assert.is_nil(token)
        assert.is_truthy(message:find(name, 1, true) and message:find(option, 1, true))
        assert.is_false(details.is_transient)
        assert.are.equal(0, #world.requests)
      end
    end
    local world = emulated "platform-token-1"
    world.ask.tenant = nil
    local _, message = workload_identity(variables { AZURE_TENANT_ID = false })(world.ask)
    assert.is_truthy(message:find "tenant")
  end)

  it("reports faults of the file, without quoting it", function()
    local sign_in = workload_identity(variables())
    for _, text in ipairs { "", "hush\nhush", "hush hush", "hush\0", ("hush"):rep(100000) } do
      files.write(path, text)
      local token, message, details = sign_in(emulated("x").ask)
      assert.is_nil(token)
      token_world.assert_nowhere("hush", message)
      assert.is_false(details.is_transient)
    end
    remove()
    local token, message = sign_in(emulated("x").ask)
    assert.is_nil(token)
    assert.is_truthy(message:find(path, 1, true))
  end)

  it("never shows its assertion", function()
    local sign_in = workload_identity(variables())
    for _, answer in ipairs {
      token_world.refused(401, "invalid_client", 70021, "No match for platform-token-1."),
      { status = 500, body = "platform-token-1" },
      { network = { message = "platform-token-1" } },
    } do
      local world = token_world.scripted { answer }
      token_world.assert_nowhere("platform-token-1", { sign_in(world.ask) })
    end
  end)

  it("raises for a caller's mistake at the caller's line", function()
    local message = mistakes.raised(function()
      local made = workload_identity { token_flie = "x" }
      return made
    end)
    assert.is_truthy(message:find "^spec/token/workload_identity_spec.lua:%d+: ")
    assert.is_truthy(message:find("did you mean 'token_file'?", 1, true))
  end)
end)
