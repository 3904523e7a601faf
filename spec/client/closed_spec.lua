-- A client that is closed while it waits for its next attempt reports the result of the last one.

local overlay = require "support.overlay"
local retry = require "autopilot.retry"
local stores = require "autopilot.store"
local virtual_world = require "support.virtual_world"

local function failure_when_closed_asleep(answers, options)
  local client, transport
  local given = {
    recover = false,
    sleep = function()
      client:close()
    end,
  }
  overlay(given, options)
  client, transport = virtual_world.new():scripted(answers, given)
  local report, failure = client:sync()
  assert.is_nil(report)
  return failure, transport
end

describe("autopilot.client: closed while it waits for the next attempt, it reports", function()
  it("that it was throttled, and until when", function()
    local answers = { { status = 429, headers = { ["retry-after"] = "100" } } }
    local failure, transport = failure_when_closed_asleep(answers)
    assert.equal("throttled", failure.outcome)
    assert.equal(429, failure.status)
    assert.equal("yes", failure.delivered)
    assert.equal("service", failure.answered_by)
    assert.near(100, failure.retry_after, 1e-3)
    assert.matches("throttling", failure.hint)
    assert.equal(1, #failure.attempts)
    assert.equal(1, #transport.requests)
  end)

  it("that the service failed, and that the request may have arrived", function()
    local failure = failure_when_closed_asleep { { status = 503 } }
    assert.equal("unavailable", failure.outcome)
    assert.equal("unknown", failure.delivered)
    assert.is_nil(failure.retry_at)
    assert.equal(1, #failure.attempts)
  end)

  it("that the service could not be reached", function()
    local refused = { stage = "connect", name = "X", message = "refused", delivered = "no" }
    local failure = failure_when_closed_asleep { { network = refused } }
    assert.equal("unreachable", failure.outcome)
    assert.equal("refused", failure.network.message)
    assert.equal("no", failure.delivered)
    assert.equal("client", failure.answered_by)
  end)

  it("the cooldown of an earlier answer that it waits for", function()
    local world = virtual_world.new()
    local client, transport
    client, transport = world:scripted({ { status = 204 } }, {
      retry = retry.patient(),
      sleep = function()
        client:close()
      end,
    })
    assert.is_true(client:sync().ok)
    world:pass(100)
    local report, failure = client:sync()
    assert.is_nil(report)
    assert.equal("cooldown", failure.outcome)
    assert.equal("no", failure.delivered)
    assert.equal("client", failure.answered_by)
    assert.near(510, failure.retry_after, 1)
    assert.same({}, failure.attempts)
    assert.equal(1, #transport.requests)
  end)
end)

describe("autopilot.client: closed while it waits for a sync, it sleeps no more", function()
  for _, closed_by in ipairs { "transport", "on_progress" } do
    it("closed by its " .. closed_by, function()
      local world, client = virtual_world.new(), nil
      local function close()
        client:close()
      end
      client = world:client {
        transport = function()
          local _ = closed_by == "transport" and close()
          return virtual_world.record { status = "inProgress", trigger = world.time - 60 }
        end,
      }
      local on_progress = closed_by == "on_progress" and close or nil
      local report, failure = client:wait { on_progress = on_progress }
      assert.is_nil(report)
      assert.equal("timed_out", failure.outcome)
      assert.equal("in_progress", failure.sync_status)
      assert.equal("not_retryable", failure.gave_up)
      assert.same({}, world.slept)
    end)
  end
end)

describe("autopilot.client: closed after its ensure has read the record", function()
  it("says of the request alone that it was not sent", function()
    local world, client = virtual_world.new(), nil
    client = world:client {
      transport = function()
        client:close()
        return virtual_world.record { status = "completed", trigger = world.time - 3600 }
      end,
    }
    local report, failure = client:ensure { since = world.time - 60 }
    assert.is_nil(report)
    assert.equal("no", failure.delivered)
    assert.equal(
      "The request to the service was not sent: the client was closed meanwhile.",
      failure.hint
    )
  end)
end)

describe("autopilot.client: closed by the read after a lost answer", function()
  it("does not sleep until another read would tell more", function()
    local world, client = virtual_world.new(), nil
    local sent_at = world.time
    client = world:client {
      transport = function(request)
        world:pass(0.05)
        if request.method == "POST" then
          return nil, { stage = "receive", name = "X", message = "lost", delivered = "unknown" }
        end
        client:close()
        local stamps = { status = "inProgress", trigger = sent_at, date = world.time }
        local read = virtual_world.record(stamps)
        read.headers = { ["date"] = read.headers["Date"], ["request-id"] = "made-up" }
        return read
      end,
    }
    assert.equal("started", assert(client:sync()).outcome)
    assert.same({}, world.slept)
  end)
end)

describe("autopilot.client: closed by its event handler before a retry", function()
  it("does not sleep", function()
    local world, client = virtual_world.new(), nil
    client = world:scripted({ { status = 503 } }, {
      recover = false,
      on_event = function(event)
        if event.type == "retry" then
          client:close()
        end
      end,
    })
    local report, failure = client:sync()
    assert.is_nil(report)
    assert.equal("unavailable", failure.outcome)
    assert.equal("not_retryable", failure.gave_up)
    assert.same({}, world.slept)
  end)
end)

describe("autopilot.client: closed by another coroutine while its store answers", function()
  for _, options in ipairs { {}, { force = true } } do
    it("sends nothing, with force = " .. tostring(options.force), function()
      local client, transport
      local inner = stores.memory()
      local store = setmetatable({
        add = function(_, ...)
          client:close()
          return inner:add(...)
        end,
      }, { __index = inner })
      client, transport = virtual_world.new():scripted({}, { store = store })
      local report, failure = client:sync(options)
      assert.is_nil(report)
      assert.equal(0, #transport.requests)
      assert.equal("unreachable", failure.outcome)
      assert.equal("CLOSED", failure.network.name)
      assert.is_nil(failure.network.sends) -- told for each attempt
      assert.equal("no", failure.delivered)
      assert.equal("client", failure.answered_by)
      assert.is_nil(inner:get "autopilot:3:https://graph.microsoft.com:contoso:claim")
    end)
  end
end)

describe("autopilot.client: closed by its event handler right before a request", function()
  for _, line in ipairs { "attempt", "trace" } do
    it("sends nothing, and forgets the token: " .. line, function()
      local client, transport
      client, transport = virtual_world.new():scripted({}, {
        trace = true,
        on_event = function(event)
          if event.type == line then
            client:close()
          end
        end,
      })
      local report, failure = client:sync()
      assert.is_nil(report)
      assert.equal(0, #transport.requests)
      assert.equal("CLOSED", failure.network.name)
      assert.equal("no", failure.delivered)
      assert.same({}, client.secrets)
    end)
  end
end)

describe("autopilot.client: closed while its request is under way", function()
  it("keeps the token out of the report", function()
    local client
    local token = ("opaque-%d-"):format(os.time()):rep(3)
    client = virtual_world.new():client {
      token = token,
      retry = false,
      recover = false,
      transport = function()
        client:close()
        return {
          status = 403,
          headers = { ["request-id"] = "id " .. token },
          body = ('{"error":{"code":"x","message":"no %s"}}'):format(token),
        }
      end,
    }
    local report, failure = client:sync()
    assert.is_nil(report)
    assert.equal("no [redacted]", failure.error.message)
    assert.equal("id [redacted]", failure.request_id)
  end)
end)
