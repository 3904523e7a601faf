-- A refused token is not returned again, nor one that does not answer a claims
-- challenge.

local new_case = require("support.cached_provider").new

describe("a refused token", function()
  it("is dropped, and its provider learns that it was refused", function()
    local case = new_case()
    case.ask()
    assert.equal("token-2", (case.ask { refresh = true }))
    assert.is_true(case.asks[2].refresh)
    assert.equal("token-2", (case.ask()))
    assert.equal(2, #case.asks)
  end)

  it("is dropped even if no other can be had", function()
    local case = new_case(nil, function(number)
      if number == 2 then
        return nil, "sealed"
      end
      return "token-" .. number, 3600
    end)
    case.ask()
    assert.same({ nil, "sealed" }, { case.ask { refresh = true } })
    assert.equal("token-3", (case.ask()))
  end)

  it("is not kept when its provider returns it again", function()
    for _, more in ipairs { { refresh = true }, { refresh = true, refused = "same" } } do
      local case = new_case(nil, function()
        return "same", 3600
      end)
      case.ask()
      assert.equal("same", (case.ask(more)))
      case.ask()
      assert.equal(3, #case.asks)
    end
  end)

  it("does not affect another token", function()
    local case = new_case()
    case.ask()
    assert.equal("token-1", (case.ask { refresh = true, refused = "token-0" }))
    assert.equal(1, #case.asks)
    case.ask { tenant = "fabrikam" }
    case.ask { refresh = true }
    assert.equal("token-2", (case.ask { tenant = "fabrikam" }))
  end)
end)

describe("a claims challenge", function()
  it("bypasses the cache once: the provider is called with the claims", function()
    local case = new_case()
    case.ask()
    assert.equal("token-2", (case.ask { claims = "{}", refresh = true }))
    assert.equal("{}", case.asks[2].claims)
    assert.equal("token-2", (case.ask()))
    assert.is_nil(case.asks[3])
  end)

  it("bypasses the cache also without a refusal, and again for other claims", function()
    local case = new_case()
    case.ask()
    assert.equal("token-2", (case.ask { claims = "{}" }))
    assert.equal("token-2", (case.ask { claims = "{}" }))
    assert.equal("token-3", (case.ask { claims = '{"a":1}' }))
  end)
end)

describe("a fetch with claims", function()
  it("is separate from the fetch that a call without claims waits for", function()
    local case = new_case(nil, function(_, ask)
      coroutine.yield()
      return ask.claims and "with claims" or "without", 3600
    end)
    local plain, challenged = coroutine.create(case.ask), coroutine.create(case.ask)
    coroutine.resume(plain)
    coroutine.resume(challenged, { claims = "{}" })
    assert.equal(2, #case.asks)
    assert.equal("without", select(2, coroutine.resume(plain)))
    assert.equal("with claims", select(2, coroutine.resume(challenged)))
    assert.equal("with claims", (case.ask()))
  end)

  it("that was throttled does not prevent one more request once another has a token", function()
    local case = new_case(nil, function(number, ask)
      if ask.claims then
        return nil, "slow down", { retry_after = 1000 }
      elseif number == 1 then
        coroutine.yield()
      end
      return "token-" .. number, 3600
    end)
    local plain = coroutine.create(case.ask)
    coroutine.resume(plain)
    assert.is_nil((case.ask { claims = "{}" }))
    assert.is_true((coroutine.resume(plain)))
    assert.equal("token-3", (case.ask { refresh = true }))
  end)
end)
