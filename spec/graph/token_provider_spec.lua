-- The token of a request: claims challenges, refusals, and a provider's own message about its failure.

local base64url = require "autopilot.base.base64url"
local cached = require "autopilot.token.cached"
local cjson = require "cjson"
local overlay = require "support.overlay"
local virtual_world = require "support.virtual_world"

--- A provider that returns token-1, token-2, …; `asks` has the arguments of its calls.
local function counting()
  local asks = {}
  return function(ask)
    asks[#asks + 1] = ask
    return "token-" .. #asks, 3600
  end, asks
end

local function refusal(challenge, body)
  return {
    status = 401,
    headers = { ["WWW-Authenticate"] = challenge },
    body = body or '{"error":{"code":"InvalidAuthenticationToken","message":"Continuous access."}}',
  }
end

local function wants(json)
  return ('Bearer realm="", error="insufficient_claims", claims="%s"'):format(
    base64url.encode(json)
  )
end

local nbf = '{"access_token":{"nbf":{"essential":true,"value":"1767225600"}}}'

local function sync(provider, answers, given)
  local options = overlay({ token = provider }, given)
  local client, transport = virtual_world.new():scripted(answers, options)
  local report, failure = client:sync()
  local sent = {}
  for index, request in ipairs(transport.requests) do
    sent[index] = request.headers["Authorization"]
  end
  return report or failure, sent, client
end

describe("a 401 with a claims challenge", function()
  it("is answered once, with a token for these claims and the client's capability", function()
    local provider, asks = counting()
    local report, sent = sync(provider, { refusal(wants(nbf)), { status = 204 } })
    assert.equal("started", report.outcome)
    assert.same({ "Bearer token-1", "Bearer token-2" }, sent)
    assert.is_nil(asks[1].claims)
    assert.is_true(asks[2].refresh)
    assert.equal("token-1", asks[2].refused)
    assert.same({
      access_token = {
        nbf = { essential = true, value = "1767225600" },
        xms_cc = { values = { "cp1" } },
      },
    }, cjson.decode(asks[2].claims))
    assert.equal(2, #report.attempts)
  end)

  it("bypasses the cache, which then keeps the new token", function()
    local provider, asks = counting()
    local client, transport = virtual_world.new():scripted(
      { refusal(wants(nbf)), { status = 204 }, { status = 204 } },
      { token = cached(provider), cooldown = 0 }
    )
    client:sync()
    client:sync()
    assert.equal(2, #asks)
    assert.equal("Bearer token-2", transport.requests[3].headers["Authorization"])
  end)

  it("is not answered a second time in the same request", function()
    local provider, asks = counting()
    local report, sent = sync(provider, { refusal(wants(nbf)), refusal(wants(nbf)) })
    assert.equal("unauthenticated", report.outcome)
    assert.equal(2, #asks)
    assert.equal(2, #sent)
  end)

  it("that cannot be read causes one refresh, like any other 401", function()
    for _, challenge in ipairs {
      "",
      "Bearer",
      'Bearer error="invalid_token"',
      'Bearer error="insufficient_claims", claims="%%%"',
      'Bearer error="insufficient_claims", claims="' .. ("A"):rep(50000) .. '"',
      'Bearer error="insufficient_claims", claims="',
      "\1\2\255, , ,=",
    } do
      local provider, asks = counting()
      local report = sync(provider, { refusal(challenge), { status = 204 } })
      assert.equal("started", report.outcome)
      assert.equal(2, #asks)
      assert.is_true(asks[2].refresh)
      assert.is_nil(asks[2].claims)
    end
  end)

  it("costs no second token if the body says Forbidden", function()
    local provider, asks = counting()
    local body = '{"error":{"code":"Forbidden","message":"Application is not authorized to perform '
      .. 'this operation."}}'
    local report, sent = sync(provider, { refusal('Bearer error="invalid_token"', body) })
    assert.equal("forbidden", report.outcome)
    assert.equal(1, #asks)
    assert.equal(1, #sent)
  end)

  it("of one request does not affect the next", function()
    local provider, asks = counting()
    local client = virtual_world.new():scripted({
      refusal(wants(nbf)),
      { network = { delivered = "no" } },
      refusal 'Bearer error="invalid_token"',
      { status = 204 },
    }, { token = provider })
    assert.equal("started", client:sync().outcome)
    assert.equal(4, #asks)
    assert.is_truthy(asks[2].claims)
    assert.is_nil(asks[3].claims)
    assert.is_true(asks[4].refresh)
    assert.is_nil(asks[4].claims)
  end)
end)

describe("a refused token", function()
  it("is the one that was sent, even if another request has a newer one meanwhile", function()
    local number = 0
    local refused = {}
    local provider = function(ask)
      refused[#refused + 1] = ask.refused
      number = number + 1
      return "token-" .. number
    end
    local client
    client = virtual_world.new():scripted({
      function()
        number = 7
        client.last_token = "token-7"
        return { status = 401 }
      end,
      { status = 204 },
    }, { token = provider })
    client:sync()
    assert.same({ "token-1" }, refused)
  end)
end)

describe("what a provider reports about its failure", function()
  local details = {
    code = "invalid_client",
    reason = "7000215",
    correlation_id = "11111111-2222-3333-4444-555555555555",
    trace_id = "66666666-7777-8888-9999-000000000000",
    hint = "Give the secret's value, not its id.",
    retry_after = 40,
    is_transient = false,
  }

  local function failing(message, third)
    return function()
      return nil, message, third
    end
  end

  it("is in the report", function()
    local report, sent, client = sync(failing("Invalid client secret provided.", details), {})
    assert.equal("token_error", report.outcome)
    assert.same({}, sent)
    assert.same({
      message = "Invalid client secret provided.",
      code = "invalid_client",
      reason = "7000215",
      correlation_id = details.correlation_id,
      trace_id = details.trace_id,
    }, report.error)
    assert.equal(details.hint, report.hint)
    assert.equal(40, report.retry_after)
    assert.equal(client.options.now() + 40, report.retry_at)
    assert.equal("no", report.delivered)
    for key in pairs(report.attempts[1]) do
      assert.is_truthy(
        ({ number = 1, outcome = 1, delivered = 1, sends = 1, delay = 1, elapsed = 1 })[key],
        key
      )
    end
  end)

  it("may be incomplete or empty", function()
    for _, third in ipairs { false, "text", 5, {} } do
      local report = sync(failing("sealed", third or nil), {})
      assert.same({ message = "sealed" }, report.error)
      assert.is_nil(report.retry_after)
      assert.is_nil(report.retry_at)
      assert.equal("The token provider gave no token: see the error.", report.hint)
    end
  end)

  it("may be of a wrong type, and is then ignored", function()
    local hostile = setmetatable({}, {
      __index = function()
        error "hostile"
      end,
      __tostring = function()
        error "hostile"
      end,
    })
    for _, third in ipairs {
      hostile,
      { code = {}, reason = true, hint = hostile, retry_after = "soon" },
      { code = "", retry_after = 0 / 0 },
      { retry_after = math.huge },
      { retry_after = -1 },
    } do
      local report = sync(failing("sealed", third), {})
      assert.same({ message = "sealed" }, report.error)
      assert.is_nil(report.retry_after)
    end
    assert.equal("7000215", sync(failing("x", { reason = 7000215 }), {}).error.reason)
  end)

  it("is safe to show: one line, of bounded length, without the token", function()
    local token = "opaque-and-secret-text"
    local noise = "a\r\nb " .. token .. " \27[2J" .. ("x"):rep(5000)
    local calls = 0
    local client = virtual_world.new():scripted({ { status = 503 } }, {
      retry = false,
      token = function()
        calls = calls + 1
        if calls == 1 then
          return token
        end
        return nil, noise, { code = noise, reason = noise, hint = noise, trace_id = noise }
      end,
    })
    client:sync()
    local failure = select(2, client:sync())
    assert.equal("token_error", failure.outcome)
    local seen = 0
    for _, text in pairs {
      failure.error.message,
      failure.error.code,
      failure.error.reason,
      failure.error.trace_id,
      failure.hint,
      tostring(failure),
    } do
      seen = seen + 1
      assert.is_nil(text:find "%c")
      assert.is_nil(text:find(token, 1, true))
      assert.is_true(#text < 600)
    end
    assert.equal(6, seen)
  end)
end)

describe("a deadline", function()
  -- What a provider can do in the time that is left.
  local function asked_with(deadline, act)
    local world = virtual_world.new()
    local client, transport = world:scripted({ { status = 200 }, { status = 204 } }, {
      token = function(ask)
        return act(ask, world)
      end,
    })
    local report, failure = client:sync { deadline = deadline }
    return report or failure, transport, world
  end

  local request = {
    method = "POST",
    url = "https://login.example/token",
    headers = {},
    timeout = { connect = 10, total = 30 },
  }

  it("limits the provider's requests, too", function()
    local _, transport = asked_with(4, function(ask)
      ask.transport(request)
      return "token"
    end)
    assert.same({ connect = 4, total = 4 }, transport.requests[1].timeout)
    assert.equal(30, request.timeout.total)
    _, transport = asked_with(100, function(ask)
      ask.transport(request)
      return "token"
    end)
    assert.same({ connect = 10, total = 30 }, transport.requests[1].timeout)
  end)

  it("limits the provider's sleeps, and prevents requests when it has passed", function()
    local network
    local report, transport, world = asked_with(4, function(ask)
      ask.sleep(1000)
      network = select(2, ask.transport(request))
      return nil, "no token in time"
    end)
    assert.same({ 4 }, world.slept)
    assert.equal("DEADLINE", network.name)
    assert.equal("no", network.delivered)
    assert.equal(0, #transport.requests)
    assert.equal("token_error", report.outcome)
  end)

  it("is reported to callers that wait for another's fetch", function()
    asked_with(4, function(ask, world)
      assert.equal(world.time + 4, ask.deadline)
      return "token"
    end)
  end)
end)

describe("a token in a cache", function()
  local function world_of(given)
    local world, asks = virtual_world.new(), {}
    local provider = cached(function(ask)
      asks[#asks + 1] = ask
      return ask.tenant .. "-" .. #asks, 3600
    end, given)
    local function client(tenant)
      local answers = {}
      for index = 1, 50 do
        answers[index] = { status = 204 }
      end
      local made, transport =
        world:scripted(answers, { token = provider, tenant = tenant, cooldown = 0 })
      return function()
        assert(made:sync())
        return transport.requests[#transport.requests].headers["Authorization"]
      end,
        made
    end
    return client, asks, world
  end

  it("is sent without a request, and reported as an event, too", function()
    local client, asks, world = world_of()
    local sync_a = client "a"
    for _ = 1, 5 do
      assert.equal("Bearer a-1", sync_a())
    end
    assert.equal(1, #asks)
    local events = world:events_of "token"
    assert.equal(5, #events)
    for _, event in ipairs(events) do
      assert.same({ type = "token", tenant = "a", refresh = false, ok = true }, event)
    end
  end)

  it("is fetched again when it is no longer fresh, or the clock was set back", function()
    local client, asks, world = world_of()
    local sync_a = client "a"
    sync_a()
    world:pass(3299)
    assert.equal("Bearer a-1", sync_a())
    world:pass(1)
    assert.equal("Bearer a-2", sync_a())
    assert.equal("Bearer a-2", sync_a())
    world:pass(-50)
    assert.equal("Bearer a-3", sync_a())
    assert.equal(3, #asks)
  end)

  it("counts as used, and is not sent once the cache has dropped it", function()
    local client, asks = world_of { max_entries = 2 }
    local a, b, c = client "a", client "b", client "c"
    a()
    b()
    assert.equal("Bearer b-2", b())
    assert.equal("Bearer a-1", a())
    c()
    assert.equal("Bearer a-1", a())
    assert.equal("Bearer b-4", b())
    assert.equal("Bearer c-5", c())
    assert.equal(5, #asks)
  end)

  it("is not available to a closed client", function()
    local client = world_of()
    local sync_a, made = client "a"
    sync_a()
    made:close()
    assert.is_nil(made.last_token)
    assert.is_nil(made.token_provider)
  end)
end)
