local device_code = require "autopilot.token.device_code"
local mistakes = require "support.mistakes"
local overlay = require "support.overlay"
local token_world = require "support.token_world"

local code = "device-code-4f6c1d0e9a7b"
local refresh_token = "refresh-token-4f6c1d0e9a7b"

local function offer(changes)
  local fields = {
    device_code = code,
    user_code = "ABCD-EFGH",
    verification_uri = "https://microsoft.com/devicelogin",
    message = "Open https://microsoft.com/devicelogin and enter ABCD-EFGH.",
    expires_in = 900,
    interval = 5,
  }
  for name, value in pairs(changes or {}) do
    fields[name] = value or nil
  end
  return token_world.answer(200, fields)
end

local function refused(name)
  return token_world.refused(400, name, 70016, "Refused with " .. code .. ".")
end

local pending, granted =
  refused "authorization_pending", token_world.granted { refresh_token = refresh_token }

--- A provider, and the list of its prompt's arguments.
local function provider(given)
  local prompts = {}
  local fields = {
    client_id = "app",
    getenv = token_world.getenv {},
    prompt = function(info)
      prompts[#prompts + 1] = info
    end,
  }
  overlay(fields, given)
  return device_code(fields), prompts
end

--- The result of one sign-in that is answered like this.
local function run(answers, given)
  local world = token_world.scripted(answers, given)
  local sign_in, prompts = provider()
  return { sign_in(world.ask) }, world, prompts
end

describe("autopilot.token.device_code", function()
  it("shows the code, and polls until the person has signed in", function()
    local results, world, prompts = run { offer(), pending, pending, granted }
    assert.are.same({ "opaque-token-0123456789", 3599, {} }, results)
    assert.are.same({
      {
        user_code = "ABCD-EFGH",
        verification_uri = "https://microsoft.com/devicelogin",
        message = "Open https://microsoft.com/devicelogin and enter ABCD-EFGH.",
        expires_in = 900,
      },
    }, prompts)
    assert.are.same({ 5, 5, 5 }, world.slept)
    local root = "https://login.microsoftonline.com/contoso/oauth2/v2.0/"
    assert.are.equal(root .. "devicecode", world.requests[1].url)
    assert.are.same(
      { client_id = "app", scope = "https://graph.microsoft.com/.default offline_access" },
      token_world.form(world.requests[1].body)
    )
    assert.are.equal(root .. "token", world.requests[2].url)
    assert.are.same({
      client_id = "app",
      device_code = code,
      grant_type = "urn:ietf:params:oauth:grant-type:device_code",
    }, token_world.form(world.requests[2].body))
  end)

  it("is asked at its own interval, not at that of a certificate which is not known yet", function()
    local unknown = token_world.refused(401, "invalid_client", 700027, "Not registered.")
    local results, world = run { offer(), unknown, granted }
    assert.are.equal("opaque-token-0123456789", results[1])
    assert.are.same({ 5, 10 }, world.slept)
  end)

  it("signs in to any organization if no tenant is named", function()
    local world = token_world.scripted { offer(), granted }
    world.ask.tenant = nil
    assert.is_truthy((provider()(world.ask)))
    assert.is_truthy(world.requests[1].url:find("/organizations/", 1, true))
  end)

  it("polls more slowly from then on when the service says so", function()
    local slow_down = refused "slow_down"
    local _, world = run { offer(), slow_down, pending, slow_down, granted }
    assert.are.same({ 5, 10, 10, 15 }, world.slept)
  end)

  it("continues while network and service fail, at growing intervals", function()
    local results, world = run {
      offer { interval = "7" },
      { network = { stage = "receive", timeout = true } },
      { status = 503, headers = { ["Retry-After"] = "40" } },
      { status = 500 },
      { status = 429, headers = { ["Retry-After"] = "100" } },
      granted,
    }
    assert.are.equal("opaque-token-0123456789", results[1])
    assert.are.same({ 7, 14, 40, 60, 100 }, world.slept)
  end)

  it("polls at its interval again after a failure", function()
    local busy = { status = 503, headers = { ["Retry-After"] = "100" } }
    local _, world = run { offer(), busy, pending, granted }
    assert.are.same({ 5, 100, 5 }, world.slept)
  end)

  it("ends when the code expires, even if the service does not say so", function()
    local results, world = run({ offer { expires_in = "21" }, pending, last = "repeat" })
    assert.is_nil(results[1])
    assert.is_truthy(results[2]:find "expired")
    assert.are.same({ code = "expired_token", is_transient = false }, results[3])
    assert.are.same({ 5, 5, 5, 5 }, world.slept)
  end)

  it("ends when the deadline has passed", function()
    local world = token_world.scripted { offer(), pending, last = "repeat" }
    world.ask.deadline = world.time + 12
    local sign_in = provider()
    local token, message, details = sign_in(world.ask)
    assert.is_nil(token)
    assert.are.equal("the deadline passed before anybody signed in", message)
    assert.is_true(details.is_transient)
    assert.are.same({ 5, 5, 5 }, world.slept)
  end)

  it("ends even if the clock stands still, or no expiry is given", function()
    for _, lifetime in ipairs { false, "soon", -1, 0, 1e300 } do
      local world = token_world.scripted({
        offer { expires_in = lifetime, interval = 50 },
        pending,
        last = "repeat",
      })
      world.ask.now = function()
        return 5
      end
      assert.is_nil((provider()(world.ask)))
      assert.is_true(#world.slept <= 72)
    end
  end)

  it("reports an expired code, or a declined sign-in", function()
    for name, words in pairs {
      expired_token = "expired",
      access_denied = "declined",
      authorization_declined = "declined",
    } do
      local results = run { offer(), refused(name) }
      assert.is_nil(results[1])
      assert.is_truthy(results[2]:find(words, 1, true))
      assert.are.equal(name, results[3].code)
    end
  end)

  it("reports any other refusal in the service's words", function()
    local results = run {
      offer(),
      token_world.refused(401, "invalid_client", 7000218, "No public client."),
    }
    assert.are.equal("AADSTS7000218: No public client.", results[2])
    assert.is_truthy(results[3].hint:find "'Allow public client flows'")
    results = run { token_world.refused(401, "invalid_client", 70002, "Must be marked as mobile.") }
    assert.is_truthy(results[3].hint:find "'Allow public client flows'")
    results = run { token_world.refused(400, "unauthorized_client", 700016, "Not found.") }
    assert.are.equal("AADSTS700016: Not found.", results[2])
  end)

  it("does not show a code from an invalid answer", function()
    for _, changes in ipairs {
      { device_code = false },
      { device_code = "" },
      { device_code = "a b" },
      { user_code = false },
      { user_code = 5 },
      { verification_uri = "" },
    } do
      local results, _, prompts = run { offer(changes) }
      assert.is_nil(results[1])
      assert.is_truthy(results[2]:find "holds no code")
      assert.are.same({}, prompts)
    end
  end)

  it("shows one line without control characters, even if the service sends none", function()
    local _, _, prompts = run { offer { message = "a\27[31m\nb", user_code = "A\nB" }, granted }
    assert.are.equal("a [31m b", prompts[1].message)
    assert.are.equal("A B", prompts[1].user_code)
    _, _, prompts = run { offer { message = false }, granted }
    assert.are.equal(
      "To sign in, open https://microsoft.com/devicelogin and enter the code ABCD-EFGH.",
      prompts[1].message
    )
  end)

  it("ends when the prompt raises, and lets it yield", function()
    local world = token_world.scripted { offer() }
    local token, message = provider({
      prompt = function()
        error "broken pipe"
      end,
    })(world.ask)
    assert.are.same({ nil, "the function prompt raised an error" }, { token, message })
    world = token_world.scripted { offer(), granted }
    local thread = coroutine.create(provider {
      prompt = function(info)
        coroutine.yield(info.user_code)
      end,
    })
    assert.are.same({ true, "ABCD-EFGH" }, { coroutine.resume(thread, world.ask) })
    local _, given = coroutine.resume(thread)
    assert.are.equal("opaque-token-0123456789", given)
  end)

  describe("with the refresh token of an earlier sign-in", function()
    local function signed_in(answers)
      local list = { offer(), granted }
      for _, answer in ipairs(answers) do
        list[#list + 1] = answer
      end
      local world = token_world.scripted(list)
      local sign_in, prompts = provider()
      assert.is_truthy((sign_in(world.ask)))
      return sign_in, world, prompts
    end

    it("does not ask the person, and keeps the newest refresh token", function()
      local again = token_world.granted { access_token = "second", refresh_token = "newer" }
      local third = token_world.granted { access_token = "third" }
      local sign_in, world, prompts = signed_in { again, third, third }
      assert.are.equal("second", (sign_in(world.ask)))
      assert.are.equal("third", (sign_in(world.ask)))
      assert.are.equal("third", (sign_in(world.ask)))
      assert.are.equal(1, #prompts)
      assert.are.same({
        client_id = "app",
        grant_type = "refresh_token",
        refresh_token = refresh_token,
        scope = "https://graph.microsoft.com/.default offline_access",
      }, token_world.form(world.requests[3].body))
      assert.are.equal("newer", token_world.form(world.requests[4].body).refresh_token)
      assert.are.equal("newer", token_world.form(world.requests[5].body).refresh_token)
    end)

    it("asks the person again when the service wants that", function()
      for _, name in ipairs { "invalid_grant", "interaction_required" } do
        local sign_in, world, prompts = signed_in { refused(name), offer(), granted }
        assert.is_truthy((sign_in(world.ask)))
        assert.are.equal(2, #prompts)
      end
    end)

    it("drops one that was refused, for any result of asking the person", function()
      local sign_in, world = signed_in {
        refused "invalid_grant",
        offer(),
        refused "access_denied",
        offer(),
        granted,
      }
      assert.is_nil((sign_in(world.ask)))
      assert.is_truthy((sign_in(world.ask)))
    end)

    it("does not ask the person again because a network failed", function()
      local again = token_world.granted { access_token = "second" }
      local sign_in, world, prompts = signed_in { { network = {} }, { status = 503 }, again }
      for _ = 1, 2 do
        local token, _, details = sign_in(world.ask)
        assert.is_nil(token)
        assert.is_true(details.is_transient)
      end
      assert.are.equal("second", (sign_in(world.ask)))
      assert.are.equal(1, #prompts)
    end)

    it("uses it for other tenants and scopes too, because it is bound to none", function()
      local other_scope = { scope = "https://other.test/.default" }
      for _, changes in ipairs { { tenant = "other" }, other_scope } do
        local sign_in, world, prompts = signed_in { granted }
        overlay(world.ask, changes)
        assert.is_truthy((sign_in(world.ask)))
        assert.are.equal(1, #prompts)
        local last = world.requests[#world.requests]
        assert.are.equal(refresh_token, token_world.form(last.body).refresh_token)
        assert.is_truthy(last.url:find("/" .. world.ask.tenant .. "/", 1, true))
      end
    end)

    it("asks the person for a tenant that refuses it, and keeps it for its own", function()
      local sign_in, world, prompts = signed_in {
        refused "interaction_required",
        offer(),
        token_world.granted { access_token = "of-other", refresh_token = "of-other" },
        token_world.granted { access_token = "own" },
      }
      local tenant = world.ask.tenant
      world.ask.tenant = "other"
      assert.are.equal("of-other", (sign_in(world.ask)))
      assert.are.equal(2, #prompts)
      world.ask.tenant = tenant
      assert.are.equal("own", (sign_in(world.ask)))
      local last = world.requests[#world.requests]
      assert.are.equal(refresh_token, token_world.form(last.body).refresh_token)
    end)

    it("sends it to no other cloud", function()
      local sign_in, world, prompts = signed_in { offer(), granted }
      overlay(world.ask, { cloud = "us_gov", scope = "https://graph.microsoft.us/.default" })
      assert.is_truthy((sign_in(world.ask)))
      assert.are.equal(2, #prompts)
    end)

    it("passes on the claims of a challenge", function()
      local sign_in, world = signed_in { token_world.granted { access_token = "second" } }
      world.ask.claims = '{"access_token":{}}'
      assert.are.equal("second", (sign_in(world.ask)))
      assert.are.equal(world.ask.claims, token_world.form(world.requests[3].body).claims)
    end)
  end)

  it("never shows device code and refresh token", function()
    local sign_in, prompts = provider()
    local world = token_world.scripted {
      offer(),
      refused "authorization_pending",
      { network = { message = code } },
      granted,
      token_world.refused(400, "e", 1, "No: " .. refresh_token),
      { status = 500, body = refresh_token },
      { network = { message = refresh_token } },
      token_world.refused(400, "invalid_grant", 1, "No: " .. refresh_token),
      offer(),
      refused "e",
    }
    for _ = 1, 5 do
      token_world.assert_nowhere("4f6c1d0e9a7b", { sign_in(world.ask) })
    end
    token_world.assert_nowhere("4f6c1d0e9a7b", prompts)
    token_world.assert_nowhere("4f6c1d0e9a7b", sign_in)
    assert.are.equal(10, #world.requests)
  end)

  it("raises for a caller's mistake at the caller's line", function()
    mistakes.assert_refused("device_code", device_code, {
      ["option 'prompt' is required"] = { client_id = "app" },
      ["option 'client_id' is required"] = { prompt = print },
      ["did you mean 'prompt'?"] = { client_id = "app", promt = print },
      ["personal accounts"] = { client_id = "app", prompt = print, tenant = "consumers" },
    })
  end)
end)
