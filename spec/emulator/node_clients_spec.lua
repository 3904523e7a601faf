-- The emulated service with other clients: the libraries of Microsoft for JavaScript.

local base64url = require "autopilot.base.base64url"
local cjson = require "cjson.safe"
local emulated_service = require "support.emulated_service"
local files = require "support.files"
local key_files = require "support.key_files"
local shell = require "autopilot.cli.emulate.shell"

local packages =
  shell.read "cd build/node/node_modules 2>/dev/null && pwd":match "^(.+)/node_modules\n"
local node = shell.read "command -v node" ~= ""

--- A platform's token. Its signature is not checked.
local function platform_token()
  local claims = {
    iss = "https://issuer.test",
    sub = "s",
    aud = "api://AzureADTokenExchange",
    exp = os.time() + 600,
  }
  return table.concat({
    base64url.encode '{"alg":"RS256"}',
    base64url.encode(cjson.encode(claims)),
    "c2ln",
  }, ".")
end

--- The results of all scenarios in `spec/node/clients.mjs`.
local function run_scenarios()
  local folder = key_files.make()
  local thumbprint =
    [[openssl x509 -in "$1/certificate.pem" -outform DER | openssl dgst -sha1 -binary]]
  local sha1 = shell.read(thumbprint, folder)
  local service = emulated_service.start {
    duration = 0,
    emulator = {
      clients = {
        certified = {
          certificates = {
            base64url.encode(key_files.read(folder, "thumbprint")),
            base64url.encode(sha1),
          },
        },
        platform = { federated = { { issuer = "https://issuer.test", subject = "s" } } },
        desk = { public = true },
      },
      device_code = { interval = 0 },
      build_server = {
        key = "key",
        issuer = "https://issuer.test",
        subject = "s",
        service_connection = "connection",
      },
      identity = { tenant = "machines", client_id = "machine", header = "key" },
    },
  }
  files.write(folder .. "/token", platform_token())
  files.write(
    folder .. "/signing.pem",
    key_files.read(folder, "certificate.pem") .. key_files.read(folder, "key.pem")
  )
  files.write(
    folder .. "/settings.json",
    cjson.encode {
      packages = packages,
      url = service.url,
      client_id = service.client_id,
      client_secret = service.client_secret,
      certificate = folder .. "/signing.pem",
      private_key = folder .. "/key.pem",
      sha1 = sha1:gsub(".", function(byte)
        return ("%02X"):format(byte:byte())
      end),
      token_file = folder .. "/token",
    }
  )
  local run = [[
    export NODE_EXTRA_CA_CERTS="$2" AZURE_POD_IDENTITY_AUTHORITY_HOST="$3"
    exec node spec/node/clients.mjs "$1/settings.json" 2>&1
  ]]
  local output = shell.read(run, folder, service.ca_file, service.url)
  service.stop()
  key_files.remove(folder)
  return cjson.decode(output) or error("the scenarios gave no results: " .. output)
end

describe("the emulated service", function()
  if not node or not packages then
    pending(
      "is used with @azure/identity, MSAL and the Graph client: needs node, npm and its registry"
    )
    return
  end

  local results

  setup(function()
    results = run_scenarios()
  end)

  --- A test of one scenario.
  local function promise(sentence, scenario, expected)
    it(sentence, function()
      assert.same(expected, results[scenario])
    end)
  end

  it("gives @azure/identity its endpoints", function()
    local found = results.discovery
    assert.equal(204, found.status)
    assert.same({
      "/common/discovery/instance",
      "/found/v2.0/.well-known/openid-configuration",
      "/found/oauth2/v2.0/token",
    }, found.paths)
  end)

  promise("has keys that Node.js can read", "keys", 2048)

  for scenario, expected in pairs {
    certificate = { tid = "by-certificate", appid = "certified", status = 204 },
    workload = { tid = "by-platform", appid = "platform", status = 204 },
    pipelines = { tid = "by-pipeline", appid = "platform", status = 204 },
    deviceCode = { tid = "home", appid = "desk", upn = "ann@contoso.example", status = 204 },
    personsTenant = {
      tid = "contoso.example",
      appid = "desk",
      upn = "ann@contoso.example",
      status = 204,
    },
    machine = { tid = "machines", appid = "machine", status = 204 },
  } do
    promise("signs @azure/identity in: " .. scenario, scenario, expected)
  end

  it("signs @azure/identity in: secret", function()
    assert.equal("by-secret", results.secret.tid)
    assert.equal(204, results.secret.status)
  end)

  promise("knows MSAL's certificate by SHA-1", "certificateBySha1", "by-sha-1")

  promise("takes MSAL's refresh token in another tenant", "otherTenant", {
    account = "ann@contoso.example",
    here = "home",
    there = "elsewhere",
  })

  it("tells MSAL that a person has declined", function()
    assert.matches("authorization_declined", results.declined)
  end)

  it("refuses an identity that the machine does not have", function()
    assert.matches("Identity not found", results.unknownMachine.error)
  end)

  promise(
    "accepts the machine's token that MSAL asks for after a challenge",
    "machineClaimsChallenge",
    {
      401,
      204,
    }
  )

  it("starts, refuses and throttles syncs of the Graph client", function()
    assert.equal(204, results.started.status)
    assert.same({ 409, "Conflict" }, { results.inProgress.status, results.inProgress.code })
    assert.same({ 429, "TooManyRequests" }, { results.cooldown.status, results.cooldown.code })
  end)

  it("starts the sync when the Graph client asks again after a Retry-After", function()
    assert.equal(204, results.throttledOnce.status)
  end)

  promise("shows the Graph client the record", "status", "unknown")

  promise("has no such segment for the Graph client in version 1.0", "firstVersion", {
    status = 400,
    message = "Resource not found for the segment 'windowsAutopilotSettings'.",
  })

  it("accepts the token that a pipeline of Azure fetches after a challenge", function()
    assert.equal(204, results.claimsChallenge.status)
    assert.equal(2, results.claimsChallenge.requests.sync)
    assert.equal(2, results.claimsChallenge.requests.token)
  end)
end)
