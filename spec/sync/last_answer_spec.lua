-- The report when the time ends, or the network fails, between two attempts: the last real answer.

local retry = require "autopilot.retry"
local virtual_world = require "support.virtual_world"

local record = virtual_world.record
local start = virtual_world.start

local unsent = { network = { stage = "connect", name = "CURLE_COULDNT_CONNECT" } }

local function throttled(seconds)
  return { status = 429, headers = { ["Retry-After"] = ("%d"):format(seconds) } }
end

--- A record of a tenant that was synced long ago.
local function idle()
  return record { trigger = start - 5000, last_sync = start - 4990, date = start }
end

--- A provider that takes so many seconds for each token but the first, or so many of them.
local function slow_provider(world, seconds, fails, at_once)
  local count = 0
  return function(ask)
    count = count + 1
    if count > (at_once or 1) then
      world:pass(seconds)
      if fails then
        local _, network = ask.transport { method = "POST", url = "https://x/", headers = {} }
        return nil, network and network.message
      end
    end
    return "good"
  end
end

describe("a deadline that ends between two attempts", function()
  for _, fails in ipairs { false, true } do
    it("gives a sync's last answer, also if the provider " .. tostring(fails), function()
      for status, expected in pairs {
        [429] = { outcome = "throttled", delivered = "yes" },
        [503] = { outcome = "unavailable", delivered = "unknown" },
      } do
        local world = virtual_world.new()
        local answer = { status = status, headers = { ["Retry-After"] = "2" } }
        local client = world:scripted({ answer }, { token = slow_provider(world, 9, fails) })
        local failure = select(2, client:sync { deadline = 10 })
        assert.equal(expected.outcome, failure.outcome)
        assert.equal(status, failure.status)
        assert.equal("service", failure.answered_by)
        assert.equal(expected.delivered, failure.delivered)
        assert.equal("deadline", failure.gave_up)
        assert.is_nil(failure.network)
        assert.is_nil(failure.retry_at) -- it has passed
        assert.equal(2, #failure.attempts)
      end
    end)

    it("gives a status's last answer, also if the provider " .. tostring(fails), function()
      local world = virtual_world.new()
      local answer = { status = 503 }
      local client = world:scripted({ answer }, { token = slow_provider(world, 10, fails) })
      local failure = select(2, client:status { deadline = 10 })
      assert.equal("unavailable", failure.outcome)
      assert.equal(503, failure.status)
      assert.equal("deadline", failure.gave_up)
    end)
  end

  it("gives an ensure's last answer", function()
    local world = virtual_world.new()
    local token = slow_provider(world, 20, false, 2)
    local client = world:scripted({ idle(), throttled(2) }, { token = token })
    local failure = select(2, client:ensure { timeout = 10 })
    assert.equal("throttled", failure.outcome)
    assert.equal("yes", failure.delivered)
    assert.equal("deadline", failure.gave_up)
  end)
end)

describe("an ensure whose record does not tell whether its lost request started a sync", function()
  it("gives the answer to that, without the Retry-After that has passed", function()
    local untold = { status = 200, body = '{"syncStatus":"unknown"}' }
    local unavailable = { status = 503, headers = { ["Retry-After"] = "20" } }
    local given = { retry = false }
    local client, transport = virtual_world.new():scripted({ idle(), unavailable, untold }, given)
    local failure = select(2, client:ensure())
    assert.equal("unavailable", failure.outcome)
    assert.equal("unknown", failure.delivered)
    assert.is_nil(failure.retry_after)
    assert.is_nil(failure.retry_at)
    assert.equal(3, #transport.requests)
  end)
end)

describe("a 401 after which the request with a newer token could not be sent", function()
  local refused = { status = 401, body = '{"error":{"code":"InvalidAuthenticationToken"}}' }

  --- A provider whose newer token takes so many seconds.
  local function refreshing(world, seconds)
    return function(ask)
      world:pass(ask.refresh and seconds or 0)
      return ask.refresh and "newer" or "older"
    end
  end

  --- The failure of a sync, which is the 401.
  local function failure_of(answers, seconds, given, options)
    local world = virtual_world.new()
    given.token = refreshing(world, seconds)
    local failure = select(2, world:scripted(answers, given):sync(options))
    assert.equal("unauthenticated", failure.outcome)
    assert.equal(401, failure.status)
    assert.equal("yes", failure.delivered)
    assert.equal("service", failure.answered_by)
    assert.equal("InvalidAuthenticationToken", failure.error.code)
    assert.is_nil(failure.network)
    return failure
  end

  it("is reported if the deadline was over", function()
    local failure = failure_of({ refused }, 9, {}, { deadline = 5 })
    assert.equal("deadline", failure.gave_up)
    assert.equal(2, #failure.attempts)
    assert.equal("unreachable", failure.attempts[2].outcome)
  end)

  it("is reported if a read's deadline was over", function()
    for method, options in pairs { status = { deadline = 5 }, ensure = { timeout = 5 } } do
      local world = virtual_world.new()
      local client = world:scripted({ refused }, { token = refreshing(world, 9) })
      local failure = select(2, client[method](client, options))
      assert.equal("unauthenticated", failure.outcome, method)
      assert.equal(401, failure.status)
      assert.equal("InvalidAuthenticationToken", failure.error.code)
      assert.equal("deadline", failure.gave_up)
      assert.is_nil(failure.network)
    end
  end)

  it("is reported if the client was closed meanwhile", function()
    for _, method in ipairs { "sync", "status" } do
      local client
      client = virtual_world.new():scripted({ refused }, {
        token = function(ask)
          return ask.refresh and client:close() or "older"
        end,
      })
      local failure = select(2, client[method](client))
      assert.equal("unauthenticated", failure.outcome, method)
      assert.equal("not_retryable", failure.gave_up)
    end
  end)

  it("is reported if the network failed", function()
    local failure = failure_of({ refused, unsent }, 0, { retry = false })
    assert.equal("attempts", failure.gave_up)
    failure = failure_of({ refused, unsent, unsent, last = "repeat" }, 0, {})
    assert.equal("attempts", failure.gave_up)
    assert.equal(5, #failure.attempts)
  end)

  it("is reported rather than an earlier attempt", function()
    local failure = failure_of({ throttled(1), refused }, 9, {}, { deadline = 5 })
    assert.equal("deadline", failure.gave_up)
    assert.equal(3, #failure.attempts)
  end)

  it("does not keep a sync from being started by another attempt", function()
    local world = virtual_world.new()
    local client = world:scripted(
      { refused, unsent, { status = 204 } },
      { token = refreshing(world, 0) }
    )
    assert.equal("started", client:sync().outcome)
  end)
end)

describe("an ensure whose deadline passed before its request could be sent", function()
  it("is timed_out, not a network failure", function()
    local world = virtual_world.new()
    local client = world:emulated({}, { token = slow_provider(world, 20) })
    local failure = select(2, client:ensure { timeout = 10 })
    assert.equal("timed_out", failure.outcome)
    assert.equal("no", failure.delivered)
    assert.equal("client", failure.answered_by)
    assert.matches("before the request could be sent", failure.hint)
  end)
end)

describe("a last request that could not be sent", function()
  it("does not hide that an earlier one has arrived", function()
    local on = { "throttled", "unreachable", "in_progress" }
    for _, first in ipairs { throttled(1), { status = 409 } } do
      local client = virtual_world.new():scripted(
        { first, unsent },
        { retry = retry.policy { attempts = 2, on = on } }
      )
      local failure = select(2, client:sync())
      assert.equal(first.status, failure.status)
      assert.equal("yes", failure.delivered)
      assert.equal("service", failure.answered_by)
      assert.equal("attempts", failure.gave_up)
      assert.is_nil(failure.network)
      assert.equal("unreachable", failure.attempts[2].outcome)
    end
  end)

  it("does not hide it in ensure, if the record could not be read after it", function()
    local client = virtual_world
      .new()
      :scripted({ idle(), { status = 409 }, unsent }, { retry = false })
    local failure = select(2, client:ensure())
    assert.equal("in_progress", failure.outcome)
    assert.equal("yes", failure.delivered)
    assert.equal(409, failure.status)
  end)
end)

describe("an ensure whose sync has failed", function()
  it("reports that if nothing can be read or sent any more", function()
    local world = virtual_world.new()
    local failed = record { status = "failed", trigger = start, last_sync = start + 1 }
    local client = world:scripted({ idle(), { status = 204 }, failed, unsent }, { retry = false })
    local failure = select(2, client:ensure())
    assert.is_false(failure.ok)
    assert.equal("sync_failed", failure.outcome)
    assert.equal("yes", failure.delivered)
  end)
end)

describe("answered_by", function()
  it("is nil if a client refuses by itself after it has posted", function()
    local world = virtual_world.new()
    local runs = record { status = "inProgress", trigger = start - 400, date = start }
    local client = world:scripted({ idle(), { status = 409 }, runs, last = "repeat" })
    local failure = select(2, client:ensure { timeout = 100 })
    assert.equal("in_progress", failure.outcome)
    assert.equal("yes", failure.delivered)
    assert.is_nil(failure.answered_by)
  end)

  it("is the client if nothing was posted", function()
    local world = virtual_world.new()
    local runs = record { status = "inProgress", trigger = start - 400, date = start }
    local client = world:scripted { runs, last = "repeat" }
    local failure = select(2, client:ensure { timeout = 100 })
    assert.equal("in_progress", failure.outcome)
    assert.equal("client", failure.answered_by)
    assert.near(start + 210, failure.retry_at, 2)
  end)
end)

describe("the steps of a report", function()
  it("list a repeated step once", function()
    local world = virtual_world.new()
    local runs = record { status = "inProgress", trigger = start - 700, date = start }
    local client, transport = world:scripted { runs, last = "repeat" }
    local failure = select(2, client:ensure())
    assert.equal("in_progress", failure.outcome)
    assert.equal("deadline", failure.gave_up)
    assert.is_true(#transport.requests > 100)
    assert.equal(1, #failure.steps)
  end)
end)

describe("waiting for a sync when none was triggered", function()
  it("reports that none was triggered", function()
    local old = record { trigger = start - 500, last_sync = start - 490, date = start }
    local never = record { status = "unknown", date = start }
    for _, case in ipairs {
      { answer = old, options = { since = start - 100 } },
      { answer = never, options = { since = start - 100 } },
      { answer = never, options = {} },
    } do
      case.options.timeout = 60
      local client = virtual_world.new():scripted { case.answer, last = "repeat" }
      local failure = select(2, client:wait(case.options))
      assert.equal("timed_out", failure.outcome)
      assert.matches("No such sync was triggered", failure.hint)
    end
  end)

  it("does not say so if one may have been triggered", function()
    local runs = record { status = "inProgress", trigger = start - 50, date = start }
    local close = record { trigger = start - 100.2, last_sync = start - 500, date = start }
    close.headers["request-id"] = "made-up" -- so that its Date is the service's, to a second
    local untold = { status = 200, body = '{"syncStatus":"completed"}' }
    for _, answer in ipairs { runs, close, untold } do
      local client = virtual_world.new():scripted { answer, last = "repeat" }
      local failure = select(2, client:wait { since = start - 100, timeout = 1 })
      assert.equal("timed_out", failure.outcome)
      assert.matches("did not finish", failure.hint)
    end
    local client = virtual_world.new():scripted {
      { status = 204 },
      record { trigger = start - 5000, last_sync = start - 4990, date = start }, -- read late
      last = "repeat",
    }
    client:sync()
    assert.matches("did not finish", select(2, client:wait { timeout = 60 }).hint)
  end)
end)
