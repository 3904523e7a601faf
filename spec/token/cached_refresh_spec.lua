-- A token is renewed before its end; if that fails, the old one stays in use.

local new_case = require("support.cached_provider").new

--- What a provider returns whose first token is its last.
local function fail_later(number)
  if number > 1 then
    return nil, "no network"
  end
end

describe("a cached token that is to be refreshed early", function()
  local function with_refresh(answer)
    return new_case(nil, function(number, ask)
      local token, second, third = answer(number, ask)
      if token == nil and second == nil then
        return "token-" .. number, 3600, { refresh_in = 1800 }
      end
      return token, second, third
    end)
  end

  it("is renewed when its provider said so", function()
    local case = with_refresh(function() end)
    case.ask()
    case.time = 5000 + 1799
    assert.equal("token-1", (case.ask()))
    case.time = 5000 + 1800
    assert.equal("token-2", (case.ask()))
  end)

  it("is renewed at half its life, if that is two hours or more", function()
    for life, number in pairs { [7199] = 1, [7200] = 2, [86400] = 2 } do
      local case = new_case(nil, function(count)
        return "token-" .. count, life
      end)
      case.ask()
      case.time = 5000 + life / 2 - 1
      assert.equal("token-1", (case.ask()))
      case.time = 5000 + life / 2
      assert.equal("token-" .. number, (case.ask()))
    end
  end)

  it("is not kept longer if that time is late or beyond its life", function()
    for _, refresh_in in ipairs { 3400, 3600, 9000 } do
      local case = new_case(nil, function(number)
        return "token-" .. number, 3600, { refresh_in = refresh_in }
      end)
      case.ask()
      case.time = 5000 + 3300
      assert.equal("token-2", (case.ask()))
    end
    local case = new_case(nil, function(number)
      return "token-" .. number, 7200, { refresh_in = 9000 }
    end)
    case.ask()
    case.time = 5000 + 3600
    assert.equal("token-2", (case.ask()))
  end)

  it("is not returned if the failed renewal took until its minimum life", function()
    local case
    case = with_refresh(function(number)
      if number > 1 then
        case.time = 5000 + 3310
        return nil, "no network"
      end
    end)
    case.ask()
    case.time = 5000 + 3290
    assert.same({ nil, "no network" }, { case.ask() })
  end)

  it("is renewed once when the clock was set back, even if that fails", function()
    local case = with_refresh(fail_later)
    case.ask()
    case.time = 4000
    assert.equal("token-1", (case.ask()))
    assert.equal("token-1", (case.ask()))
    assert.equal(2, #case.asks)
  end)

  it("stays in use when the renewal fails, and 30 seconds pass before the next try", function()
    local failing = true
    local case = with_refresh(function(number)
      if number > 1 and failing then
        return nil, "no network", { is_transient = true }
      end
    end)
    case.ask()
    case.time = 5000 + 1800
    assert.same({ "token-1", 1800 }, { case.ask() })
    assert.equal(2, #case.asks)
    case.time = 5000 + 1829
    assert.equal("token-1", (case.ask()))
    assert.equal(2, #case.asks)
    case.time = 5000 + 1830
    assert.equal("token-1", (case.ask()))
    assert.equal(3, #case.asks)
    failing = false
    case.time = 5000 + 1860
    assert.equal("token-4", (case.ask()))
  end)

  it("stays in use, but not beyond its minimum life", function()
    local case = with_refresh(fail_later)
    case.ask()
    case.time = 5000 + 3290
    assert.equal("token-1", (case.ask()))
    case.time = 5000 + 3300
    assert.same({ nil, "no network" }, { case.ask() })
  end)

  it("is returned to others while one coroutine renews it", function()
    local case = with_refresh(function(number)
      if number > 1 then
        coroutine.yield()
      end
    end)
    case.ask()
    case.time = 5000 + 1800
    local first = coroutine.create(case.ask)
    coroutine.resume(first)
    assert.equal("suspended", coroutine.status(first))
    for _ = 1, 10 do
      assert.equal("token-1", (case.ask()))
    end
    assert.same({ true, "token-2", 3600 }, { coroutine.resume(first) })
    assert.equal(2, #case.asks)
  end)
end)
