-- When a token is fetched, when it is handed out again, and when it goes.

local base64url = require "autopilot.token.base64url"
local cached = require "autopilot.token.cached"
local virtual_world = require "support.virtual_world"

local raised = virtual_world.raised

-- A provider that counts: token-1, token-2, …; `answer` may return other results for a number.
local function new_case(given, answer)
  local case = { time = 5000, asks = {} }
  local function raw(ask)
    case.asks[#case.asks + 1] = ask
    if answer then
      return answer(#case.asks, ask)
    end
    return "token-" .. #case.asks, 3600
  end
  local provider = cached(raw, given)
  function case.ask(more)
    local ask = {
      tenant = "contoso",
      cloud = "global",
      scope = "https://graph.microsoft.com/.default",
      now = function()
        return case.time
      end,
      sleep = function()
        coroutine.yield()
      end,
    }
    for name, value in pairs(more or {}) do
      ask[name] = value
    end
    return provider(ask)
  end
  return case
end

describe("a cached token", function()
  it("is handed out again, with the seconds that are left", function()
    local case = new_case()
    assert.same({ "token-1", 3600 }, { case.ask() })
    case.time = 5100
    assert.same({ "token-1", 3500 }, { case.ask() })
    assert.equal(1, #case.asks)
  end)

  it("is not handed out with less than 300 seconds left", function()
    local case = new_case()
    case.ask()
    case.time = 5000 + 3299.5
    assert.equal("token-1", (case.ask()))
    case.time = 5000 + 3300
    assert.equal("token-2", (case.ask()))
    assert.equal(2, #case.asks)
  end)

  it("is not handed out with less left than was asked for", function()
    local case = new_case { minimum_life = 1000 }
    case.ask()
    case.time = 5000 + 2600
    assert.equal("token-2", (case.ask()))
  end)

  it("is for a tenant, a cloud and a scope", function()
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

  it("may have its life told as a text", function()
    local case = new_case(nil, function(number)
      return "token-" .. number, "3600"
    end)
    assert.same({ "token-1", 3600 }, { case.ask() })
  end)

  local function jwt(expires)
    local payload = ('{"exp":%s}'):format(expires)
    return ("e30.%s.c2ln"):format(base64url.encode(payload))
  end

  it("that has no life told is good as long as it says itself", function()
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

  it("that tells nobody how long it is good is kept for a minute", function()
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

  it("is handed out but not kept when it is over, or nearly", function()
    for _, life in ipairs { 0, -5, 200, 300 } do
      local case = new_case(nil, function(number)
        return "token-" .. number, life
      end)
      assert.equal("token-1", (case.ask()))
      assert.equal("token-2", (case.ask()))
    end
  end)

  it("is not trusted when the clock was set back to before it came", function()
    local case = new_case()
    case.ask()
    case.time = 1000
    assert.equal("token-2", (case.ask()))
    assert.equal("token-2", (case.ask()))
  end)

  it("works for whoever asks with nothing", function()
    local count = 0
    local provider = cached(function()
      count = count + 1
      return "token", 3600
    end)
    assert.equal("token", (provider()))
    assert.equal("token", (provider {}))
    assert.equal(1, count)
  end)
end)

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

  it("is fetched anew when its provider said so", function()
    local case = with_refresh(function() end)
    case.ask()
    case.time = 5000 + 1799
    assert.equal("token-1", (case.ask()))
    case.time = 5000 + 1800
    assert.equal("token-2", (case.ask()))
  end)

  it("is fetched anew at half its life, when that is two hours or more", function()
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

  it("is not handed out longer, when that time is late or beyond its life", function()
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

  it("is not handed out when the failure took until its minimum life", function()
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

  it("is asked for once when the clock was set back and no other can be had", function()
    local case = with_refresh(function(number)
      if number > 1 then
        return nil, "no network"
      end
    end)
    case.ask()
    case.time = 4000
    assert.equal("token-1", (case.ask()))
    assert.equal("token-1", (case.ask()))
    assert.equal(2, #case.asks)
  end)

  it("is handed out further when that fails, and 30 seconds pass before the next try", function()
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

  it("is handed out further, but not beyond its minimum life", function()
    local case = with_refresh(function(number)
      if number > 1 then
        return nil, "no network"
      end
    end)
    case.ask()
    case.time = 5000 + 3290
    assert.equal("token-1", (case.ask()))
    case.time = 5000 + 3300
    assert.same({ nil, "no network" }, { case.ask() })
  end)

  it("is handed out to others while one fetches", function()
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

describe("an empty cache", function()
  -- So many coroutines that ask at once; what each got.
  local function at_once(case, count, more)
    local threads, got = {}, {}
    for index = 1, count do
      threads[index] = coroutine.create(function()
        got[index] = { case.ask(more and more(index)) }
      end)
    end
    local left = count
    while left > 0 do
      left = 0
      for _, thread in ipairs(threads) do
        if coroutine.status(thread) ~= "dead" then
          assert(coroutine.resume(thread))
          left = left + 1
        end
      end
    end
    return got
  end

  it("costs one request when 1,000 coroutines ask at once", function()
    local case = new_case(nil, function(number)
      coroutine.yield()
      return "token-" .. number, 3600
    end)
    for _, got in ipairs(at_once(case, 1000)) do
      assert.same({ "token-1", 3600 }, got)
    end
    assert.equal(1, #case.asks)
  end)

  it("costs one request for each tenant", function()
    local case = new_case(nil, function(_, ask)
      coroutine.yield()
      return "for " .. ask.tenant, 3600
    end)
    local got = at_once(case, 300, function(index)
      return { tenant = "t" .. index % 3 }
    end)
    for index, results in ipairs(got) do
      assert.equal("for t" .. index % 3, results[1])
    end
    assert.equal(3, #case.asks)
  end)

  it("tells all of them the one failure", function()
    local details = { code = "invalid_client" }
    local case = new_case(nil, function()
      coroutine.yield()
      return nil, "wrong secret", details
    end)
    for _, got in ipairs(at_once(case, 100)) do
      assert.same({ nil, "wrong secret", details }, got)
    end
    assert.equal(1, #case.asks)
    at_once(case, 1)
    assert.equal(2, #case.asks)
  end)

  it("costs one request when 100 coroutines had the same token refused", function()
    local case = new_case(nil, function(number)
      coroutine.yield()
      return "token-" .. number, 3600
    end)
    at_once(case, 1)
    for _, got in
      ipairs(at_once(case, 100, function()
        return { refresh = true, refused = "token-1" }
      end))
    do
      assert.equal("token-2", got[1])
    end
    -- One more that learns of it late.
    assert.equal(
      "token-2",
      at_once(case, 1, function()
        return { refresh = true, refused = "token-1" }
      end)[1][1]
    )
    assert.equal(2, #case.asks)
  end)

  it("costs one request when 100 coroutines got the same claims challenge", function()
    local case = new_case(nil, function(number)
      coroutine.yield()
      return "token-" .. number, 3600
    end)
    at_once(case, 1)
    local function challenged()
      return { refresh = true, refused = "token-1", claims = "{}" }
    end
    for _, got in ipairs(at_once(case, 100, challenged)) do
      assert.equal("token-2", got[1])
    end
    assert.equal("token-2", at_once(case, 1, challenged)[1][1])
    assert.equal(2, #case.asks)
  end)

  it("has one fetch anew where the one that is waited for brings a refused token", function()
    local case = new_case(nil, function(_, ask)
      coroutine.yield()
      return ask.refresh and "good" or "refused", 3600
    end)
    local got = at_once(case, 10, function(index)
      return index > 1 and { refresh = true, refused = "refused" } or {}
    end)
    assert.equal("refused", got[1][1])
    for index = 2, 10 do
      assert.equal("good", got[index][1])
    end
    assert.equal(2, #case.asks)
    assert.equal("good", (case.ask()))
  end)

  it("turns what its provider raises into a failure", function()
    local case = new_case(nil, function()
      error("boom", 0)
    end)
    assert.same({ nil, "boom" }, { case.ask() })
  end)
end)

describe("a refused token", function()
  it("goes, and its provider is told that it was refused", function()
    local case = new_case()
    case.ask()
    assert.equal("token-2", (case.ask { refresh = true }))
    assert.is_true(case.asks[2].refresh)
    assert.equal("token-2", (case.ask()))
    assert.equal(2, #case.asks)
  end)

  it("goes also when no other can be had", function()
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

  it("is not kept when its provider brings it again", function()
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

  it("does not take another's with it", function()
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
  it("passes the cache once: the provider is asked with the claims", function()
    local case = new_case()
    case.ask()
    assert.equal("token-2", (case.ask { claims = "{}", refresh = true }))
    assert.equal("{}", case.asks[2].claims)
    assert.equal("token-2", (case.ask()))
    assert.is_nil(case.asks[3])
  end)

  it("passes the cache also without a refusal, and again for other claims", function()
    local case = new_case()
    case.ask()
    assert.equal("token-2", (case.ask { claims = "{}" }))
    assert.equal("token-2", (case.ask { claims = "{}" }))
    assert.equal("token-3", (case.ask { claims = '{"a":1}' }))
  end)
end)

describe("a fetch with claims", function()
  it("is not the fetch that somebody without them waits for", function()
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

  it("that was throttled does not keep from asking once another has a token", function()
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

  it("is remembered: nobody is asked until its time is over", function()
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

  it("is that of one tenant", function()
    local case = throttling(40, 1)
    case.ask()
    case.ask { tenant = "fabrikam" }
    assert.equal(2, #case.asks)
  end)

  it("leaves a token that is still good in use", function()
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

  it("is not remembered where the time is none, or the clock was set back", function()
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

  it("ends with a token", function()
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

describe("autopilot.token.cached", function()
  it("wraps nothing twice", function()
    local provider = cached(function() end)
    assert.equal(provider, cached(provider))
  end)

  it("takes anything callable", function()
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
        print,
        { minimum_live = 5 },
        "unknown option 'minimum_live' (did you mean 'minimum_life'?)",
      },
      { print, { minimum_life = -1 }, "option 'minimum_life' must be at least 0 (got -1)" },
      { print, { max_entries = 0 }, "option 'max_entries' must be at least 1 (got 0)" },
    } do
      local line
      local message = raised(function()
        line = debug.getinfo(1, "l").currentline + 1
        local provider = cached(case[1], case[2])
        return provider
      end)
      local expected = ("token_cached_spec.lua:%d: autopilot.token.cached: %s"):format(
        line,
        case[3]
      )
      assert.is_truthy(message:find(expected, 1, true), message)
    end
  end)

  it("is fetched for a client with time when another's deadline cut the fetch short", function()
    local world, requests = virtual_world.new(), 0
    local function transport(request)
      if not request.url:find("/oauth2/", 1, true) then
        return { status = 204 }
      end
      requests = requests + 1
      local limit = request.timeout.total
      local ends = world.time + math.min(limit, 5)
      while world.time < ends do
        world:pass(0.1)
        coroutine.yield()
      end
      if limit < 5 then
        return nil, { stage = "receive", message = "too slow", timeout = true }
      end
      return { status = 200, body = '{"access_token":"opaque","expires_in":3600}' }
    end
    local provider = require("autopilot.token").client_secret {
      client_id = "app",
      client_secret = "x",
      getenv = function() end,
    }
    local reports, threads = {}, {}
    for index, deadline in ipairs { 2, 60, 3600 } do
      local client = world:client {
        token = provider,
        transport = transport,
        retry = false,
        sleep = function(seconds)
          world:pass(seconds)
          coroutine.yield()
        end,
      }
      threads[index] = coroutine.wrap(function()
        local report, failure = client:sync { deadline = deadline }
        reports[index] = report or failure
      end)
    end
    while not (reports[1] and reports[2] and reports[3]) do
      for index, thread in ipairs(threads) do
        if not reports[index] then
          thread()
        end
      end
    end
    assert.equal("token_error", reports[1].outcome)
    assert.equal("started", reports[2].outcome)
    assert.equal("started", reports[3].outcome)
    assert.equal(2, requests)
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
