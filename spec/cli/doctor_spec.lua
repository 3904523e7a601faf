-- `autopilot-sync doctor` against the emulated service over TLS: set-ups that are broken in different ways, each of
-- which it names; what it prints; and that the text for a support case has no secret.

local cjson = require "cjson"
local command = require "support.command"
local command_process = require "support.command_process"
local core = require "autopilot.core"
local emulated_service = require "support.emulated_service"
local files = require "support.files"
local hostile = require "support.hostile_server"
local wire = require "support.wire"

--- A secret in the forms in which a text may repeat it.
local function forms_of(secret)
  local percent = secret:gsub(".", function(character)
    return ("%%%02X"):format(character:byte())
  end)
  local references = secret:gsub(".", function(character)
    return ("&#%d;"):format(character:byte())
  end)
  local escapes = secret:gsub(".", function(character)
    return ("\\u%04x"):format(character:byte())
  end)
  return { secret, percent, references, escapes }
end

describe("autopilot-sync doctor", function()
  local service, folder, remove_folder

  setup(function()
    service = emulated_service.start {}
    folder, remove_folder = files.folder()
  end)

  teardown(function()
    wire.teardown()
    service.stop()
    remove_folder()
  end)

  before_each(function()
    service:control("POST", "reset")
  end)

  local function signed_in(more)
    local env = service:environment {
      AZURE_TENANT_ID = service.tenant,
      AZURE_CLIENT_ID = service.client_id,
      AZURE_CLIENT_SECRET = service.client_secret,
    }
    for name, value in pairs(more or {}) do
      env[name] = value or nil
    end
    return env
  end

  --- Runs `doctor --json`, and returns the exit code and the titles and the texts of what is wrong.
  local function faults(env, world)
    world = world or {}
    world.env = env
    local ran = command.run("doctor --json --timeout 5", world)
    local report, found = cjson.decode(ran.out), {}
    for _, check in ipairs(report.checks) do
      found[#found + 1] = check.state == "wrong" and check or nil
    end
    assert.equal(found[1] and 9 or 0, ran.code)
    assert.equal("", ran.err)
    assert.equal(0, service:control("GET", "state").requests.sync)
    return found, report
  end

  --- Asserts that one thing is wrong, and what.
  local function assert_fault(name, text, found)
    assert.equal(1, #found)
    assert.equal(name, found[1].name)
    assert.matches(text, found[1].text)
    assert.truthy(found[1].advice)
  end

  it("prints a line for each check, and ends in 0", function()
    local ran = command.run("doctor", { env = signed_in() })
    assert.equal(0, ran.code, ran.err)
    for title in
      ("Proxy TLS Service Clock Sign%-in Token Permission Licence Cooldown Store"):gmatch "%S+"
    do
      assert.matches("\n" .. title .. " +ok +%S", ran.out)
    end
    assert.matches("^Name resolution  ok       localhost is [%d.:]+\n", ran.out)
    assert.matches(
      "\nTLS +ok +issued by CN.*localhost, ends .- GMT; trusted are the authorities of .-/ca.pem",
      ran.out
    )
    assert.equal("", command.run("doctor --quiet", { env = signed_in() }).err)
  end)

  it(
    "prints what is wrong, what to do, and what it could not look at; with --quiet the first two",
    function()
      local env = signed_in { AZURE_CLIENT_SECRET = "not-the-secret" }
      local ran = command.run("doctor", { env = env })
      assert.equal(9, ran.code)
      local advice = "\n" .. (" "):rep(26) .. "The client secret is wrong"
      assert.matches("\nSign%-in +WRONG +AADSTS7000215[^\n]+" .. advice, ran.out)
      assert.matches("\nToken +%- +not checked, because 'Sign%-in' is wrong\n", ran.out)
      ran = command.run("doctor --quiet", { env = env })
      assert.equal("", ran.out)
      assert.matches("^Sign%-in +WRONG", ran.err)
    end
  )

  it("names a wrong name of the service", function()
    local found = faults(signed_in { AUTOPILOT_BASE_URL = "https://graph.nowhere.invalid" })
    assert_fault("name_resolution", "graph.nowhere.invalid", found)
  end)

  it("names a server whose authority is not trusted", function()
    local found = faults(signed_in { AUTOPILOT_CA_FILE = false })
    assert_fault("tls", "trusted are the authorities of", found)
  end)

  it("names a server whose certificate is for another name, or has ended", function()
    for certificate, text in pairs { wrong_host = "name", expired = "expired" } do
      local server = hostile.listen(wire.tls(wire.serves(), { certificate = certificate }))
      local env = signed_in { AUTOPILOT_BASE_URL = (server:url("", "https"):gsub("/$", "")) }
      local transport = wire.transport { ca_file = wire.certificates().ca }
      assert_fault("tls", text, (faults(env, { transport = transport })))
      wire.close()
    end
  end)

  it("names a dead proxy and the variable that names it, without its password", function()
    local code, output = command_process.run("doctor --json --timeout 5", {
      AUTOPILOT_TOKEN = service.token,
      AUTOPILOT_BASE_URL = "https://graph.example.test",
      https_proxy = "http://someone:hush-hush@127.0.0.1:1",
    })
    local report = cjson.decode(output)
    assert.equal(9, code)
    local check = report.checks[2]
    assert.equal("proxy", check.name)
    assert.equal("wrong", check.state)
    assert.matches("the proxy is http://127.0.0.1:1, named by https_proxy$", check.text)
    assert.matches("https_proxy", check.advice)
    assert.is_nil(output:find("hush", 1, true))
    assert.equal("skipped", report.checks[3].state)
  end)

  it("tells the proxy in force, what names it, and that it looks up the service's name", function()
    local proxy = hostile.listen(function(connection)
      connection:read_head()
      connection:send "HTTP/1.1 200 Connection established\r\n\r\n"
      wire.tls(wire.serves())(connection)
    end)
    local address = "http://127.0.0.1:" .. proxy.port
    local ran = command.run({ "doctor", "--proxy", address }, {
      env = {
        AUTOPILOT_TOKEN = service.token,
        AUTOPILOT_BASE_URL = "https://graph.example.test",
      },
      transport = wire.transport { proxy = address, ca_file = wire.certificates().ca },
    })
    wire.close()
    assert.matches("^Name resolution +ok +left to the proxy\n", ran.out .. ran.err)
    assert.truthy(
      ran.out:find("\nProxy            ok       " .. address .. ", named by --proxy\n", 1, true),
      ran.out
    )
  end)

  it("names the command's own option or variable that set a proxy or the authorities", function()
    local function run(args, env)
      local code, output = command_process.run("doctor --json --timeout 5 " .. args, env)
      local report = cjson.decode(output)
      assert.equal(9, code)
      assert.is_nil(output:find("http.proxy, n", 1, true) or output:find("(http.ca_file)", 1, true))
      return report
    end
    local env = { AUTOPILOT_TOKEN = "t", AUTOPILOT_BASE_URL = "https://graph.example.test" }
    local report = run("--proxy http://http.proxy.invalid:1", env)
    assert.matches("is http://http.proxy.invalid:1, named by %-%-proxy$", report.checks[2].text)
    assert.matches("named by %-%-proxy$", report.error.message)
    for scheme, text in pairs { socks5 = "left to this machine", socks5h = "left to the proxy" } do
      report = run("--proxy " .. scheme .. "://127.0.0.1:1", env)
      assert.matches("^" .. text, report.checks[1].text)
      assert.equal("proxy", report.checks[2].state == "wrong" and report.checks[2].name)
    end
    local other = wire.certificates().ca
    env.AUTOPILOT_BASE_URL = service.url
    assert.matches("%(%-%-ca%-file%)$", run("--ca-file " .. other, env).checks[4].text)
    env.AUTOPILOT_CA_FILE = other
    assert.matches("%(AUTOPILOT_CA_FILE%)$", run("", env).checks[4].text)
  end)

  it("names a clock that is wrong by an hour, either way", function()
    for _, difference in ipairs { -3600, 3600 } do
      local env = signed_in { AUTOPILOT_TOKEN = service.token, AZURE_CLIENT_SECRET = false }
      local found = faults(env, {
        now = function()
          return core.now() + difference
        end,
      })
      assert_fault("clock", difference < 0 and "behind" or "ahead of", found)
    end
  end)

  it("names a token that has expired, and one of another tenant", function()
    local env = signed_in { AUTOPILOT_TOKEN = service.token, AZURE_TENANT_ID = core.uuid() }
    env.AZURE_CLIENT_SECRET = nil
    assert_fault("token", "is of the tenant " .. service.tenant:gsub("%-", "%%-"), (faults(env)))
    local token = service:control("POST", "tokens", { tenant = service.tenant, lifetime = 1 }).token
    env.AUTOPILOT_TOKEN, env.AZURE_TENANT_ID = token, service.tenant
    local found = faults(env, {
      now = function()
        return core.now() + 20
      end,
    })
    assert_fault("token", "has expired %d+ s ago", found)
  end)

  it("names a missing permission", function()
    local given = { tenant = service.tenant, roles = { "Device.Read.All" } }
    local env = signed_in { AUTOPILOT_TOKEN = service:control("POST", "tokens", given).token }
    env.AZURE_CLIENT_SECRET = nil
    assert_fault("permission", "DeviceManagementServiceConfig.ReadWrite.All", (faults(env)))
  end)

  it("names a store that cannot be reached", function()
    local env = signed_in { AUTOPILOT_STORE = "redis://:hush-hush@127.0.0.1:1" }
    local found, report = faults(env)
    assert_fault("store", ".", found)
    assert.is_nil(cjson.encode(report):find("hush", 1, true))
    assert.same({}, (faults(signed_in { AUTOPILOT_STORE = folder .. "/store.db" })))
  end)

  describe("--bundle", function()
    local path

    before_each(function()
      path = folder .. "/bundle.txt"
      os.remove(path)
    end)

    it("writes what a support case needs to a file that only its owner can read", function()
      local ran = command.run({ "doctor", "--bundle", path }, { env = signed_in() })
      assert.equal(0, ran.code, ran.err)
      local text = files.read(path)
      for _, wanted in ipairs {
        "Permission       ok",
        "version.libcurl: " .. core.info().libcurl,
        "environment.AZURE_CLIENT_SECRET: set",
        "environment.AZURE_CLIENT_ID: " .. service.client_id,
        "request.1.headers.date: ",
        "request.1.request_id: ",
        "request.2.client_request_id: ",
      } do
        assert.truthy(text:find(wanted, 1, true), wanted)
      end
      assert.is_false((select(3, core.file_kind(path))))
    end)

    it("has no secret, in any form in which the service or the environment repeats it", function()
      local secrets = { service.client_secret, service.token, "hush-hush-hush-hush" }
      for _, secret in ipairs(secrets) do
        for _, form in ipairs(forms_of(secret)) do
          service:control("POST", "reset")
          local body = cjson.encode { error = { code = "Forbidden", message = "No: " .. form } }
          service:control(
            "POST",
            "faults",
            { kind = "status", status = 403, body = body, on = "status" }
          )
          service:control(
            "POST",
            "faults",
            { kind = "status", status = 403, body = body, on = "status" }
          )
          local env = signed_in {
            AUTOPILOT_TOKEN = secret == service.token and secret or false,
            AZURE_CLIENT_CERTIFICATE_PASSWORD = secrets[3],
            AUTOPILOT_STORE = ("redis://:%s@127.0.0.1:1"):format(secrets[3]),
            AZURE_AUTHORITY_HOST = service.url .. "/",
            no_proxy = form,
          }
          local ran = command.run({ "doctor", "--bundle", path, "--timeout", "5" }, { env = env })
          assert.equal(9, ran.code, ran.err)
          local text = files.read(path)
          for _, other in ipairs(secrets) do
            for _, hidden in ipairs(forms_of(other)) do
              assert.is_nil(text:find(hidden, 1, true), hidden .. " of " .. form)
            end
          end
        end
      end
    end)

    it("leaves no file when signing in fails", function()
      local ran = command.run({ "doctor", "--bundle", path }, { env = {} })
      assert.equal(2, ran.code)
      assert.is_nil(core.file_kind(path))
    end)

    it("is refused before any request if the file cannot be written", function()
      local ran = command.run(
        { "doctor", "--bundle", folder .. "/none/b.txt" },
        { env = signed_in() }
      )
      assert.equal(2, ran.code)
      assert.matches("%-%-bundle cannot be written", ran.err)
      assert.equal(0, service:control("GET", "state").requests.status)
    end)
  end)
end)
