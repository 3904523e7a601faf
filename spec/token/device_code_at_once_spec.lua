-- Several tenants that ask for a token by a device code at the same time.

local device_code = require "autopilot.token.device_code"
local token_world = require "support.token_world"

--- The results of two tenants that ask at once, by tenant, and the number of prompts. `answers` returns the answer to a
-- request, by its tenant, and by the form of a token request.
local function ask_at_once(answers)
  local prompts, results, threads = 0, {}, {}
  local sign_in = device_code {
    client_id = "app",
    getenv = token_world.getenv {},
    prompt = function()
      prompts = prompts + 1
    end,
  }
  local function transport(request)
    coroutine.yield()
    local tenant = request.url:match "//[^/]*/([^/]*)/"
    if request.url:find("/devicecode", 1, true) then
      return answers(tenant)
        or token_world.answer(200, {
          device_code = "device",
          user_code = "ABCD",
          verification_uri = "https://microsoft.com/devicelogin",
        })
    end
    return answers(tenant, token_world.form(request.body))
  end
  local tenants = { "first", "second" }
  for index, tenant in ipairs(tenants) do
    threads[index] = coroutine.create(function()
      local ask = { tenant = tenant, transport = transport, sleep = coroutine.yield }
      results[tenant] = { sign_in(ask) }
    end)
  end
  local steps = 0
  while not (results.first and results.second) do
    steps = steps + 1
    assert(steps < 1000, "no end")
    for _, thread in ipairs(threads) do
      if coroutine.status(thread) ~= "dead" then
        assert(coroutine.resume(thread))
      end
    end
  end
  return results, prompts
end

--- The answer to a token request: a token of the tenant, with a refresh token.
local function grant(tenant)
  return token_world.granted { access_token = "of-" .. tenant, refresh_token = "from-" .. tenant }
end

describe("device codes for several tenants at once", function()
  it("ask the person once, whose refresh token serves the other tenants", function()
    local form_of_second
    local results, prompts = ask_at_once(function(tenant, form)
      form_of_second = tenant == "second" and form or form_of_second
      return form and grant(tenant)
    end)
    assert.equal(1, prompts)
    assert.equal("of-first", results.first[1])
    assert.equal("of-second", results.second[1])
    assert.equal("from-first", form_of_second.refresh_token)
  end)

  it("ask the person once if they decline, and say so for each tenant", function()
    local results, prompts = ask_at_once(function(_, form)
      return form and token_world.refused(400, "authorization_declined", 1, "No.")
    end)
    assert.equal(1, prompts)
    for _, tenant in ipairs { "first", "second" } do
      assert.is_nil(results[tenant][1])
      assert.equal("the sign-in was declined", results[tenant][2])
    end
  end)

  it("report no failure of one tenant for another one", function()
    local results, prompts = ask_at_once(function(tenant, form)
      if tenant == "first" then
        return token_world.refused(400, "invalid_request", 90002, "There is no such tenant.")
      end
      return form and grant(tenant)
    end)
    assert.equal(1, prompts)
    assert.equal("90002", results.first[3].reason)
    assert.equal("of-second", results.second[1])
  end)

  it("ask the person for a tenant without a refresh token of the other sign-in", function()
    local results, prompts = ask_at_once(function(tenant, form)
      return form and token_world.granted { access_token = "of-" .. tenant }
    end)
    assert.equal(2, prompts)
    assert.equal("of-second", results.second[1])
  end)
end)
