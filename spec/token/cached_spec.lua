-- A token in memory is used for what it was fetched for, as long as it is valid.

local base64url = require "autopilot.base.base64url"
local cached = require "autopilot.token.cached"
local mistakes = require "support.mistakes"
local new_case = require("support.cached_provider").new
local providers = require "autopilot.token"

describe("a cached token", function()
  it("is returned again, with the seconds that are left", function()
    local case = new_case()
    assert.same({ "token-1", 3600 }, { case.ask() })
    case.time = 5100
    assert.same({ "token-1", 3500 }, { case.ask() })
    assert.equal(1, #case.asks)
  end)

  it("is not returned with less than 300 seconds left", function()
    local case = new_case()
    case.ask()
    case.time = 5000 + 3299.5
    assert.equal("token-1", (case.ask()))
    case.time = 5000 + 3300
    assert.equal("token-2", (case.ask()))
    assert.equal(2, #case.asks)
  end)

  it("is not returned with less time left than requested", function()
    local case = new_case { minimum_life = 1000 }
    case.ask()
    case.time = 5000 + 2600
    assert.equal("token-2", (case.ask()))
  end)

  it("belongs to a tenant, a cloud and a scope", function()
    local case = new_case()
    local tokens, count = {}, 0
    local function ask(more)
      local token = case.ask(more)
      count = count + (tokens[token] and 0 or 1)
      tokens[token] = true
      assert.equal(token, (case.ask(more)))
    end
    ask {}
    ask { tenant = "fabrikam" }
    ask { cloud = "china" }
    ask { scope = "https://graph.microsoft.us/.default" }
    assert.equal(4, count)
    assert.equal(4, #case.asks)
  end)

  it(
    "is kept for a bounded number of tenants: the one not used for longest is fetched anew",
    function()
      local case = new_case { max_entries = 2 }
      case.ask { tenant = "a" }
      case.ask { tenant = "b" }
      case.ask { tenant = "a" }
      case.ask { tenant = "c" }
      assert.equal("token-1", (case.ask { tenant = "a" }))
      assert.equal("token-4", (case.ask { tenant = "b" }))
    end
  )

  it("may have its lifetime as a text", function()
    local case = new_case(nil, function(number)
      return "token-" .. number, "3600"
    end)
    assert.same({ "token-1", 3600 }, { case.ask() })
  end)

  local function jwt(expires)
    local payload = ('{"exp":%s}'):format(expires)
    return ("e30.%s.c2ln"):format(base64url.encode(payload))
  end

  it("without a lifetime is valid until its own expiry", function()
    for _, told in ipairs { false, "soon", {}, 0 / 0, math.huge } do
      local case = new_case(nil, function()
        return jwt(5000 + 3600), told or nil
      end)
      assert.same({ jwt(8600), 3600 }, { case.ask() })
      case.time = 5000 + 3299
      case.ask()
      assert.equal(1, #case.asks)
      case.time = 5000 + 3300
      case.ask()
      assert.equal(2, #case.asks)
    end
  end)

  it("with an unknown lifetime is kept for a minute", function()
    for _, token in ipairs { "opaque", jwt '"soon"', jwt "-5", jwt "null" } do
      local case = new_case(nil, function()
        return token
      end)
      assert.same({ token }, { case.ask() })
      case.time = 5059
      assert.same({ token }, { case.ask() })
      assert.equal(1, #case.asks)
      case.time = 5060
      case.ask()
      assert.equal(2, #case.asks)
    end
    local case = new_case({ unknown_life = 0 }, function()
      return "opaque"
    end)
    case.ask()
    case.ask()
    assert.equal(2, #case.asks)
  end)

  it("is returned but not kept when it has expired, or nearly", function()
    for _, life in ipairs { 0, -5, 200, 300 } do
      local case = new_case(nil, function(number)
        return "token-" .. number, life
      end)
      assert.equal("token-1", (case.ask()))
      assert.equal("token-2", (case.ask()))
    end
  end)

  it("is not used when the clock was set back to before it was fetched", function()
    local case = new_case()
    case.ask()
    case.time = 1000
    assert.equal("token-2", (case.ask()))
    assert.equal("token-2", (case.ask()))
  end)

  it("works when called without an argument", function()
    local count = 0
    local provider = cached(function()
      count = count + 1
      return "token", 3600
    end)
    assert.equal("token", (provider()))
    assert.equal("token", (provider {}))
    assert.equal(1, count)
  end)

  it(
    "serves 500 tenants with hourly tokens for a day of hourly syncs with no request too many",
    function()
      local case = new_case()
      local asked = 0
      for hour = 0, 23 do
        for tenant = 1, 500 do
          -- A sync asks several times: to ask for it, to see it run, to see it completed.
          for step = 0, 2 do
            case.time = hour * 3600 + tenant * 7 + step * 20
            case.ask { tenant = "t" .. tenant }
            asked = asked + 1
          end
        end
      end
      assert.equal(36000, asked)
      -- A token that lives 3600 s cannot serve the sync an hour later: one for each sync is the least.
      assert.equal(500 * 24, #case.asks)
    end
  )
end)

describe("autopilot.token.cached", function()
  it("wraps no provider twice", function()
    local provider = cached(function() end)
    assert.equal(provider, cached(provider))
  end)

  it("accepts any callable", function()
    local callable = setmetatable({}, {
      __call = function()
        return "token", 3600
      end,
    })
    assert.equal("token", (cached(callable) {}))
  end)

  it("raises for a caller's mistake, at the caller's line", function()
    for _, case in ipairs {
      { nil, nil, "option 'provider' is required" },
      { "secret", nil, "option 'provider' must be a function (got string)" },
      {
        providers.managed_identity,
        nil,
        "option 'provider' must be what autopilot.token.managed_identity(…) returns (got function)",
      },
      {
        print,
        { minimum_live = 5 },
        "unknown option 'minimum_live' (did you mean 'minimum_life'?)",
      },
      { print, { minimum_life = -1 }, "option 'minimum_life' must be at least 0 (got -1)" },
      { print, { max_entries = 0 }, "option 'max_entries' must be at least 1 (got 0)" },
    } do
      local line
      local message = mistakes.raised(function()
        line = mistakes.this_line() + 1
        local provider = cached(case[1], case[2])
        return provider
      end)
      mistakes.assert_raised_at(line, message, "autopilot.token.cached: " .. case[3])
    end
  end)
end)

describe("the key of a cached token", function()
  it("is the tenant, the cloud and the scope together", function()
    local case, seen = new_case(), {}
    for _, tenant in ipairs { "a", "b", "ab", "", false } do
      for _, cloud in ipairs { "global", "china" } do
        for _, scope in ipairs { "x/.default", "y/.default" } do
          local what = { tenant = tenant or nil, cloud = cloud, scope = scope }
          local token = case.ask(what)
          assert.is_nil(seen[token])
          seen[token] = true
          assert.equal(token, (case.ask(what)))
        end
      end
    end
  end)

  it("separates parts that would be equal when joined", function()
    local case = new_case()
    local first = case.ask { tenant = "a", cloud = "bc", scope = "d" }
    assert.are_not.equal(first, (case.ask { tenant = "ab", cloud = "c", scope = "d" }))
    local second = case.ask { tenant = "a\0b", cloud = "", scope = "" }
    assert.are_not.equal(second, (case.ask { tenant = "a", cloud = "\0b", scope = "" }))
  end)
end)
