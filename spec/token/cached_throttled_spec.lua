-- A token endpoint that throttles is not asked again before its Retry-After.

local new_case = require("support.cached_provider").new

describe("throttling by the token endpoint", function()
  local function throttling(wait, first)
    local case
    case = new_case(nil, function(number)
      if number >= first then
        return nil, "slow down", { retry_after = wait, code = "busy" }
      end
      return "token-" .. number, 3600, { refresh_in = 100 }
    end)
    return case
  end

  it("is remembered: the provider is not called until its time is over", function()
    local case = throttling(40, 1)
    assert.same({ nil, "slow down", { retry_after = 40, code = "busy" } }, { case.ask() })
    case.time = 5030
    for _, more in ipairs { {}, { refresh = true }, { claims = "{}" } } do
      assert.same({ nil, "slow down", { retry_after = 10, code = "busy" } }, { case.ask(more) })
    end
    assert.equal(1, #case.asks)
    case.time = 5040
    case.ask()
    assert.equal(2, #case.asks)
  end)

  it("applies to one tenant", function()
    local case = throttling(40, 1)
    case.ask()
    case.ask { tenant = "fabrikam" }
    assert.equal(2, #case.asks)
  end)

  it("leaves a valid token in use", function()
    local case = throttling(1000, 2)
    case.ask()
    for _, time in ipairs { 5100, 5500, 6000, 6099 } do
      case.time = time
      assert.equal("token-1", (case.ask()))
    end
    assert.equal(2, #case.asks)
    case.time = 6100
    assert.equal("token-1", (case.ask()))
    assert.equal(3, #case.asks)
  end)

  it("is remembered for an hour at most", function()
    local case = throttling(1e9, 1)
    case.ask()
    case.time = 5000 + 3599
    case.ask()
    assert.equal(1, #case.asks)
    case.time = 5000 + 3600
    case.ask()
    assert.equal(2, #case.asks)
  end)

  it("is not remembered if its time is invalid, or if the clock was set back", function()
    for _, wait in ipairs { 0, -1, math.huge, "soon", false, 0 / 0 } do
      local case = throttling(wait, 1)
      case.ask()
      case.ask()
      assert.equal(2, #case.asks)
    end
    local case = throttling(40, 1)
    case.ask()
    case.time = 100
    case.ask()
    assert.equal(2, #case.asks)
  end)

  it("ends when a token is fetched", function()
    local failing = true
    local case = new_case(nil, function(number)
      if failing then
        return nil, "slow down", { retry_after = 40 }
      end
      return "token-" .. number, 400
    end)
    case.ask()
    failing, case.time = false, 5040
    assert.equal("token-2", (case.ask()))
    case.time = 5141
    assert.equal("token-3", (case.ask()))
  end)
end)
