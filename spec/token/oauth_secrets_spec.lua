-- No secret of a request for a token appears in its result.

local cjson = require "cjson.safe"
local endpoint = require "autopilot.token.endpoint"
local oauth_request = require "support.oauth_request"
local token_world = require "support.token_world"

local refusal, send, secret = oauth_request.refusal, oauth_request.send, oauth_request.secret

describe("autopilot.token.authority: the form's secrets", function()
  local encoded = endpoint.encode_form({ x = secret }):sub(3)

  it("appear in no message, in any echo of the endpoint", function()
    for _, echo in ipairs { secret, encoded, cjson.encode(secret), "client_secret=" .. encoded } do
      for _, answer in ipairs {
        token_world.refused(401, "invalid_client", 7000215, "Wrong: " .. echo .. "."),
        token_world.answer(400, {
          error = echo,
          error_description = ("x"):rep(290) .. echo,
          trace_id = echo,
          correlation_id = echo,
          error_codes = { echo },
        }),
        { status = 502, body = echo, headers = { ["Retry-After"] = echo, Location = echo } },
        { network = { message = "cannot send " .. echo } },
      } do
        local message, details = refusal(answer)
        for _, part in ipairs { secret, encoded, "4f6c1d0e9a7b" } do
          token_world.assert_nowhere(part, message)
          token_world.assert_nowhere(part, details)
        end
      end
    end
  end)

  it("appear in no code and no id either", function()
    for _, plain in ipairs { "plain-secret-0123", "0f5c6c9a-0000-4000-8000-00000000abcd" } do
      local answer = { error = plain, trace_id = plain, correlation_id = plain }
      local world = token_world.scripted { token_world.answer(400, answer) }
      local _, message, details = send(world.ask, { form = { client_secret = plain } })
      token_world.assert_nowhere(plain, message)
      assert.are.same({ is_transient = false }, details)
    end
  end)

  it("include those that the provider names", function()
    local world = token_world.scripted { token_world.refused(400, "e", 1, "echo other-one-0123") }
    local _, message = endpoint.request(world.ask, {
      url = "https://login.test/",
      headers = {},
      timeout = {},
      secrets = { "other-one-0123" },
    })
    token_world.assert_nowhere("other-one", message)
  end)
end)
