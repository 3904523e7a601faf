-- Several providers: which one is asked, and the message when none has a token.

local chain = require "autopilot.token.chain"
local mistakes = require "support.mistakes"
local providers = require "autopilot.token"

-- A provider that counts its asks; `answers` are the results of its calls, the last one for ever.
local function member(...)
  local answers, asks = { ... }, {}
  return function(ask)
    asks[#asks + 1] = ask
    local answer = answers[math.min(#asks, #answers)]
    return answer[1], answer[2], answer[3]
  end,
    asks
end

local good = { "token", 3600, { refresh_in = 5 } }

describe("autopilot.token.chain", function()
  it("calls one provider after the other until one has a token", function()
    local first, first_asks = member { nil, "not here" }
    local second, second_asks = member(good)
    local third, third_asks = member { "other" }
    local provider = chain { first, second, third }
    assert.same({ "token", 3600, { refresh_in = 5 } }, { provider { tenant = "contoso" } })
    assert.equal(1, #first_asks)
    assert.equal("contoso", second_asks[1].tenant)
    assert.equal(0, #third_asks)
  end)

  it("calls the successful provider first from then on", function()
    local first, first_asks = member({ nil, "not here" }, { "late" })
    local second, second_asks = member(good, good, { nil, "gone" }, good)
    local provider = chain { first, second }
    provider {}
    assert.equal("token", (provider {}))
    assert.equal(1, #first_asks)
    assert.equal("late", (provider {}))
    assert.equal(2, #first_asks)
    assert.equal(3, #second_asks)
    assert.equal("late", (provider {}))
    assert.equal(3, #second_asks)
  end)

  it(
    "tells its members that they are in a chain, and leaves the caller's table as it is",
    function()
      local first, asks = member(good)
      local ask = { tenant = "contoso", refresh = true, claims = "{}" }
      chain { first }(ask)
      assert.same({ tenant = "contoso", refresh = true, claims = "{}", probe = 1 }, asks[1])
      assert.is_nil(ask.probe)
    end
  )

  it("reports all members' reasons, in their order, on one line", function()
    local provider = chain {
      (member { nil, "not\nhere" }),
      (member {}),
      (member { "" }),
      (member { 5, "a number" }),
      function()
        error("boom", 0)
      end,
      function()
        error {}
      end,
    }
    local token, message = provider {}
    assert.is_nil(token)
    assert.equal(
      "no provider has a token. 1: not here; 2: no token; 3: no token; 4: a number; 5: boom; "
        .. "6: no token",
      message
    )
  end)

  it("reports the reasons in order, even if another member was called first", function()
    local first = member { nil, "one" }
    local second, asks = member(good, { nil, "two" })
    local provider = chain { first, second }
    provider {}
    assert.equal("no provider has a token. 1: one; 2: two", (select(2, provider {})))
    assert.equal(2, #asks)
  end)

  it("shortens long reasons, so that a report has room for all", function()
    local members = {}
    for index = 1, 4 do
      members[index] = member { nil, ("x"):rep(5000) .. index }
    end
    local _, message = chain(members) {}
    assert.is_true(#message <= 490, #message)
    for index = 1, 4 do
      assert.is_truthy(message:find(index .. ": xxx", 1, true))
    end
  end)

  it("shows no token that a member repeats", function()
    local token = "eyJhbGciOiJub25lIn0.eyJ0aWQiOiJjb250b3NvIn0.c2lnbmF0dXJl"
    local _, message = chain { (member { nil, "refused: " .. token }) } {}
    assert.is_nil(message:find(token, 1, true))
  end)

  it("returns the details of an authority's refusal, and the shortest time to wait", function()
    local _, _, details = chain {
      (member { nil, "not set up", { hint = "Set it up.", is_transient = false } }),
      (member { nil, "busy", { retry_after = 60, is_transient = true } }),
      (member { nil, "wrong", { code = "invalid_client", reason = "7000215", hint = "Fix." } }),
      (member { nil, "busy", { retry_after = 20, code = "other" } }),
      (member { nil, "busy", { retry_after = 40 } }),
      (member { nil, "odd", "no details" }),
    } {}
    assert.same({
      code = "invalid_client",
      reason = "7000215",
      hint = "Fix.",
      retry_after = 20,
      is_transient = true,
    }, details)
    _, _, details =
      chain { (member { nil, "x", { hint = "Set it up." } }), (member { nil, "y" }) } {}
    assert.same({ hint = "Set it up.", is_transient = false }, details)
  end)

  it("may have members that yield", function()
    local provider = chain {
      function()
        return coroutine.yield "first"
      end,
      function()
        return coroutine.yield "second"
      end,
    }
    local thread = coroutine.create(provider)
    assert.same({ true, "first" }, { coroutine.resume(thread, {}) })
    assert.same({ true, "second" }, { coroutine.resume(thread, nil) })
    assert.same({ true, "token" }, { coroutine.resume(thread, "token") })
  end)

  it("may be called without an argument", function()
    assert.equal("token", (chain { (member(good)) }()))
  end)

  it("raises for anything but a list, at the caller's line, and quotes nothing", function()
    for _, case in ipairs {
      { nil, "needs a list of token providers (got nil)" },
      { {}, "needs a list of token providers (got none)" },
      { print, "needs a list of token providers (got function)" },
      { { "hidden" }, "option 'provider 1' must be a function (got string)" },
      { { print, 5 }, "option 'provider 2' must be a function (got number)" },
      {
        { providers.azure_cli },
        "option 'provider 1' must be what autopilot.token.azure_cli(…) returns (got function)",
      },
    } do
      local line
      local message = mistakes.raised(function()
        line = mistakes.this_line() + 1
        local provider = chain(case[1])
        return provider
      end)
      mistakes.assert_raised_at(line, message, "autopilot.token.chain: " .. case[2])
      assert.is_nil(message:find "hidden")
    end
  end)
end)
