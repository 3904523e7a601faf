-- Every way to sign in over real sockets: libcurl, TLS, the emulated service in nginx. What is asked of
-- Entra and of a machine's identity endpoint is judged there, and Graph takes the token that came of it.

local base64url = require "autopilot.base.base64url"
local cjson = require "cjson"
local files = require "support.files"
local key_files = require "support.key_files"
local new_client = require "autopilot.client"
local overlay = require "support.overlay"
local sign_in_service = require "support.sign_in_service"
local token = require "autopilot.token"
local token_world = require "support.token_world"

local nothing = token_world.getenv {}

local function jwt(claims)
  return ("e30.%s.c2ln"):format(base64url.encode(cjson.encode(claims)))
end

describe("over real sockets", function()
  local service, folder, clients

  setup(function()
    folder = key_files.make()
    service = sign_in_service.start(folder, "machine-key")
  end)

  teardown(function()
    key_files.remove(folder)
    service.stop()
  end)

  before_each(function()
    service:control("POST", "reset")
    clients = {}
  end)

  after_each(function()
    for _, client in ipairs(clients) do
      client:close()
    end
  end)

  local function client_of(provider, given)
    local options = {
      token = provider,
      tenant = service.tenant,
      base_url = service.url,
      http = { ca_file = service.ca_file },
      retry = false,
      cooldown = 0,
    }
    overlay(options, given)
    local client = new_client(options)
    clients[#clients + 1] = client
    return client
  end

  local function sync(client)
    local report, failure = client:sync()
    return report or failure
  end

  local function assert_started(report)
    assert.are.equal("started", report.outcome, tostring(report))
  end

  local function requests()
    return service:control("GET", "state").requests
  end

  --- The token requests that have arrived.
  local function token_requests()
    local found = {}
    for _, event in ipairs(service:control("GET", "log")) do
      if event.operation == "token" then
        found[#found + 1] = event
      end
    end
    return found
  end

  local function entra(given)
    given.authority, given.getenv = service.url, nothing
    return given
  end

  it("a certificate signs an application in", function()
    local given = entra { client_id = "certified", certificate = folder .. "/certificate.pem" }
    given.private_key = folder .. "/key.pem"
    assert_started(sync(client_of(token.client_certificate(given))))
  end)

  it("a certificate that is not the application's is refused after 14 seconds", function()
    local slept = 0
    local client = client_of(
      token.client_certificate(entra {
        client_id = "platform",
        certificate = folder .. "/together.pem",
      }),
      {
        sleep = function(seconds)
          slept = slept + seconds
        end,
      }
    )
    local report = sync(client)
    assert.are.same({ "token_error", "700027", 14 }, { report.outcome, report.error.reason, slept })
  end)

  it("a platform's token signs an application in, and is read anew each time", function()
    local claims = { iss = "https://issuer.test", sub = "s", aud = "api://AzureADTokenExchange" }
    claims.exp = os.time() + 600
    local path, remove = files.temporary(jwt(claims))
    local client = client_of(token.workload_identity(entra {
      client_id = "platform",
      token_file = path,
    }))
    assert_started(sync(client))
    claims.sub = "else"
    files.write(path, jwt(claims))
    local provider = token.workload_identity(entra { client_id = "platform", token_file = path })
    local report = sync(client_of(provider))
    remove()
    assert.are.equal("700213", report.error.reason)
  end)

  it("a job of a build server signs an application in, by either endpoint", function()
    local github = token_world.getenv {
      ACTIONS_ID_TOKEN_REQUEST_URL = service.url .. "/_apis/jobs/idtoken?api-version=2.0",
      ACTIONS_ID_TOKEN_REQUEST_TOKEN = "machine-key",
    }
    local given = { client_id = "platform", authority = service.url, getenv = github }
    assert_started(sync(client_of(token.github_actions(given))))
    given.audience = "somebody else"
    local report = sync(client_of(token.github_actions(given)))
    assert.are.equal("700212", report.error.reason)
    local pipelines = token.azure_pipelines {
      client_id = "platform",
      service_connection_id = "connection",
      authority = service.url,
      getenv = token_world.getenv {
        SYSTEM_OIDCREQUESTURI = service.url .. "/_apis/jobs/oidctoken",
        SYSTEM_ACCESSTOKEN = "machine-key",
      },
    }
    assert_started(sync(client_of(pipelines)))
  end)

  it("a user's own assertion signs an application in", function()
    local claims = { iss = "https://issuer.test", sub = "s", aud = "api://AzureADTokenExchange" }
    local client = client_of(token.client_assertion(entra {
      client_id = "platform",
      assertion = function()
        claims.exp = os.time() + 600
        return jwt(claims)
      end,
    }))
    assert_started(sync(client))
  end)

  it("one refresh token signs a partner in to the tenants of all customers", function()
    local given = { client_id = "partner", user = "ann@partner.example" }
    local kept = { service:control("POST", "refreshtokens", given).refresh_token }
    local provider = token.refresh_token(entra {
      client_id = "partner",
      certificate = folder .. "/together.pem",
      refresh_token = kept[1],
      on_rotation = function(newer)
        kept[#kept + 1] = newer
      end,
    })
    for _, tenant in ipairs { "one.example", "two.example", "one.example" } do
      assert_started(sync(client_of(provider, { tenant = tenant })))
    end
    assert.are.equal(3, #kept)
    assert.are.equal(2, requests().token)
    for _, event in ipairs(token_requests()) do
      assert.are.equal("refresh_token", event.grant_type)
    end
  end)

  describe("a person with a code", function()
    --- A client whose sleeps let time pass at the service: `steps` says by how much (default: as long
    -- as was slept), and what else happens.
    local function signing_in(steps)
      local shown, slept = {}, {}
      local provider = token.device_code(entra {
        client_id = "desk",
        prompt = function(info)
          shown[#shown + 1] = info
        end,
      })
      local client = client_of(provider, {
        sleep = function(seconds)
          slept[#slept + 1] = seconds
          local step = steps[#slept]
          local passes = step and step(shown[#shown].user_code) or seconds
          service:control("POST", "advance?seconds=" .. passes)
        end,
      })
      return client, shown, slept
    end

    local function approve(user_code)
      service:control("POST", "approve", { user_code = user_code })
    end

    it("is waited for, more slowly when the service wants that", function()
      local client, shown, slept = signing_in {
        nil,
        function()
          return 1
        end,
        approve,
      }
      assert_started(sync(client))
      assert.are.equal(1, #shown)
      assert.are.same({ 5, 5, 10 }, slept)
      local asked = token_requests()
      assert.are.equal(3, #asked)
      assert.are.equal("urn:ietf:params:oauth:grant-type:device_code", asked[1].grant_type)
    end)

    it("who does not sign in in time lets the code expire", function()
      local client = signing_in {
        function()
          return 900
        end,
      }
      local report = sync(client)
      assert.are.equal("token_error", report.outcome)
      assert.are.equal("expired_token", report.error.code)
      assert.is_truthy(report.error.message:find("the code has expired", 1, true))
    end)

    it("who declines ends the sign-in", function()
      local client = signing_in {
        function(user_code)
          service:control("POST", "decline", { user_code = user_code })
        end,
      }
      assert.is_truthy(sync(client).error.message:find("declined", 1, true))
      assert.are.equal(1, requests().token)
    end)

    it("is not asked again: a refresh token gives the next token", function()
      local client, shown = signing_in { approve }
      assert_started(sync(client))
      -- The service forgets the access token, not the person.
      service:control("POST", "faults", { kind = "claims_challenge", on = "sync" })
      assert_started(sync(client))
      assert.are.equal(1, #shown)
      assert.are.equal(1, requests().device_code)
      local asked = token_requests()
      assert.are.equal("refresh_token", asked[2].grant_type)
      assert.is_truthy(asked[2].claims:find("cp1", 1, true))
    end)
  end)

  describe("a claims challenge", function()
    local wanted = '{"access_token":{"acrs":{"essential":true,"value":"c1?~>"}}}'

    for _, encoding in ipairs { "base64", "base64url" } do
      it("is answered by one request for a token with its claims, in " .. encoding, function()
        local client = client_of(token.client_secret(entra {
          client_id = service.client_id,
          client_secret = service.client_secret,
        }))
        assert_started(sync(client))
        service:control("POST", "faults", {
          kind = "claims_challenge",
          on = "sync",
          claims = wanted,
          encoding = encoding,
        })
        local report = sync(client)
        assert_started(report)
        assert.are.equal(2, #report.attempts)
        assert.are.equal(401, report.attempts[1].status)
        local asked = token_requests()
        assert.are.equal(2, #asked)
        assert.is_nil(asked[1].claims)
        local expected = cjson.decode(wanted)
        expected.access_token.xms_cc = { values = { "cp1" } }
        assert.are.same(expected, cjson.decode(asked[2].claims))
        -- The refused token is gone, the new one kept.
        assert_started(sync(client))
        assert.are.equal(2, requests().token)
      end)
    end

    it("that cannot be satisfied costs one more request and no third", function()
      local client = client_of(function(ask)
        return token.client_secret(entra {
          client_id = service.client_id,
          client_secret = service.client_secret,
        }) { tenant = ask.tenant, transport = ask.transport } -- drops the claims
      end)
      service:control("POST", "faults", { kind = "claims_challenge", on = "sync" })
      local report = sync(client)
      assert.are.equal("unauthenticated", report.outcome)
      assert.are.equal(2, requests().sync)
      assert.are.equal(2, requests().token)
    end)
  end)

  describe("a machine", function()
    it("in App Service signs in as itself", function()
      local getenv = token_world.getenv {
        IDENTITY_ENDPOINT = service.url .. "/msi/token",
        IDENTITY_HEADER = "machine-key",
      }
      assert_started(sync(client_of(token.managed_identity { getenv = getenv })))
      getenv = token_world.getenv {
        IDENTITY_ENDPOINT = service.url .. "/msi/token",
        IDENTITY_HEADER = "wrong",
      }
      local report = sync(client_of(token.managed_identity { getenv = getenv }))
      assert.are.same({ "token_error", "unauthorized" }, { report.outcome, report.error.code })
    end)

    it("in Service Fabric and in Machine Learning signs in as itself", function()
      local endpoint = service.url .. "/metadata/identity/oauth2/token"
      local getenv = token_world.getenv {
        IDENTITY_ENDPOINT = endpoint,
        IDENTITY_HEADER = "machine-key",
        IDENTITY_SERVER_THUMBPRINT = "AB12",
      }
      assert_started(sync(client_of(token.managed_identity { getenv = getenv })))
      local untrusting = client_of(token.managed_identity { getenv = getenv }, { http = {} })
      local report = sync(untrusting)
      assert.are.equal("token_error", report.outcome)
      assert.is_truthy(report.hint:find("http.ca_file", 1, true))
      assert.are.equal(1, requests().identity)
      getenv = token_world.getenv {
        MSI_ENDPOINT = service.url .. "/msi/token",
        MSI_SECRET = "machine-key",
      }
      local provider = token.managed_identity { getenv = getenv, client_id = "machine" }
      assert_started(sync(client_of(provider)))
    end)

    it("with a metadata service signs in as itself, in a chain after a probe", function()
      local getenv =
        token_world.getenv { AZURE_POD_IDENTITY_AUTHORITY_HOST = service.url, AZURE_CLIENT_ID = "" }
      assert_started(sync(client_of(token.managed_identity { getenv = getenv })))
      assert.are.equal(1, requests().identity)
      assert_started(sync(client_of(token.default { getenv = getenv })))
      assert.are.equal(3, requests().identity)
      local other = token.managed_identity { getenv = getenv, client_id = "another" }
      local report = sync(client_of(other))
      assert.are.equal("token_error", report.outcome)
      assert.is_truthy(report.hint:find("managed identity", 1, true), report.hint)
    end)
  end)

  it("an endpoint that throttles is not asked before its Retry-After", function()
    local client = client_of(token.client_secret(entra {
      client_id = service.client_id,
      client_secret = service.client_secret,
    }))
    service:control("POST", "faults", { kind = "throttle", on = "token", retry_after = 30 })
    for _ = 1, 3 do
      local report = sync(client)
      assert.are.equal("token_error", report.outcome)
      assert.is_true(report.retry_after > 25 and report.retry_after <= 30)
    end
    assert.are.equal(1, requests().token)
  end)

  it("the command's environment signs in as the variables say", function()
    local getenv = token_world.getenv {
      AZURE_AUTHORITY_HOST = service.url,
      AZURE_CLIENT_ID = service.client_id,
      AZURE_CLIENT_SECRET = service.client_secret,
      AZURE_TENANT_ID = service.tenant,
    }
    for _, way in ipairs { "environment", "default" } do
      assert_started(sync(client_of(token[way] { getenv = getenv })))
    end
  end)
end)
