local cached = require "autopilot.token.cached"
local managed_identity = require "autopilot.token.managed_identity"
local overlay = require "support.overlay"
local run_all = require("support.turns").run_all
local token_world = require "support.token_world"

local opaque = "opaque-token-0123456789"

local function provider(given)
  local options = overlay({ getenv = token_world.getenv {} }, given)
  return managed_identity(options)
end

--- `count` answers with this status, then `last`.
local function series(count, status, last, headers)
  local answers = {}
  for index = 1, count do
    answers[index] = { status = status, headers = headers }
  end
  answers[count + 1] = last
  return answers
end

describe("the metadata service", function()
  it("is asked again while it is not ready, with waits that double", function()
    for _, status in ipairs { 404, 429, 500, 503, 599 } do
      local world = token_world.scripted(series(4, status, token_world.granted()))
      assert.are.equal(opaque, (provider()(world.ask)))
      assert.are.same({ 1, 2, 4, 8 }, world.slept)
      world = token_world.scripted(series(5, status))
      local token, message, details = provider()(world.ask)
      assert.is_nil(token)
      assert.are.equal("string", type(message))
      assert.is_true(details.is_transient)
      assert.are.equal(5, #world.requests)
    end
  end)

  it("is given 70 seconds while it is being replaced", function()
    local world = token_world.scripted(series(7, 410, token_world.granted()))
    assert.are.equal(opaque, (provider()(world.ask)))
    assert.are.same({ 10, 10, 10, 10, 10, 10, 10 }, world.slept)
    world = token_world.scripted(series(8, 410))
    local token, _, details = provider()(world.ask)
    assert.is_nil(token)
    assert.is_true(details.is_transient)
  end)

  it("is not asked before its Retry-After, nor waited for too long", function()
    local world =
      token_world.scripted(series(1, 429, token_world.granted(), { ["Retry-After"] = "20" }))
    assert.are.equal(opaque, (provider()(world.ask)))
    assert.are.same({ 20 }, world.slept)
    world = token_world.scripted(series(1, 429, nil, { ["Retry-After"] = "31" }))
    local token, _, details = provider()(world.ask)
    assert.is_nil(token)
    assert.are.equal(31, details.retry_after)
    assert.are.same({}, world.slept)
  end)

  it("is not waited for beyond the deadline: its last answer is the result", function()
    local world = token_world.scripted(series(5, 503))
    world.ask.deadline = world.time + 6
    local token, message, details = provider()(world.ask)
    assert.is_nil(token)
    assert.is_truthy(message:find("HTTP 503", 1, true), message)
    assert.is_true(details.is_transient)
    assert.are.same({ 1, 2, 3 }, world.slept)
  end)

  it("is asked again for a waiter that has more time than the caller who asked it", function()
    local world = token_world.scripted(series(2, 503, token_world.granted()))
    local sign_in, threads, got = cached(provider()), {}, {}
    for index, seconds in ipairs { 2.5, 60 } do
      local ask = overlay({}, world.ask)
      ask.deadline = world.time + seconds
      ask.sleep = function(wait)
        world.ask.sleep(wait)
        coroutine.yield()
      end
      threads[index] = coroutine.create(function()
        got[index] = sign_in(ask) or false
      end)
    end
    run_all(threads)
    assert.are.same({ false, opaque }, got)
  end)

  it("is final when it knows no identity", function()
    local refusal = { error = "invalid_request", error_description = "Identity not found" }
    local world = token_world.scripted { token_world.answer(400, refusal) }
    local token, message, details = provider()(world.ask)
    assert.is_nil(token)
    assert.is_truthy(message:find "Identity not found")
    assert.is_truthy(details.hint:find "Assign a managed identity")
    assert.is_false(details.is_transient)
    assert.are.same({}, world.slept)
  end)

  it("is reported as missing when nothing answers", function()
    local world = token_world.scripted { { network = { stage = "connect" } } }
    local token, message, details = provider()(world.ask)
    assert.is_nil(token)
    local where = "no metadata service of Azure answers at http://169.254.169.254/"
    assert.is_truthy(message:find(where, 1, true), message)
    assert.is_true(details.is_transient)
    assert.are.same({}, world.slept)
    assert.is_true(world.requests[1].timeout.connect <= 5)
  end)

  it("is asked again when its answer breaks off, not before its Retry-After", function()
    for status, wait in pairs { [200] = 1, [429] = 20 } do
      local answers = {
        { { status = status, headers = { ["retry-after"] = "20" }, body = "{" }, {} },
        { token_world.granted() },
      }
      local world = token_world.over(function()
        local answer = table.remove(answers, 1)
        return answer[1], answer[2]
      end)
      assert.are.equal(opaque, (provider()(world.ask)))
      assert.are.same({ wait }, world.slept)
    end
  end)

  it("is not reported as missing once it has answered", function()
    for _, given in ipairs { {}, { probe = 1 } } do
      local lost = { network = { stage = "receive", message = "reset" } }
      local world = token_world.scripted { { status = 429 }, { status = 404 }, lost }
      local message, details = select(2, provider(given)(world.ask))
      local expected = "managed identity of the virtual machine: "
        .. "the token endpoint could not be reached: reset"
      assert.are.equal(expected, message)
      assert.is_true(details.is_transient)
      assert.are.equal(3, #world.requests)
    end
  end)

  it("is probed without the header, and not again once it has answered", function()
    local world = token_world.scripted {
      { status = 400 },
      token_world.granted(),
      token_world.granted(),
    }
    local sign_in = provider { probe = 1 }
    assert.are.equal(opaque, (sign_in(world.ask)))
    assert.are.equal(opaque, (sign_in(world.ask)))
    assert.is_nil(world.requests[1].headers.Metadata)
    assert.are.same({ connect = 1, total = 1 }, world.requests[1].timeout)
    assert.is_nil(world.requests[1].url:find("resource", 1, true))
    assert.are.equal("true", world.requests[2].headers.Metadata)
    assert.are.equal(30, world.requests[2].timeout.total)
  end)

  it("is reported as missing, or as not Azure's, after the probe", function()
    for _, answer in ipairs { { network = {} }, { status = 401 }, { status = 403 } } do
      local world = token_world.scripted { answer }
      local token, message, details = provider { probe = 1 }(world.ask)
      assert.is_nil(token)
      assert.is_truthy(message:find "no metadata service of Azure answers")
      assert.is_false(details.is_transient)
      assert.are.equal(1, #world.requests)
    end
  end)
end)
