-- `--auth` in every way, as processes of their own against the emulated service: a sign-in that works and
-- one that does not, and no secret in what is printed or in what another process was told.

local base64url = require "autopilot.base.base64url"
local cjson = require "cjson"
local command_process = require "support.command_process"
local core = require "autopilot.core"
local files = require "support.files"
local key_files = require "support.key_files"
local overlay = require "support.overlay"
local sign_in_service = require "support.sign_in_service"

local marked = "4f6c1d0e9a7b"
local machine_key = "machine-key-" .. marked

-- A fake az: notes how it and its shell were called, and gives a prepared answer. `ps` hangs in the
-- sanitizers' runtime.
local az = [[#!/bin/sh
cd "${0%/*}" || exit 9
printf '%s\n' "$@" >>arguments
LD_PRELOAD= ps -o args= -p $PPID >>arguments
cat answer
exit "$(cat code)"
]]

describe("--auth", function()
  local service, folder, base, path, remove

  setup(function()
    folder = key_files.make()
    service = sign_in_service.start(folder, machine_key, { interval = 0.02 })
    files.write(folder .. "/az", az)
    os.execute(("chmod 700 '%s/az'"):format(folder))
    os.execute(
      ("umask 077; cd '%s'; cat certificate.pem default.pem >encrypted.pem"):format(folder)
    )
    path, remove = files.temporary(service.client_secret)
    base = service:environment {
      -- Nothing listens there, and nothing leaves this machine.
      AZURE_POD_IDENTITY_AUTHORITY_HOST = "http://127.0.0.1:1",
      PATH = folder .. ":" .. (os.getenv "PATH" or "/usr/bin:/bin"),
    }
  end)

  teardown(function()
    service.stop()
    key_files.remove(folder)
    remove()
  end)

  before_each(function()
    service:control("POST", "reset")
    files.write(folder .. "/arguments", "")
  end)

  --- What the fake Azure CLI is to say.
  local function let_az(answer, code)
    files.write(folder .. "/answer", answer)
    files.write(folder .. "/code", ("%d\n"):format(code))
  end

  local function assert_safe(...)
    local secrets = {
      marked,
      service.client_secret,
      key_files.passphrase,
      key_files.read(folder, "key.pem"):match "\n(%S+)",
      "eyJ", -- of tokens and assertions
    }
    for _, text in ipairs { ... } do
      for _, secret in ipairs(secrets) do
        assert.is_nil(text:find(secret, 1, true), text)
      end
    end
  end

  local function run(args, env)
    local all = {}
    for _, variables in ipairs { base, env or {} } do
      overlay(all, variables)
    end
    local code, output, complaint = command_process.run(args, all)
    assert_safe(output, complaint, files.read(folder .. "/arguments"))
    return code, output, complaint
  end

  local function assert_started(args, env)
    local code, output, complaint = run("sync " .. args, env)
    assert.equal("", complaint)
    assert.equal(0, code)
    assert.matches("started", output)
  end

  --- Fails unless the sign-in is refused with this; returns the report.
  local function assert_refused(args, env, sentence)
    local code, output, complaint = run("sync " .. args, env)
    assert.equal(5, code, complaint)
    assert.equal("", output)
    assert.is_truthy(complaint:find("token_error", 1, true), complaint)
    assert.is_truthy(complaint:find(sentence, 1, true), complaint)
    code, output = run("sync --json " .. args, env)
    local report = cjson.decode(output)
    assert.same({ 5, "token_error" }, { code, report.outcome })
    return report
  end

  --- Fails unless the command is refused before it signs in, because of the rights of a file.
  local function assert_exposed(args, env)
    local code, output, complaint = run("sync " .. args, env)
    assert.same({ 2, "" }, { code, output })
    assert.matches(
      "cannot be used: .*%(chmod o%-r%), or give %-%-allow%-world%-readable\n$",
      complaint
    )
  end

  --- The environment that signs in with the account's secret.
  local function secret_environment()
    return {
      AZURE_TENANT_ID = service.tenant,
      AZURE_CLIENT_ID = service.client_id,
      AZURE_CLIENT_SECRET = service.client_secret,
    }
  end

  --- A token of a platform about itself.
  local function platform_token(subject)
    local claims = {
      iss = "https://issuer.test",
      sub = subject,
      aud = "api://AzureADTokenExchange",
      exp = os.time() + 600,
    }
    return ("eyJhbGciOiJub25lIn0.%s.c2ln"):format(base64url.encode(cjson.encode(claims)))
  end

  --- Writes the refresh token of a person who has just signed in to a file, and returns it.
  local function let_sign_in(file)
    local given = { client_id = "partner", user = "ann@partner.example" }
    local token = service:control("POST", "refreshtokens", given).refresh_token
    os.execute(("umask 077; rm -f '%s'; touch '%s'"):format(file, file))
    files.write(file, token)
    return token
  end

  it("secret signs in with a file, and reports a wrong secret", function()
    local args = ("--auth secret --tenant %s --client-id %s"):format(
      service.tenant,
      service.client_id
    )
    assert_started(args .. " --client-secret-file " .. path)
    os.execute(("chmod 644 '%s'"):format(path))
    assert_started(args .. " --allow-world-readable --client-secret-file " .. path)
    os.execute(("chmod 600 '%s'"):format(path))
    local env = { AZURE_CLIENT_SECRET = "wrong-" .. marked }
    local report = assert_refused(args, env, "AADSTS7000215")
    assert.equal("7000215", report.error.reason)
    assert.is_truthy(report.hint)
  end)

  it("certificate signs in with a key in the same file, encrypted or not, in PEM or PFX", function()
    local args = ("--auth certificate --tenant %s --client-id certified "):format(service.tenant)
    assert_started(args .. "--certificate " .. folder .. "/together.pem")
    local env = { AZURE_CLIENT_CERTIFICATE_PATH = folder .. "/encrypted.pem" }
    local remedy = "the private key is encrypted: set AZURE_CLIENT_CERTIFICATE_PASSWORD"
    assert_refused(args, env, remedy)
    env.AZURE_CLIENT_CERTIFICATE_PASSWORD = key_files.passphrase
    assert_started(args, env)
    env.AZURE_CLIENT_CERTIFICATE_PASSWORD = "wrong-" .. marked
    assert_refused(args, env, "passphrase")
    assert_started(
      args .. "--certificate " .. folder .. "/application.pfx",
      { AZURE_CLIENT_CERTIFICATE_PASSWORD = key_files.passphrase }
    )
    env.AZURE_CLIENT_CERTIFICATE_PASSWORD = key_files.passphrase
    os.execute(("chmod 644 '%s/encrypted.pem'"):format(folder))
    assert_exposed(args, env)
    assert_started(args .. "--allow-world-readable", env)
    env.AZURE_CLIENT_ID, env.AZURE_TENANT_ID = "certified", service.tenant
    assert_exposed("--auth env", env)
    let_az("sh: az: not found\n", 127)
    assert_refused("--auth default", env, "encrypted.pem can be read by every user")
    for _, way in ipairs { "env", "default" } do
      assert_started("--auth " .. way .. " --allow-world-readable", env)
    end
    args = args:gsub("certified", "nobody")
    assert_refused(args .. "--certificate " .. folder .. "/together.pem", {}, "AADSTS700016")
  end)

  it("workload signs in with the platform's token, and reports one that does not match", function()
    local env = {
      AZURE_TENANT_ID = service.tenant,
      AZURE_CLIENT_ID = "platform",
      AZURE_FEDERATED_TOKEN_FILE = folder .. "/platform-token",
    }
    files.write(env.AZURE_FEDERATED_TOKEN_FILE, platform_token "s")
    assert_started("--auth workload", env)
    files.write(env.AZURE_FEDERATED_TOKEN_FILE, platform_token "else")
    local report = assert_refused("--auth workload", env, "AADSTS700213")
    assert.is_truthy(report.hint:find("subject", 1, true))
  end)

  it("assertion, github and pipelines sign in with what the platform gives", function()
    local env = { AZURE_TENANT_ID = service.tenant, AZURE_CLIENT_ID = "platform" }
    env.CI_TOKEN = platform_token "s"
    assert_started("--auth assertion --assertion-variable CI_TOKEN", env)
    env.CI_TOKEN = platform_token "else"
    assert_refused("--auth assertion --assertion-variable CI_TOKEN", env, "AADSTS700213")

    env.ACTIONS_ID_TOKEN_REQUEST_URL = service.url .. "/_apis/jobs/idtoken?api-version=2.0"
    env.ACTIONS_ID_TOKEN_REQUEST_TOKEN = machine_key
    assert_started("--auth github", env)
    env.ACTIONS_ID_TOKEN_REQUEST_TOKEN = "wrong-" .. marked
    assert_refused("--auth github", env, "GitHub Actions: Unauthorized")

    local job = {
      SYSTEM_OIDCREQUESTURI = service.url .. "/_apis/jobs/oidctoken",
      SYSTEM_ACCESSTOKEN = machine_key,
      AZURESUBSCRIPTION_CLIENT_ID = "platform",
      AZURESUBSCRIPTION_TENANT_ID = service.tenant,
      AZURESUBSCRIPTION_SERVICE_CONNECTION_ID = "connection",
    }
    assert_started("--auth pipelines", job)
    assert_refused(
      "--auth pipelines --service-connection another",
      job,
      "Azure Pipelines: There is no such service connection"
    )
    job.SYSTEM_ACCESSTOKEN = nil
    assert_refused("--auth pipelines", job, "set SYSTEM_ACCESSTOKEN")
  end)

  it("refresh signs in with the token in a file, and saves the new one there", function()
    local file = folder .. "/refresh-token"
    local args = ("--tenant %s --client-id partner --refresh-token-file %s"):format(
      service.tenant,
      file
    )
    local first = let_sign_in(file)
    assert_started(args, { AZURE_CLIENT_SECRET = machine_key })
    local second = files.read(file):match "^(%S+)\n$"
    assert.are_not.equal(first, second)
    assert_started("--auth refresh " .. args .. " --certificate " .. folder .. "/together.pem")
    assert.are_not.equal(second, files.read(file):match "^(%S+)\n$")
    local mode = io.popen(("stat -c %%a '%s'"):format(file))
    assert.equal("600", mode:read "*l")
    mode:close()
    assert_refused(args, {}, "AADSTS7000218")
    files.write(file, "unknown-" .. marked)
    local report = assert_refused(args, { AZURE_CLIENT_SECRET = machine_key }, "AADSTS70000")
    assert.is_truthy(report.hint:find("let the person sign in again", 1, true), report.hint)
    os.execute(("chmod 644 '%s'"):format(file))
    assert_exposed(args, { AZURE_CLIENT_SECRET = machine_key })
    os.execute(("chmod 600 '%s'; chmod 644 '%s/together.pem'"):format(file, folder))
    assert_exposed("--auth refresh " .. args .. " --certificate " .. folder .. "/together.pem")
    os.execute(("chmod 600 '%s/together.pem'"):format(folder))
  end)

  it("refresh leaves a symbolic link and its target unchanged, and says so", function()
    local file, link = folder .. "/refresh-token", folder .. "/link-to-refresh-token"
    local token = let_sign_in(file)
    os.execute(("ln -sf '%s' '%s'"):format(file, link))
    local args = "--tenant %s --client-id partner --refresh-token-file %s"
    local code, _, complaint =
      run("sync " .. args:format(service.tenant, link), { AZURE_CLIENT_SECRET = machine_key })
    assert.equal(0, code, complaint)
    assert.is_truthy(
      complaint:find("kept: " .. link .. ": it is a symbolic link: name the file itself", 1, true),
      complaint
    )
    assert.equal(token, files.read(file))
    assert.equal("link", (core.file_kind(link)))
    local list = folder .. "/tenants"
    files.write(list, "one.example\ntwo.example\nthree.example\n")
    args = "fleet %s --client-id partner --refresh-token-file %s"
    code, _, complaint = run(args:format(list, link), { AZURE_CLIENT_SECRET = machine_key })
    assert.equal(0, code, complaint)
    assert.equal(1, select(2, complaint:gsub("could not be kept", "")), complaint)
  end)

  it("refresh serves all tenants of a list with one refresh token", function()
    local file, list = folder .. "/refresh-token", folder .. "/tenants"
    let_sign_in(file)
    files.write(list, "one.example\ntwo.example\nthree.example\n")
    local code, output, complaint = run(
      ("fleet %s --json --client-id partner --refresh-token-file %s"):format(list, file),
      { AZURE_CLIENT_SECRET = machine_key }
    )
    assert.equal(0, code, complaint)
    local outcomes = {}
    for line in output:gmatch "[^\n]+" do
      outcomes[#outcomes + 1] = cjson.decode(line).outcome
    end
    assert.same({ "started", "started", "started" }, outcomes)
  end)

  it("managed signs in as the machine, and says that there is no managed identity", function()
    local env = {
      IDENTITY_ENDPOINT = service.url .. "/msi/token",
      IDENTITY_HEADER = machine_key,
    }
    assert_started("--auth managed", env)
    assert_started("--auth managed", { AZURE_POD_IDENTITY_AUTHORITY_HOST = service.url })
    env.IDENTITY_HEADER = "wrong-" .. marked
    assert_refused("--auth managed", env, "managed identity of App Service")
    assert_refused("--auth managed --attempts 1", {}, "answers at http://127.0.0.1:1/")
  end)

  it("cli signs in with the account of az, and says when az has none", function()
    local token = service:control("POST", "tokens", { tenant = service.tenant }).token
    let_az(cjson.encode { accessToken = token, expires_on = os.time() + 3600 }, 0)
    assert_started("--auth cli --tenant " .. service.tenant)
    local arguments = files.read(folder .. "/arguments")
    local expected = (
      "account\nget-access-token\n-o\njson\n"
      .. "--resource\nhttps://graph.microsoft.com\n--tenant\n%s\n"
    ):format(service.tenant)
    assert.equal(expected, arguments:sub(1, #expected))
    let_az("ERROR: Please run 'az login' to setup account.\n", 1)
    local report = assert_refused("--auth cli", {}, "nobody is signed in to the Azure CLI")
    assert.equal("Sign in with 'az login'.", report.hint)
    let_az("sh: az: not found\n", 127)
    assert_refused("--auth cli", {}, "the Azure CLI was not found")
  end)

  --- Runs the command with a person beside it, who acts on the code. Returns its exit code and all that
  -- it printed.
  local function with_person(control)
    local env = overlay({ AZURE_CLIENT_ID = "desk", AZURE_TENANT_ID = service.tenant }, base)
    local pipe = command_process.start("program sync --auth device 2>&1; echo $?", env)
    local shown = pipe:read "*l"
    local user_code = shown:match "enter the code (%w+)%."
    assert.is_true(service:control("POST", control, { user_code = user_code }).known, shown)
    local rest = pipe:read "*a"
    pipe:close()
    assert_safe(shown, rest)
    return tonumber(rest:match "(%d+)\n$"), rest
  end

  it("device signs a person in with a code, and reports a refusal by the person", function()
    local code, output = with_person "approve"
    assert.same({ 0, "started" }, { code, output:match "started" })
    code, output = with_person "decline"
    assert.equal(5, code)
    assert.is_truthy(output:find("the sign-in was declined", 1, true), output)
  end)

  it("env signs in with the environment's settings, and reports a wrong secret", function()
    local env = secret_environment()
    assert_started("--auth env", env)
    env.AZURE_CLIENT_SECRET = "wrong-" .. marked
    assert_refused("--auth env", env, "AADSTS7000215")
  end)

  it("default takes the first way that works, and says why each other fails", function()
    let_az("ERROR: Please run 'az login' to setup account.\n", 1)
    assert_started("--auth default", secret_environment())
    assert_started("--auth default", { AZURE_POD_IDENTITY_AUTHORITY_HOST = service.url })
    assert.equal("", files.read(folder .. "/arguments"))
    local report = assert_refused("--auth default --attempts 1", {}, "no provider has a token")
    for _, reason in ipairs {
      "environment: the environment names no way",
      "workload identity: workload identity is not set up",
      "managed identity: there is no managed identity",
      "Azure CLI: nobody is signed in",
    } do
      assert.is_truthy(report.error.message:find(reason, 1, true), report.error.message)
    end
    local token = service:control("POST", "tokens", { tenant = service.tenant }).token
    let_az(cjson.encode { accessToken = token, expires_on = os.time() + 3600 }, 0)
    assert_started "--auth default"
    local env = secret_environment()
    env.AZURE_CLIENT_SECRET = "wrong-" .. marked
    env.AZURE_TOKEN_CREDENTIALS = "dev"
    assert_started("--auth default", env)
    env.AZURE_TOKEN_CREDENTIALS = "EnvironmentCredential"
    assert_refused("--auth default", env, "AADSTS7000215")
    env.AZURE_TOKEN_CREDENTIALS = "AzurePowerShellCredential"
    assert_refused("--auth default", env, "AZURE_TOKEN_CREDENTIALS must be dev, prod, or one of")
  end)

  it("of each way prints the token's permissions, without the token", function()
    let_az("", 1)
    local secret = secret_environment()
    for way, env in pairs {
      env = secret,
      secret = secret,
      default = secret,
      managed = { IDENTITY_ENDPOINT = service.url .. "/msi/token", IDENTITY_HEADER = machine_key },
    } do
      local code, output = run("token --inspect --auth " .. way, env)
      assert.equal(0, code)
      assert.is_truthy(output:find("ReadWrite.All is there", 1, true), output)
    end
    assert.equal(0, service:control("GET", "state").requests.sync)
  end)
end)
