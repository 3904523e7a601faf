-- The events about requests, tokens and retries.

local refused_token = require "support.refused_token"
local token_world = require "support.token_world"
local virtual_world = require "support.virtual_world"

local assert_nowhere = token_world.assert_nowhere
local provider_of, unauthorized = refused_token.provider_of, refused_token.unauthorized

describe("autopilot.client: events", function()
  it("tell of the token, the attempt, the response, the retry and the end, in order", function()
    local world = virtual_world.new { random = 0.5 }
    local provider = provider_of("old", "new-token")
    local client = world:scripted({
      unauthorized,
      { network = {} },
      { status = 403 },
    }, { token = provider })
    client:sync()
    local types = {}
    for index, event in ipairs(world.events) do
      types[index] = event.type
      assert.equal("contoso", event.tenant)
    end
    assert.same({
      "token",
      "attempt",
      "response",
      "token",
      "attempt",
      "response",
      "retry",
      "token",
      "attempt",
      "response",
      "gave_up",
    }, types)
    local tokens, responses = world:events_of "token", world:events_of "response"
    assert.is_true(tokens[1].ok)
    assert.same({ false, true, false }, { tokens[1].refresh, tokens[2].refresh, tokens[3].refresh })
    assert.equal(401, responses[1].status)
    assert.equal("unauthenticated", responses[1].outcome)
    assert.equal("unreachable", responses[2].outcome)
    assert.is_nil(responses[2].status)
    local attempts = world:events_of "attempt"
    assert.equal(0, attempts[1].retry_attempt)
    assert.equal(1, attempts[3].retry_attempt)
    assert.equal(attempts[1].client_request_id, responses[1].client_request_id)
    local again = world:events_of("retry")[1]
    assert.equal(2, again.number)
    assert.equal(world.slept[1], again.delay)
    assert.equal("unreachable", again.outcome)
    local gave_up = world:events_of("gave_up")[1]
    assert.equal("not_retryable", gave_up.reason)
    assert.equal("forbidden", gave_up.outcome)
    assert.equal(2, gave_up.attempts)
    assert_nowhere("new-token", world.events)
  end)

  it("report a provider's failure", function()
    local world = virtual_world.new()
    world:scripted({}, { token = function() end }):sync()
    local event = world:events_of("token")[1]
    assert.is_false(event.ok)
    assert.is_false(event.refresh)
  end)

  it("tell of a Sunset header, which retires a beta API", function()
    local world = virtual_world.new()
    local sunset = "Sat, 31 Oct 2026 23:59:59 GMT"
    world:scripted({ { status = 204, headers = { Sunset = sunset } } }):sync()
    assert.equal(sunset, world:events_of("sunset")[1].date)
  end)

  it("are unaffected by an observer that raises in any way", function()
    for _, thrown in ipairs { "text", {}, setmetatable({}, { __tostring = error }), false } do
      local client, transport = virtual_world
        .new()
        :scripted({ { status = 503 }, { status = 204 } }, {
          recover = false,
          on_event = function()
            error(thrown)
          end,
        })
      assert.equal("started", client:sync().outcome)
      assert.equal(2, #transport.requests)
    end
  end)

  it("do not count their observer's time as the answer's travel time", function()
    local world = virtual_world.new()
    local client = world:scripted({ { status = 204 } }, {
      on_event = function()
        world:pass(7)
      end,
    })
    assert.equal(0, client:sync().attempts[1].elapsed)
  end)

  it("shorten by their observer's time what a deadline leaves to the request", function()
    local world = virtual_world.new()
    local client, transport = world:scripted({ { status = 204 } }, {
      on_event = function()
        world:pass(7)
      end,
    })
    client:sync { deadline = 10 }
    assert.equal(3, transport.requests[1].timeout.total)
    local _, failure = client:sync { deadline = 7, force = true }
    assert.equal("unreachable", failure.outcome)
    assert.equal("DEADLINE", failure.network.name)
    assert.equal(1, #transport.requests)
  end)

  it("may be observed by a function that yields, in every Lua version", function()
    local client = virtual_world.new():scripted({ { status = 204 } }, {
      on_event = function(event)
        coroutine.yield(event.type)
      end,
    })
    local thread = coroutine.create(function()
      return client:sync()
    end)
    assert.same({ true, "attempt" }, { coroutine.resume(thread) })
    assert.same({ true, "response" }, { coroutine.resume(thread) })
    local ok, report = coroutine.resume(thread)
    assert.is_true(ok)
    assert.equal("started", report.outcome)
  end)
end)
