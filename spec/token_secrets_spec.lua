-- Whatever the token endpoint echoes, and wherever: nothing printable of a sync that could not sign in
-- holds a secret. Every provider that sends one is tried, through the client itself.

local client_certificate = require "autopilot.token.client_certificate"
local client_secret = require "autopilot.token.client_secret"
local device_code = require "autopilot.token.device_code"
local key_files = require "support.key_files"
local token_world = require "support.token_world"
local virtual_world = require "support.virtual_world"
local workload_identity = require "autopilot.token.workload_identity"

local marked = "4f6c1d0e9a7b"
local secret = "h~u s+h/=&%hush-" .. marked
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
    token_world.answer(200, { access_token = { text }, token_type = text }),
    token_world.answer(200, { token_type = text, access_token = "x" }),
    { status = 302, headers = { Location = "https://evil.test/?" .. text } },
    { status = 429, body = text, headers = { ["Retry-After"] = text } },
    { status = 500, body = "<html>" .. text },
    { network = { stage = "tls", message = "no certificate for " .. text } },
  }
end

describe("what is printable of a sync that could not sign in", function()
  local folder, path, remove

  setup(function()
    folder = key_files.make()
    path, remove = token_world.file(secret:gsub("[ &]", ""))
  end)

  teardown(function()
    key_files.remove(folder)
    remove()
  end)

  -- Each makes a provider, and says what of its form is secret.
  local providers = {
    client_secret = function()
      return client_secret { client_id = "app", client_secret = secret, getenv = getenv },
        "client_secret"
    end,
    client_secret_file = function()
      return client_secret { client_id = "app", client_secret_file = path, getenv = getenv },
        "client_secret"
    end,
    workload_identity = function()
      return workload_identity { client_id = "app", token_file = path, getenv = getenv },
        "client_assertion"
    end,
    client_certificate = function()
      return client_certificate {
        client_id = "app",
        certificate = folder .. "/together.pem",
        getenv = getenv,
      },
        "client_assertion"
    end,
    device_code = function()
      return device_code { client_id = "app", prompt = function() end, getenv = getenv },
        "device_code"
    end,
  }

  --- Fails when any of the needles is in what came of one sync.
  local function check(make, place)
    local count = #echoes ""
    for number = 1, count do
      local provider, field = make()
      local needles, raw = {}, nil
      local transport = token_world.scripted({
        function(request)
          local form = token_world.form(request.body)
          if request.url:find "devicecode$" then
            return token_world.answer(200, {
              device_code = "device-" .. marked,
              user_code = "A",
              verification_uri = "https://x.test",
            })
          end
          raw = form[field]
          needles[1] = marked
          for part in raw:gmatch "[^.]+" do
            needles[#needles + 1] = part
          end
          local text = place == "form" and request.body or raw
          local answer = echoes(text)[number]
          if answer.network then
            return nil, answer.network
          end
          return answer
        end,
        last = "repeat",
      })
      local world = virtual_world.new()
      local client = world:client {
        token = provider,
        retry = false,
        transport = transport.ask.transport,
      }
      local report, failure = client:sync()
      assert.is_nil(report)
      assert.are.equal("token_error", failure.outcome)
      assert(raw, "the secret was never sent")
      local ok, trace = xpcall(function()
        error(tostring(failure))
      end, debug.traceback)
      assert.is_false(ok)
      for _, needle in ipairs(needles) do
        for _, printable in ipairs { failure, world.events, client, provider, trace } do
          token_world.assert_nowhere(needle, printable)
        end
      end
    end
  end

  for name, make in pairs(providers) do
    for _, place in ipairs { "value", "form" } do
      it(("holds no secret: %s, its %s echoed"):format(name, place), function()
        check(make, place)
      end)
    end
  end
end)
