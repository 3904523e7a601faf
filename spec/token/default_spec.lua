-- The order of the ways to sign in. The ways themselves have their own specs.

local default = require("autopilot.token.environment").default
local mistakes = require "support.mistakes"
local provider = require "autopilot.token.provider"

describe("autopilot.token.default", function()
  local maker, made, asked, answers, probe
  local ways = { "environment", "workload_identity", "managed_identity", "azure_cli" }

  before_each(function()
    made, asked, answers, probe = {}, {}, {}, 1
    maker = provider.maker
    function provider.maker(way)
      return function(given)
        made[way] = given
        return function(ask)
          asked[#asked + 1] = way
          assert.equal(probe, ask.probe)
          local answer = answers[way] or { nil, way .. " is not here" }
          return answer[1], answer[2]
        end
      end
    end
  end)

  after_each(function()
    provider.maker = maker
  end)

  it("tries the environment, the platform, the machine and the Azure CLI, in this order", function()
    local token, message = default {} {}
    assert.is_nil(token)
    assert.same(ways, asked)
    assert.equal(
      "no provider has a token. environment: environment is not here; "
        .. "workload identity: workload_identity is not here; "
        .. "managed identity: managed_identity is not here; Azure CLI: azure_cli is not here",
      message
    )
  end)

  it("stays with the one that had a token, and keeps the token", function()
    answers.managed_identity = { "token", 3600 }
    local sign_in = default()
    assert.equal("token", (sign_in {}))
    assert.equal("token", (sign_in {}))
    assert.same({ "environment", "workload_identity", "managed_identity" }, asked)
  end)

  it("passes its options on to the ways that have them", function()
    local function getenv(variable)
      return variable == "AZURE_CLIENT_ID" and "from-environment" or nil
    end
    local scope = "https://graph.microsoft.us/.default"
    default { getenv = getenv, tenant = "contoso", scope = scope } {}
    assert.equal("from-environment", made.environment.getenv "AZURE_CLIENT_ID")
    assert.equal(getenv, made.workload_identity.getenv)
    assert.equal(getenv, made.managed_identity.getenv)
    assert.equal("contoso", made.workload_identity.tenant)
    assert.equal("contoso", made.environment.tenant)
    assert.equal("from-environment", made.managed_identity.client_id)
    assert.equal("contoso", made.azure_cli.tenant)
    for _, way in ipairs(ways) do
      assert.equal("https://graph.microsoft.us/.default", made[way].scope)
    end
    default { getenv = getenv, client_id = "given" } {}
    assert.equal("given", made.managed_identity.client_id)
  end)

  it("leaves the platform's token to the second way, so that it is tried once", function()
    local function getenv(variable)
      return variable ~= "AZURE_TOKEN_CREDENTIALS" and "value of " .. variable or nil
    end
    default { getenv = getenv } {}
    assert.is_nil(made.environment.getenv "AZURE_FEDERATED_TOKEN_FILE")
    assert.equal("value of AZURE_CLIENT_SECRET", made.environment.getenv "AZURE_CLIENT_SECRET")
    assert.equal(getenv, made.workload_identity.getenv)
  end)

  it("uses only the ways that AZURE_TOKEN_CREDENTIALS names, in upper or lower case", function()
    for value, expected in pairs {
      prod = { "environment", "workload_identity", "managed_identity" },
      dev = { "azure_cli" },
      EnvironmentCredential = { "environment" },
      workloadidentitycredential = { "workload_identity" },
      [" ManagedIdentityCredential\n"] = { "managed_identity" },
      AzureCLICredential = { "azure_cli" },
      [""] = ways,
    } do
      made, asked = {}, {}
      local sign_in = default {
        getenv = function(variable)
          return variable == "AZURE_TOKEN_CREDENTIALS" and value or nil
        end,
      }
      probe = #expected > 1 and 1 or nil
      assert.is_nil((sign_in {}))
      assert.same(expected, asked)
    end
  end)

  it("reads the environment when a token is first asked for", function()
    local selected, reads = nil, 0
    local sign_in = default {
      getenv = function(variable)
        reads = reads + 1
        return variable == "AZURE_TOKEN_CREDENTIALS" and selected or nil
      end,
    }
    assert.equal(0, reads)
    selected, probe = "AzureCliCredential", nil
    assert.is_nil((sign_in {}))
    assert.same({ "azure_cli" }, asked)
  end)

  it("names the valid words for AZURE_TOKEN_CREDENTIALS", function()
    local sign_in = default {
      getenv = function(variable)
        return variable == "AZURE_TOKEN_CREDENTIALS" and "AzurePowerShellCredential" or nil
      end,
    }
    local token, message, details = sign_in {}
    assert.is_nil(token)
    assert.equal(
      "AZURE_TOKEN_CREDENTIALS must be dev, prod, or one of EnvironmentCredential, "
        .. "WorkloadIdentityCredential, ManagedIdentityCredential, AzureCliCredential "
        .. "(got 'AzurePowerShellCredential')",
      message
    )
    assert.is_false(details.is_transient)
    assert.same({}, asked)
  end)

  it("takes a second to detect that there is no metadata service", function()
    provider.maker = maker
    local timeouts = {}
    local _, message = default {
      getenv = function() end,
      client_id = "x",
      scope = "not for a shell",
    } {
      transport = function(request)
        timeouts[#timeouts + 1] = request.timeout.total
        return nil,
          { stage = "connect", name = "X", message = "x", timeout = true, delivered = "no" }
      end,
      sleep = function() end,
      now = function()
        return 0
      end,
    }
    assert.same({ 1 }, timeouts)
    assert.is_truthy(message:find("no metadata service of Azure answers", 1, true), message)
  end)

  it("raises for a caller's mistake, at the caller's line", function()
    local line
    local message = mistakes.raised(function()
      line = mistakes.this_line() + 1
      local sign_in = default { client = "x" }
      return sign_in
    end)
    mistakes.assert_raised_at(line, message, "autopilot.token.default: unknown option 'client'")
  end)
end)
