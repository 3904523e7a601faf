-- Signing in over real sockets: libcurl, TLS, the emulated service in nginx.

local client_certificate = require("autopilot.token.application").client_certificate
local client_secret = require("autopilot.token.application").client_secret
local curl = require "autopilot.transport.curl"
local emulated_service = require "support.emulated_service"
local files = require "support.files"
local key_files = require "support.key_files"
local new_client = require "autopilot.client"
local overlay = require "support.overlay"
local token_world = require "support.token_world"
local workload_identity = require("autopilot.token.application").workload_identity

describe("over real sockets", function()
  local service, transport

  setup(function()
    service = emulated_service.start {}
    transport = curl.new { http = { ca_file = service.ca_file, proxy = "" } }
  end)

  teardown(function()
    transport:close()
    service.stop()
  end)

  local function world()
    return token_world.over(transport, { tenant = service.tenant })
  end

  local function options(given)
    local all = {
      client_id = service.client_id,
      authority = service.url,
      getenv = token_world.getenv {},
    }
    overlay(all, given)
    return all
  end

  it("a client signs in with its secret and asks for a sync", function()
    local client = new_client {
      token = client_secret(options { client_secret = service.client_secret }),
      tenant = service.tenant,
      base_url = service.url,
      http = { ca_file = service.ca_file },
      retry = false,
    }
    local report, failure = client:sync()
    client:close()
    assert.are.equal("started", (report or failure).outcome, tostring(failure))
  end)

  it("the authority may come from the environment", function()
    local given = options { client_secret = service.client_secret }
    given.authority, given.getenv =
      nil, token_world.getenv { AZURE_AUTHORITY_HOST = service.url .. "/" }
    local token, expires_in = client_secret(given)(world().ask)
    assert.are.equal("string", type(token))
    assert.are.equal("number", type(expires_in))
  end)

  it("a wrong secret is reported as such, with the ids of the service", function()
    local sign_in = client_secret(options { client_secret = "wrong-4f6c1d0e9a7b" })
    local token, message, details = sign_in(world().ask)
    assert.is_nil(token)
    assert.are.equal("AADSTS7000215: Invalid client secret provided.", message)
    assert.are.equal("invalid_client", details.code)
    assert.are.equal("7000215", details.reason)
    assert.is_truthy(details.hint)
    assert.is_truthy(details.trace_id:match "^%x+%-")
    assert.is_truthy(details.correlation_id:match "^%x+%-")
  end)

  it("a certificate that the service does not know is retried for 14 seconds", function()
    local folder = key_files.make()
    local made = world()
    local sign_in = client_certificate(options { certificate = folder .. "/together.pem" })
    made.ask.now = os.time
    local token, _, details = sign_in(made.ask)
    key_files.remove(folder)
    assert.is_nil(token)
    assert.are.equal("700027", details.reason)
    assert.are.same({ 2, 4, 8 }, made.slept)
  end)

  it("a platform's token is sent as the assertion", function()
    local path, remove = files.temporary "platform-token"
    local _, _, details = workload_identity(options { token_file = path })(world().ask)
    remove()
    assert.are.equal("700027", details.reason)
  end)

  it("a server whose certificate is not trusted gets no secret", function()
    local untrusting = curl.new { http = { proxy = "" } }
    local made = token_world.over(untrusting, { tenant = service.tenant })
    local sign_in = client_secret(options { client_secret = service.client_secret })
    local before = service:control("GET", "state").requests.token
    local token, message, details = sign_in(made.ask)
    untrusting:close()
    assert.is_nil(token)
    assert.is_truthy(message:find "could not be reached")
    assert.is_true(details.is_transient)
    assert.are.equal(before, service:control("GET", "state").requests.token)
  end)

  it("no token request over http ever leaves for another machine", function()
    local sign_in = workload_identity {
      client_id = "app",
      token_file = "/nowhere",
      getenv = token_world.getenv { AZURE_AUTHORITY_HOST = "http://192.0.2.1" },
    }
    local token, message = sign_in(world().ask)
    assert.is_nil(token)
    assert.is_truthy(message:find "must be https")
  end)
end)
