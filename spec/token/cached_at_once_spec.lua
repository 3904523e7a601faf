-- For any number of simultaneous callers, one request goes to the token endpoint, and all get its answer.

local new_case = require("support.cached_provider").new
local run_all = require("support.turns").run_all
local virtual_world = require "support.virtual_world"

describe("an empty cache", function()
  -- So many coroutines that ask at once; what each got.
  local function at_once(case, count, more)
    local threads, got = {}, {}
    for index = 1, count do
      threads[index] = coroutine.create(function()
        got[index] = { case.ask(more and more(index)) }
      end)
    end
    run_all(threads)
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

  it("gives all of them the one failure", function()
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

  it("fetches again once if the other's fetch brings a refused token", function()
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

  it("converts an error of its provider to a failure", function()
    local case = new_case(nil, function()
      error("boom", 0)
    end)
    assert.same({ nil, "boom" }, { case.ask() })
  end)

  it("serves a client with time left when another's deadline cut the fetch short", function()
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
      threads[index] = coroutine.create(function()
        local report, failure = client:sync { deadline = deadline }
        reports[index] = report or failure
      end)
    end
    run_all(threads)
    assert.equal("token_error", reports[1].outcome)
    assert.equal("started", reports[2].outcome)
    assert.equal("started", reports[3].outcome)
    assert.equal(2, requests)
  end)
end)
