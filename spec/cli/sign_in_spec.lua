-- Signing in from the command line: the ways, their options, and the messages when one is missing.

local command = require "support.command"
local emulator = require "autopilot.emulator"
local files = require "support.files"
local overlay = require "support.overlay"

local secret = "hidden&secret"

-- A service that knows one application, and everything that was sent to it.
local function new_service()
  local service = emulator.new {
    clients = {
      app = {
        secret = secret,
        verify = function(assertion)
          return assertion == "hidden-assertion"
        end,
      },
    },
  }
  local transport, requests = service:transport(), {}
  return function(request)
    requests[#requests + 1] = request
    return transport(request)
  end,
    requests
end

-- The environment that signs in to that application, with changes.
local function environment(changed)
  return overlay({
    AZURE_TENANT_ID = "contoso",
    AZURE_CLIENT_ID = "app",
    AZURE_CLIENT_SECRET = secret,
  }, changed)
end

local function run(args, env, given)
  local transport, requests = new_service()
  local world = overlay({ env = env or {}, transport = transport, sleep = function() end }, given)
  local ran = command.run(args, world)
  assert.is_nil((ran.out .. ran.err):find("hidden", 1, true))
  return ran, requests
end

local base = "https://login.microsoftonline.com/contoso/oauth2/v2.0/token"

describe("the command signs in", function()
  local function assert_signed_in(ran, requests)
    assert.equal("", ran.err)
    assert.equal(0, ran.code)
    assert.equal(2, #requests)
    assert.equal(base, requests[1].url)
    assert.is_truthy(requests[1].body:find("client_id=app", 1, true))
    assert.is_truthy(requests[2].url:find("/sync", 1, true))
  end

  it("with a secret in a file", function()
    local path, remove = files.temporary(secret .. "\n")
    local args = "sync --tenant contoso --client-id app --client-secret-file " .. path
    assert_signed_in(run(args))
    assert_signed_in(run(args .. " --auth secret"))
    remove()
  end)

  it("with a secret from standard input", function()
    local stdin = {
      read = function()
        return secret .. "\r\n"
      end,
    }
    local args = "sync --tenant contoso --client-id app --client-secret-file -"
    assert_signed_in(run(args, {}, { stdin = stdin }))
  end)

  it("with a secret in the environment, with and without --auth", function()
    local env = environment()
    for _, args in ipairs {
      "sync",
      "sync --auth secret",
      "sync --auth env",
      "sync --auth default",
    } do
      assert_signed_in(run(args, env))
    end
  end)

  it("with the token of the platform", function()
    local path, remove = files.temporary "hidden-assertion"
    local env = {
      AZURE_TENANT_ID = "contoso",
      AZURE_CLIENT_ID = "app",
      AZURE_FEDERATED_TOKEN_FILE = path,
    }
    for _, args in ipairs { "sync", "sync --auth workload", "sync --auth env" } do
      assert_signed_in(run(args, env))
    end
    local args = "sync --auth workload --tenant contoso --client-id app --token-file " .. path
    assert_signed_in(run(args))
    remove()
  end)

  it("with options rather than with the environment", function()
    local path, remove = files.temporary(secret)
    assert_signed_in(run("sync --tenant contoso --client-id app --client-secret-file " .. path, {
      AZURE_TENANT_ID = "fabrikam",
      AZURE_CLIENT_ID = "other",
      AZURE_CLIENT_SECRET = "hidden-other",
      AUTOPILOT_TOKEN = "hidden-token",
    }))
    remove()
  end)

  it("at the authority of the environment and of the cloud", function()
    local env = environment()
    local _, requests = run("sync --cloud china", env)
    assert.is_truthy(requests[1].url:find("https://login.partner.microsoftonline.cn/", 1, true))
    env.AZURE_AUTHORITY_HOST = "https://login.example"
    _, requests = run("sync", env)
    assert.is_truthy(requests[1].url:find("https://login.example/", 1, true))
  end)

  it("as the machine", function()
    local seen
    local ran = run("sync --auth managed --client-id some-id", {
      IDENTITY_ENDPOINT = "http://127.0.0.1:4141/msi/token",
      IDENTITY_HEADER = "hidden-header",
    }, {
      transport = function(request)
        seen = seen or request
        return { status = 500, headers = {}, body = "" }
      end,
    })
    assert.equal(5, ran.code)
    assert.is_truthy(seen.url:find("http://127.0.0.1:4141/msi/token?", 1, true), seen.url)
    assert.is_truthy(seen.url:find("client_id=some-id", 1, true), seen.url)
  end)

  it("with a code for a person, printed on standard error", function()
    local number = 0
    local ran = run("sync --auth device --client-id app", {}, {
      transport = function(request)
        number = number + 1
        if number == 1 then
          assert.is_truthy(request.url:find("/organizations/oauth2/v2.0/devicecode", 1, true))
          return {
            status = 200,
            headers = {},
            body = '{"device_code":"hidden-code","user_code":"ABC-DEF","interval":1,'
              .. '"expires_in":900,"verification_uri":"https://login.example/device"}',
          }
        elseif number == 2 then
          return {
            status = 200,
            headers = {},
            body = '{"access_token":"hidden-token","expires_in":3600,"token_type":"Bearer"}',
          }
        end
        return { status = 204, headers = {} }
      end,
    })
    assert.equal(0, ran.code)
    assert.is_truthy(ran.err:find("ABC-DEF", 1, true))
    assert.is_truthy(ran.err:find("https://login.example/device", 1, true))
  end)
end)

describe("the command signs in over real TLS", function()
  local emulated_service = require "support.emulated_service"
  local service

  setup(function()
    service = emulated_service.start { duration = 0 }
  end)

  teardown(function()
    service.stop()
  end)

  it("at the environment's authority, and starts the sync", function()
    local path, remove = files.temporary(service.client_secret)
    local env = service:environment {
      AZURE_CLIENT_ID = service.client_id,
      AZURE_TENANT_ID = service.tenant,
    }
    local ran = command.run("token --inspect --client-secret-file " .. path, { env = env })
    assert.equal("", ran.err)
    assert.is_truthy(ran.out:find("DeviceManagementServiceConfig.ReadWrite.All is there", 1, true))
    assert.is_truthy(ran.out:find(service.client_id, 1, true))
    ran = command.run("sync --json --client-secret-file " .. path, { env = env })
    remove()
    assert.equal(0, ran.code)
    assert.equal("started", require("cjson").decode(ran.out).outcome)
    env.AZURE_CLIENT_SECRET = "wrong"
    ran = command.run("sync --auth env", { env = env })
    assert.equal(5, ran.code)
    assert.is_truthy(ran.err:find("AADSTS7000215", 1, true), ran.err)
  end)
end)

describe("a secret from a file", function()
  it("is in no message, not even in that of a bug", function()
    local path, remove = files.temporary(secret)
    local ran = run(
      "sync --tenant contoso --client-id app --client-secret-file " .. path,
      { AUTOPILOT_DEBUG = "1" },
      {
        clock = function()
          error("broken: " .. secret)
        end,
      }
    )
    remove()
    assert.equal(1, ran.code)
    assert.is_truthy(ran.err:find("broken: [redacted]", 1, true), ran.err)
  end)
end)

describe("a refused sign-in", function()
  it("ends in 5, with the refusal and advice", function()
    local ran, requests =
      run("sync --auth secret", environment { AZURE_CLIENT_SECRET = "hidden-wrong" })
    assert.equal(5, ran.code)
    assert.equal(1, #requests)
    assert.is_truthy(ran.err:find("token_error", 1, true))
    assert.is_truthy(ran.err:find("AADSTS7000215", 1, true))
    assert.is_truthy(ran.err:find("The client secret is wrong", 1, true))
  end)

  it("is a report like any other", function()
    local ran = run("sync --json --auth secret", environment { AZURE_CLIENT_ID = "unknown" })
    local report = require("cjson").decode(ran.out)
    assert.equal("token_error", report.outcome)
    assert.equal("700016", report.error.reason)
    assert.equal("unauthorized_client", report.error.code)
    assert.is_truthy(report.error.correlation_id)
  end)
end)

describe("an incomplete sign-in", function()
  local function mistake(args, env, given)
    local ran, requests = run(args, env, given)
    assert.equal(2, ran.code)
    assert.equal("", ran.out)
    assert.equal(0, #requests)
    return (ran.err:match "^autopilot%-sync: ([^\n]*)\n$")
  end

  local complete = environment()

  local function without(name)
    return environment { [name] = "" }
  end

  it("ends in 2 and names the missing option", function()
    for _, case in ipairs {
      { "secret", "AZURE_TENANT_ID", "--auth secret needs --tenant or AZURE_TENANT_ID" },
      { "secret", "AZURE_CLIENT_ID", "--auth secret needs --client-id or AZURE_CLIENT_ID" },
      {
        "secret",
        "AZURE_CLIENT_SECRET",
        "--auth secret needs --client-secret-file or AZURE_CLIENT_SECRET",
      },
      {
        "certificate",
        "",
        "--auth certificate needs --certificate or AZURE_CLIENT_CERTIFICATE_PATH",
      },
      { "workload", "", "--auth workload needs --token-file or AZURE_FEDERATED_TOKEN_FILE" },
      { "assertion", "", "--auth assertion needs --assertion-variable" },
      { "github", "AZURE_CLIENT_ID", "--auth github needs --client-id or AZURE_CLIENT_ID" },
      {
        "pipelines",
        "",
        "--auth pipelines needs --service-connection or AZURESUBSCRIPTION_SERVICE_CONNECTION_ID",
      },
      { "refresh", "", "--auth refresh needs --refresh-token-file" },
      { "device", "AZURE_CLIENT_ID", "--auth device needs --client-id or AZURE_CLIENT_ID" },
      { "env", "AZURE_TENANT_ID", "--auth env needs --tenant or AZURE_TENANT_ID" },
    } do
      assert.equal(case[3], mistake("sync --auth " .. case[1], without(case[2])))
    end
    assert.equal(
      "--auth env needs AZURE_CLIENT_SECRET, AZURE_CLIENT_CERTIFICATE_PATH or "
        .. "AZURE_FEDERATED_TOKEN_FILE",
      mistake("sync --auth env", without "AZURE_CLIENT_SECRET")
    )
    assert.equal(
      "signing in with AZURE_CLIENT_SECRET needs --tenant or AZURE_TENANT_ID",
      mistake("sync", without "AZURE_TENANT_ID")
    )
  end)

  it("ends in 2 for contradictory options", function()
    for args, sentence in pairs {
      ["--auth certificate --client-secret-file x"] = "--client-secret-file does not go with "
        .. "--auth certificate",
      ["--auth secret --refresh-token-file x"] = "--refresh-token-file does not go with "
        .. "--auth secret",
      ["--refresh-token-file x --token-file y"] = "--token-file does not go with "
        .. "--refresh-token-file",
      ["--auth env --certificate x"] = "--certificate does not go with --auth env",
      ["--auth secret --token-file x"] = "--token-file does not go with --auth secret",
      ["--client-secret-file x --certificate y"] = "--certificate does not go with "
        .. "--client-secret-file",
      ["--refresh-token-file x --client-secret-file y --certificate z"] = "--certificate does not "
        .. "go with --client-secret-file",
      ["--certificate x --token-file y"] = "--token-file does not go with --certificate",
    } do
      assert.equal(sentence, mistake("sync " .. args, complete))
    end
  end)

  it("ends in 2 and names an unusable file", function()
    local missing = "/no/such/file: No such file or directory"
    for args, sentence in pairs {
      ["--client-secret-file /no/such/file"] = "--client-secret-file cannot be used: " .. missing,
      ["--certificate /no/such/file"] = "--certificate cannot be read: " .. missing,
      ["--auth workload --token-file /no/such/file"] = "--token-file cannot be read: " .. missing,
    } do
      assert.equal(sentence, mistake("sync " .. args, complete))
    end
    local env = without "AZURE_CLIENT_SECRET"
    env.AZURE_CLIENT_CERTIFICATE_PATH = "/no/such/file"
    assert.equal(
      "AZURE_CLIENT_CERTIFICATE_PATH cannot be read: " .. missing,
      mistake("sync --auth certificate", env)
    )
  end)

  it("ends in 2 if others can read the secret, or the file has more than a secret", function()
    local path, remove = files.temporary "hidden"
    os.execute(("chmod 644 '%s'"):format(path))
    local sentence = "--client-secret-file cannot be used: %s can be read by every user of this "
      .. "machine: take that right away (chmod o-r), or give --allow-world-readable"
    assert.equal(sentence:format(path), mistake("sync --client-secret-file " .. path, complete))
    remove()
    path, remove = files.temporary "hidden\nhidden"
    assert.is_truthy(
      mistake("sync --client-secret-file " .. path, complete):find("one line", 1, true)
    )
    remove()
    for text, complaint in pairs {
      [""] = "is empty",
      [" \n"] = "is empty",
      ["hidden\nhidden"] = "must hold one line and nothing else",
    } do
      local stdin = {
        read = function()
          return text ~= "" and text or nil
        end,
      }
      assert.equal(
        "standard input " .. complaint,
        mistake("sync --client-secret-file -", complete, { stdin = stdin })
      )
    end
  end)

  it("ends in 2 for a managed identity with a domain, which cannot be checked", function()
    local sentence = "%s must be the tenant's id with --auth managed, which signs in to the tenant "
      .. "of this machine: whether a domain is that tenant's cannot be checked"
    for _, command_name in ipairs { "sync", "status", "token" } do
      assert.equal(
        sentence:format "--tenant",
        mistake(command_name .. " --auth managed --tenant other.example", {})
      )
    end
    assert.equal(
      sentence:format "AZURE_TENANT_ID",
      mistake("sync --auth managed", { AZURE_TENANT_ID = "other.example" })
    )
  end)

  it("ends in 2 for an unknown way", function()
    assert.is_truthy(mistake("sync --auth secrt", complete):find("did you mean 'secret'?", 1, true))
  end)

  it("ends in 2 for a value that the token provider refuses", function()
    local env = without "AZURE_CLIENT_SECRET"
    env.AZURE_CLIENT_SECRET = "hidden\1"
    assert.is_truthy(
      mistake("sync --auth secret", env):find "^%-%-auth secret: option 'client_secret'"
    )
  end)
end)
