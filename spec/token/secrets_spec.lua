-- Echoes of an endpoint, in any place: no printable result of a sync holds a secret or a token, whether
-- it could sign in or not. Every way to sign in is tried, through the client itself.

local azure_cli = require "autopilot.token.azure_cli"
local cached = require "autopilot.token.cached"
local chain = require "autopilot.token.chain"
local client_certificate = require("autopilot.token.application").client_certificate
local client_secret = require("autopilot.token.application").client_secret
local secret_sign_ins = require "support.secret_sign_ins"
local token_world = require "support.token_world"
local virtual_world = require "support.virtual_world"

local assert_nowhere = token_world.assert_nowhere
local line, marked, secret = secret_sign_ins.line, secret_sign_ins.marked, secret_sign_ins.secret
local granted = "granted-token-" .. marked

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

describe("the printable results of a sync", function()
  setup(secret_sign_ins.make_files)
  teardown(secret_sign_ins.remove_files)

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

  for name, make in pairs(secret_sign_ins.ways) do
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
            assert_nowhere(needles_of(seen.raw, sign_in.more), printables)
          end
        end
      )
    end

    it("with a sign-in hold neither secret nor token: " .. name, function()
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
        assert_nowhere({ granted, (granted:sub(1, 20)) }, printables)
        assert_nowhere(needles_of(seen.raw, sign_in.more), printables)
      end
    end)
  end

  it("through the Azure CLI hold no token, for any output of it", function()
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
      assert_nowhere({ marked, jwt, "eyJ0aWQiOiJjb250b3NvIn0" }, printables)
    end
  end)

  it("with invalid options hold no secret of them", function()
    for _, make in ipairs {
      function()
        return client_secret { client_id = "app", client_secret = secret .. "\n" }
      end,
      function()
        return client_secret {
          client_secret = secret,
          client_secret_file = "/a/file",
          client_id = "a",
        }
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
