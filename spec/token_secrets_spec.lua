-- Whatever an endpoint echoes, and wherever: nothing printable of a sync holds a secret or a token, whether
-- it could sign in or not. Every way to sign in is tried, through the client itself.

local azure_cli = require "autopilot.token.azure_cli"
local cached = require "autopilot.token.cached"
local chain = require "autopilot.token.chain"
local client_certificate = require "autopilot.token.client_certificate"
local client_secret = require "autopilot.token.client_secret"
local default = require "autopilot.token.default"
local device_code = require "autopilot.token.device_code"
local environment = require "autopilot.token.environment"
local key_files = require "support.key_files"
local managed_identity = require "autopilot.token.managed_identity"
local token_world = require "support.token_world"
local virtual_world = require "support.virtual_world"
local workload_identity = require "autopilot.token.workload_identity"

local marked = "4f6c1d0e9a7b"
local secret = "h~u s+h/=&%hush-" .. marked
local line = "hush-" .. marked -- where no blanks may be
local granted = "granted-token-" .. marked
local getenv = token_world.getenv {}

--- Answers that repeat a text in every place there is.
local function echoes(text)
  return {
    token_world.refused(401, "invalid_client", 7000215, "Wrong: " .. text),
    token_world.answer(400, {
      error = text,
      error_description = text,
      error_codes = { text },
      trace_id = text,
      correlation_id = text,
    }),
    token_world.answer(400, { error = { code = text, message = text, correlationId = text } }),
    token_world.answer(200, { access_token = { text }, token_type = text }),
    token_world.answer(200, { token_type = text, access_token = "x" }),
    { status = 302, headers = { Location = "https://evil.test/?" .. text } },
    { status = 401, body = text, headers = { ["WWW-Authenticate"] = "Basic realm=" .. text } },
    { status = 429, body = text, headers = { ["Retry-After"] = text } },
    { status = 500, body = "<html>" .. text },
    { network = { stage = "tls", message = "no certificate for " .. text } },
    { raises = "cannot send " .. text },
  }
end

local offer = token_world.answer(200, {
  device_code = "device-" .. marked,
  user_code = "A",
  verification_uri = "https://x.test",
})

---@class support.SignIn
---@field provider autopilot.TokenProvider
---@field secret_of fun(request: table): string? what of a request is secret; nil: it has nothing
---@field answer (fun(request: table): table?)? for requests before the one with the secret
---@field more string[]? further secrets, which are never sent

local folder, path, remove, key_path, remove_key

local function form_field(name)
  return function(request)
    return request.body and token_world.form(request.body)[name]
  end
end

local function header(name)
  return function(request)
    return request.headers[name]
  end
end

local function with_environment(variables)
  return managed_identity { getenv = token_world.getenv(variables) }
end

local secret_environment = token_world.getenv {
  AZURE_CLIENT_ID = "app",
  AZURE_CLIENT_SECRET = secret,
}

--- Each makes a sign-in of one kind.
---@type table<string, fun(): support.SignIn>
local ways = {
  client_secret = function()
    local provider = client_secret { client_id = "app", client_secret = secret, getenv = getenv }
    return { provider = provider, secret_of = form_field "client_secret" }
  end,
  client_secret_file = function()
    local provider = client_secret { client_id = "app", client_secret_file = path, getenv = getenv }
    return { provider = provider, secret_of = form_field "client_secret" }
  end,
  cached = function()
    local provider = client_secret { client_id = "app", client_secret = secret, getenv = getenv }
    return { provider = cached(provider), secret_of = form_field "client_secret" }
  end,
  chain = function()
    local provider = client_secret { client_id = "app", client_secret = secret, getenv = getenv }
    local failing = function()
      error("no sign-in, Bearer eyJ0eXAiOiJKV1QifQ.eyJ0aWQiOiJjb250b3NvIn0." .. marked)
    end
    return { provider = chain { failing, provider }, secret_of = form_field "client_secret" }
  end,
  environment = function()
    local provider = environment { getenv = secret_environment }
    return { provider = provider, secret_of = form_field "client_secret" }
  end,
  default = function()
    local variables = { MSI_ENDPOINT = "http://localhost:1/" }
    local provider = default {
      scope = "https://graph.microsoft.com/no shell",
      getenv = function(name)
        return secret_environment(name) or variables[name]
      end,
    }
    return { provider = provider, secret_of = form_field "client_secret" }
  end,
  workload_identity = function()
    local provider = workload_identity { client_id = "app", token_file = path, getenv = getenv }
    return { provider = provider, secret_of = form_field "client_assertion" }
  end,
  client_certificate = function()
    local provider = client_certificate {
      client_id = "app",
      certificate = folder .. "/together.pem",
      getenv = getenv,
    }
    local key = key_files.read(folder, "key.pem")
    return {
      provider = provider,
      secret_of = form_field "client_assertion",
      more = { key:match "\n(%S+)", key:match "(%S+)\n%-%-%-%-%-END" },
    }
  end,
  ["client_certificate, its key encrypted"] = function()
    local key = key_files.read(folder, "default.pem")
    local provider = client_certificate {
      client_id = "app",
      certificate = key_files.read(folder, "certificate.pem"),
      private_key = key,
      passphrase = function()
        return key_files.passphrase
      end,
      getenv = getenv,
    }
    return {
      provider = provider,
      secret_of = form_field "client_assertion",
      more = { key_files.passphrase, key:match "\n(%S+)" },
    }
  end,
  ["device_code, its code"] = function()
    local provider = device_code { client_id = "app", prompt = function() end, getenv = getenv }
    return {
      provider = provider,
      secret_of = form_field "device_code",
      answer = function()
        return offer
      end,
    }
  end,
  ["device_code, its refresh token"] = function()
    local signed_in = device_code { client_id = "app", prompt = function() end, getenv = getenv }
    -- Somebody has signed in before.
    local world = token_world.scripted {
      offer,
      token_world.granted { refresh_token = "refresh-" .. marked },
    }
    assert(signed_in(world.ask))
    return {
      provider = signed_in,
      secret_of = form_field "refresh_token",
      answer = function()
        return { status = 500 } -- no code for the person who must now be asked
      end,
    }
  end,
  ["managed_identity, App Service"] = function()
    local provider = with_environment {
      IDENTITY_ENDPOINT = "http://localhost:1/msi/token",
      IDENTITY_HEADER = line,
    }
    return { provider = provider, secret_of = header "X-IDENTITY-HEADER" }
  end,
  ["managed_identity, Service Fabric"] = function()
    local provider = with_environment {
      IDENTITY_ENDPOINT = "https://localhost:2377/metadata/identity/oauth2/token",
      IDENTITY_HEADER = line,
      IDENTITY_SERVER_THUMBPRINT = "AB12",
    }
    return { provider = provider, secret_of = header "Secret" }
  end,
  ["managed_identity, Azure ML"] = function()
    local provider =
      with_environment { MSI_ENDPOINT = "http://localhost:1/msi/token", MSI_SECRET = line }
    return { provider = provider, secret_of = header "secret" }
  end,
  ["managed_identity, Azure Arc"] = function()
    local provider = with_environment {
      IDENTITY_ENDPOINT = "http://localhost:40342/metadata/identity/oauth2/token",
      IMDS_ENDPOINT = "http://localhost:40342",
    }
    return {
      provider = provider,
      secret_of = function(request)
        local value = request.headers["Authorization"]
        return value and value:match "^Basic (.*)$"
      end,
      answer = function()
        local realm = "/var/opt/azcmagent/tokens/a.key"
        return { status = 401, headers = { ["WWW-Authenticate"] = "Basic realm=" .. realm } }
      end,
    }
  end,
}

describe("what is printable of a sync", function()
  local open = io.open

  setup(function()
    folder = key_files.make()
    path, remove = token_world.file(line)
    key_path, remove_key = token_world.file(line)
    -- The agent's folder is on machines of its own only.
    rawset(io, "open", function(name, mode)
      return open(name:find "azcmagent" and key_path or name, mode)
    end)
  end)

  teardown(function()
    rawset(io, "open", open)
    key_files.remove(folder)
    remove()
    remove_key()
  end)

  --- Fails when any of the needles is in anything that is given.
  local function assert_clean(needles, printables)
    for _, needle in ipairs(needles) do
      for _, printable in ipairs(printables) do
        token_world.assert_nowhere(needle, printable)
      end
    end
  end

  --- The trace of an error with this in it.
  local function trace_of(value)
    return select(
      2,
      xpcall(function()
        error(tostring(value))
      end, debug.traceback)
    )
  end

  --- Runs a sync, and the same again; what is printable of both, command lines of processes included.
  local function printables_of(sign_in, transport)
    local lines, execute, popen = {}, os.execute, io.popen
    local function recording(run)
      return function(command, ...)
        lines[#lines + 1] = command
        return run(command, ...)
      end
    end
    rawset(os, "execute", recording(execute))
    rawset(io, "popen", recording(popen))
    local world = virtual_world.new()
    local client = world:client { token = sign_in.provider, retry = false, transport = transport }
    local first, first_failure = client:sync()
    local second, second_failure = client:sync { force = true }
    rawset(os, "execute", execute)
    rawset(io, "popen", popen)
    local reports = { first or first_failure, second or second_failure }
    -- A client has to keep its token: what it prints must not have it.
    local printables = {
      reports,
      world.events,
      tostring(client),
      client.last_token and "" or client,
      sign_in.provider,
      lines,
      trace_of(reports[1]),
    }
    return printables, reports
  end

  --- The secret's own text, and each part of it that could stand alone.
  local function needles_of(raw, more)
    local needles = { marked }
    for part in raw:gmatch "[^.]+" do
      needles[#needles + 1] = part
    end
    for _, text in ipairs(more or {}) do
      needles[#needles + 1] = text
    end
    return needles
  end

  --- An HTTP layer: the request with the secret gets `reply(raw, request)`.
  local function layer(sign_in, reply)
    local seen = {}
    local transport = token_world.scripted({
      function(request)
        local raw = sign_in.secret_of(request)
        seen.raw = raw or seen.raw
        local answer = raw and reply(raw, request)
          or sign_in.answer and sign_in.answer(request)
          or { status = 500 }
        if answer.raises then
          error(answer.raises, 0)
        elseif answer.network then
          return nil, answer.network
        end
        return answer
      end,
      last = "repeat",
    }).ask.transport
    return transport, seen
  end

  for name, make in pairs(ways) do
    for _, place in ipairs { "value", "request" } do
      it(
        ("that could not sign in holds no secret: %s, its %s echoed"):format(name, place),
        function()
          for number = 1, #echoes "" do
            local sign_in = make()
            local transport, seen = layer(sign_in, function(raw, request)
              local whole = request.body or ("Authorization: Basic " .. raw)
              return echoes(place == "value" and raw or whole)[number]
            end)
            local printables, reports = printables_of(sign_in, transport)
            assert(seen.raw, "the secret was never sent")
            assert.are.equal("token_error", reports[1].outcome)
            assert_clean(needles_of(seen.raw, sign_in.more), printables)
          end
        end
      )
    end

    it("that signed in holds neither secret nor token: " .. name, function()
      for _, status in ipairs { 204, 400, 401, 403, 429, 500 } do
        local sign_in = make()
        local to_endpoint, seen = layer(sign_in, function()
          return token_world.granted { access_token = granted }
        end)
        local function transport(request)
          if not request.url:find "windowsAutopilotSettings" then
            return to_endpoint(request)
          end
          local echo = request.headers["Authorization"]
          return {
            status = status,
            headers = { ["request-id"] = echo, ["www-authenticate"] = echo },
            body = token_world.answer(status, { error = { code = echo, message = echo } }).body,
          }
        end
        local printables, reports = printables_of(sign_in, transport)
        assert.are.equal(status, reports[1].status)
        assert_clean({ granted, (granted:sub(1, 20)) }, printables)
        assert_clean(needles_of(seen.raw, sign_in.more), printables)
      end
    end)
  end

  it("through the Azure CLI holds no token, whatever it prints", function()
    local jwt = "eyJ0eXAiOiJKV1QifQ.eyJ0aWQiOiJjb250b3NvIn0.c2lnbmF0dXJl-" .. marked
    for _, case in ipairs {
      { '{"accessToken":"%s","expires_on":9999999999}', 0 },
      { '{"accessToken":"%s","tokenType":"pop"}', 0 },
      { '{"accessToken":["%s"]}', 0 },
      { 'warning %s\n{"accessToken":"%s"', 0 },
      { "ERROR: AADSTS50076: no %s", 1 },
      { "ERROR: %s is not good, run az login", 1 },
      { 'Traceback: {"accessToken":"%s"}', 1 },
      { "%s", 127 },
    } do
      local output, lines = case[1]:gsub("%%s", jwt), {}
      local sign_in = {
        provider = azure_cli {
          run = function(command_line)
            lines[#lines + 1] = command_line
            return output, case[2]
          end,
        },
      }
      local printables = printables_of(sign_in, function(request)
        return { status = 403, headers = {}, body = request.headers["Authorization"] }
      end)
      assert.is_true(#lines > 0)
      printables[#printables + 1] = lines
      assert_clean({ marked, jwt, "eyJ0aWQiOiJjb250b3NvIn0" }, printables)
    end
  end)

  it("with options that are wrong holds no secret of them", function()
    for _, make in ipairs {
      function()
        return client_secret { client_id = "app", client_secret = secret .. "\n" }
      end,
      function()
        return client_secret { client_secret = secret, client_secret_file = path, client_id = "a" }
      end,
      function()
        return client_secret { client_id = "app", client_secret = { secret } }
      end,
      function()
        return client_certificate { client_id = "app", certificate = "x", passphrase = { secret } }
      end,
      function()
        return client_secret {
          client_id = "app",
          client_secret = "x",
          authority = "https://u:" .. line .. "@login.test",
        }
      end,
      function()
        return chain { secret }
      end,
      function()
        return cached(secret)
      end,
    } do
      local ok, trace = xpcall(make, debug.traceback)
      assert.is_false(ok)
      assert.is_nil(trace:find(marked, 1, true), trace)
    end
  end)
end)
