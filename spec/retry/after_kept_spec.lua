-- A Retry-After delays the next request to that host, of any kind and after any request.

local retry = require "autopilot.retry"
local virtual_world = require "support.virtual_world"

local record = virtual_world.record
local start = virtual_world.start

local function held(status, seconds)
  return { status = status, headers = { ["Retry-After"] = ("%d"):format(seconds) } }
end

--- A client whose transport notes when each request was sent.
local function world_of(answers, given)
  local world = virtual_world.new()
  local client, transport = world:scripted(answers, given)
  local sent = {}
  local function noting(request)
    sent[#sent + 1] = { method = request.method, at = world.time - start }
    return transport(request)
  end
  given = given or {}
  given.transport = noting
  client:close()
  return world:client(given), sent, world
end

local lost = { network = { stage = "receive", message = "reset" } }

local function idle()
  return record { trigger = start - 5000, last_sync = start - 4990, date = start }
end

local function done()
  return record { trigger = start, last_sync = start + 1, date = start }
end

describe("a Retry-After", function()
  it("that came with a read inside ensure is kept by the next read", function()
    local client, sent = world_of({ idle(), lost, held(429, 30), done() }, { retry = false })
    assert.equal("completed", client:ensure().outcome)
    assert.equal("POST", sent[2].method)
    assert.is_true(sent[4].at - sent[3].at >= 30)
  end)

  it("that came with a request for a sync is kept by the next read inside ensure", function()
    for _, status in ipairs { 409, 429, 503 } do
      local client, sent = world_of({ idle(), held(status, 30), done() }, { retry = false })
      assert.equal("completed", client:ensure().outcome)
      assert.is_true(sent[3].at >= 30)
    end
  end)

  it("that lasts longer than ensure's time is reported with the service's answer", function()
    for _, options in ipairs { { timeout = 20 }, { wait = false } } do
      local client, sent, world = world_of({ idle(), held(429, 30) }, { retry = false })
      local failure = select(2, client:ensure(options))
      assert.equal("throttled", failure.outcome)
      assert.equal(429, failure.status)
      assert.equal("service", failure.answered_by)
      assert.equal(start + 30, failure.retry_at)
      assert.is_true(world.time <= start + 20)
      assert.equal(2, #sent)
    end
  end)

  it("from an earlier call is kept by wait, ensure and sync", function()
    for _, method in ipairs { "wait", "ensure", "sync" } do
      local answers = { held(429, 30), method == "sync" and { status = 204 } or done() }
      local client, sent = world_of(answers, { retry = retry.policy { max_retry_after = 10 } })
      assert.equal("throttled", select(2, client:status()).outcome)
      if method == "sync" then
        local failure = select(2, client:sync())
        assert.equal("client", failure.answered_by)
        assert.equal(1, #sent)
      else
        local given = { since = start - 10 }
        assert.is_true(client[method](client, given).ok)
        assert.is_true(sent[2].at >= 30)
      end
    end
  end)

  it("is not shortened for the read after a lost answer", function()
    local client, sent = world_of({ held(503, 30), lost }, { retry = false })
    client:sync()
    local failure = select(2, client:sync { force = true })
    assert.equal("interrupted", failure.outcome)
    assert.equal(2, #sent)
  end)

  it("that came with a 401 is kept by the request with another token", function()
    local tokens = 0
    local client, sent = world_of({ held(401, 30), done() }, {
      retry = false,
      token = function()
        tokens = tokens + 1
        return "token " .. tokens
      end,
    })
    local failure = select(2, client:status())
    assert.equal("unauthenticated", failure.outcome)
    assert.equal(30, failure.retry_after)
    assert.equal(1, #sent)
  end)

  it("of the token endpoint does not apply to Graph", function()
    local fails = true
    local client, sent = world_of({ { status = 204 } }, {
      retry = false,
      token = function()
        if fails then
          return nil, "busy", { retry_after = 60 }
        end
        return "good"
      end,
    })
    local failure = select(2, client:status())
    assert.equal("token_error", failure.outcome)
    assert.equal(60, failure.retry_after)
    fails = false
    assert.is_true(client:sync().ok)
    assert.equal(1, #sent)
  end)
end)
