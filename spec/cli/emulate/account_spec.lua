-- The ways to sign in that `autopilot-sync emulate` sets up, and the faults that it injects, tried with the
-- command and the environment that it prints.

local account = require "autopilot.cli.emulate.account"
local base64url = require "autopilot.base.base64url"
local cjson = require "cjson"
local command_process = require "support.command_process"
local emulate = require "autopilot.cli.emulate"
local emulated_service = require "support.emulated_service"
local files = require "support.files"
local key_files = require "support.key_files"
local shell = require "autopilot.cli.emulate.shell"

describe("the account of the emulated service", function()
  local folder

  setup(function()
    folder = key_files.make()
  end)

  teardown(function()
    key_files.remove(folder)
  end)

  --- The environment that it prints, without what would sign in by itself.
  local function environment_of(service)
    local env = {}
    for _, pair in ipairs(account.environment(service)) do
      env[pair[1]] = pair[2]
    end
    env.AUTOPILOT_TOKEN, env.AZURE_CLIENT_SECRET = nil, nil
    return env
  end

  local function assert_started(args, env)
    local code, output, complaint = command_process.run("sync " .. args, env)
    assert.same({ 0, "" }, { code, complaint })
    assert.matches("started", output)
  end

  it("may sign in with a certificate, a platform's token, a code and as the machine", function()
    local service = emulated_service.start {
      duration = 0,
      cooldown = 0,
      certificate = { folder .. "/odd_certificate.pem", folder .. "/certificate.pem" },
      federated = { { "https://issuer.test", "s" } },
      public = true,
      identity = "app_service",
    }
    finally(service.stop)
    local env = environment_of(service)
    assert_started("--auth certificate --certificate " .. folder .. "/together.pem", env)

    local claims = {
      iss = "https://issuer.test",
      sub = "s",
      aud = "api://AzureADTokenExchange",
      exp = os.time() + 600,
    }
    local token = ("eyJhbGciOiJub25lIn0.%s.c2ln"):format(base64url.encode(cjson.encode(claims)))
    files.write(folder .. "/platform-token", token)
    assert_started("--auth workload --token-file " .. folder .. "/platform-token", env)

    local id = env.AZURE_CLIENT_ID
    env.AZURE_CLIENT_ID = nil
    assert_started("--auth managed", env)
    env.AZURE_CLIENT_ID = id

    local offer = {
      method = "POST",
      path = ("/%s/oauth2/v2.0/devicecode"):format(service.tenant),
      body = "scope=https%3A%2F%2Fgraph.microsoft.com%2F.default&client_id=" .. id,
    }
    local status, _, body = service:request(offer)
    assert.equal(200, status)
    local user_code = cjson.decode(body).user_code
    assert.is_true(service:control("POST", "approve", { user_code = user_code }).known)
  end)

  it("is a virtual machine's identity on request; its requests meet the faults", function()
    local service = emulated_service.start {
      identity = "imds",
      fault = { { kind = "throttle", on = "sync", retry_after = 7 } },
    }
    finally(service.stop)
    local env = environment_of(service)
    env.AZURE_CLIENT_ID = nil
    local args = "sync --json --attempts 1 --auth managed"
    local code, output = command_process.run(args, env)
    assert.equal(4, code)
    local report = cjson.decode(output)
    assert.same({ "throttled", 7 }, { report.outcome, report.retry_after })
  end)

  it("is a build job's on request", function()
    for _, platform in ipairs { "github", "pipelines" } do
      local service = emulated_service.start { identity = platform, cooldown = 0 }
      finally(service.stop)
      assert_started("--auth " .. platform, environment_of(service))
      service.stop()
    end
  end)

  it("cannot have a certificate from a file that has none", function()
    local path, remove = files.temporary "no certificate"
    finally(remove)
    local service, message = emulate.start { certificate = { path } }
    assert.is_nil(service)
    assert.equal(
      ("openssl finds no certificate in the file %s: it must be PEM"):format(path),
      message
    )
  end)

  it("knows a certificate by openssl's thumbprints, SHA-256 and SHA-1", function()
    local sha1 = [[openssl x509 -in "$1/certificate.pem" -outform DER | openssl dgst -sha1 -binary]]
    assert.same({
      base64url.encode(key_files.read(folder, "thumbprint")),
      base64url.encode(shell.read(sha1, folder)),
    }, account.thumbprints { folder .. "/certificate.pem" })
  end)
end)
