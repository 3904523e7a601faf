-- Waiting for a sync: when the record is read, the progress reports, and which failures end it.

local virtual_world = require "support.virtual_world"

local record = virtual_world.record

--- Waits with this chance; returns the sleeps.
local function sleeps_of(random, duration)
  local world = virtual_world.new { random = random }
  local client = world:emulated { duration = duration }
  assert(client:sync())
  assert(client:wait())
  return world.slept, world
end

describe("waiting for a sync", function()
  it("reads at growing intervals between 1 s and 30 s, spread by chance", function()
    for _, random in ipairs { 0, 0.5, 0.999999 } do
      local slept = sleeps_of(random, 600)
      assert.is_true(#slept > 8 and #slept < 40)
      for index, seconds in ipairs(slept) do
        assert.is_true(seconds >= 1 and seconds <= 30)
        assert.is_true(index == 1 or seconds >= slept[index - 1])
      end
      assert.is_true(slept[#slept] >= 20)
    end
    assert.is_true(sleeps_of(0.999999, 600)[1] > sleeps_of(0, 600)[1])
  end)

  it("needs at most eight reads for a sync of a minute", function()
    for _, random in ipairs { 0, 0.5, 0.999999 } do
      local world = virtual_world.new { random = random }
      local client, service = world:emulated { duration = 60 }
      assert(client:sync { wait = true })
      assert.is_true(service.requests.status <= 8)
      assert.is_true(world.time - virtual_world.start < 60 + 30)
    end
  end)

  it("need not see a quick sync in progress", function()
    local world = virtual_world.new()
    local client, service = world:emulated { duration = 0.4 }
    local report = client:sync { wait = true }
    assert.equal("completed", report.outcome)
    assert.equal(1, service.requests.status)
    assert.is_true(report.elapsed <= 1.5)
  end)

  it("ignores an earlier sync's completed", function()
    local world = virtual_world.new()
    local client, service = world:emulated { duration = 20 }
    service:trigger("contoso", { duration = 5 })
    world:pass(5000)
    client:sync()
    for _ = 1, 3 do
      service:inject { kind = "stale_read", on = "status", seconds = 1000 }
    end
    local began = world.time
    local report = client:wait()
    assert.equal("completed", report.outcome)
    assert.is_true(world.time >= began + 20)
    assert.is_true(report.last_sync >= began + 20)
  end)

  it("ignores an earlier sync's completed also after its own sync was posted", function()
    local world = virtual_world.new()
    local client, service = world:emulated { duration = 20 }
    service:trigger("contoso", { duration = 5 })
    world:pass(5000)
    for _ = 1, 2 do
      service:inject { kind = "stale_read", on = "status", seconds = 1000 }
    end
    local began = world.time
    assert.equal("completed", client:sync({ wait = true }).outcome)
    assert.is_true(world.time >= began + 20)
  end)

  it("ends also if other syncs follow: when one of them has completed", function()
    local world = virtual_world.new()
    local begin = world.time
    local client, transport = world:scripted {
      record { status = "inProgress", trigger = begin },
      record { status = "inProgress", trigger = begin + 2, last_sync = begin + 1 }, -- did it fail?
      record { status = "completed", trigger = begin + 2, last_sync = begin + 5 },
    }
    local report = client:wait { timeout = 300 }
    assert.equal("completed", report.outcome)
    assert.equal(3, #transport.requests)
  end)

  it("does not report completed for a failed sync that moved the last sync's stamp", function()
    local begin = virtual_world.start
    local failed = record { status = "failed", trigger = begin, last_sync = begin + 5 }
    for _, method in ipairs { "wait", "sync" } do
      local world = virtual_world.new()
      local client = world:scripted {
        method == "sync" and { status = 204 } or failed,
        method == "sync" and failed or nil,
      }
      local _, failure = client[method](client, method == "sync" and { wait = true } or nil)
      assert.equal("sync_failed", failure.outcome)
      assert.is_false(failure.ok)
    end
  end)

  it("stays completed if a later automatic sync failed", function()
    local world = virtual_world.new()
    local begin = world.time
    local client = world:scripted {
      record { status = "completed", trigger = begin, last_sync = begin + 5 },
      record { status = "failed", trigger = begin, last_sync = begin + 50 },
      record { status = "failed", trigger = begin, last_sync = begin + 50 },
    }
    client:status()
    assert.equal("completed", client:wait().outcome)
    assert.equal("fresh", client:ensure({ max_age = 60 }).outcome)
  end)

  it("waits for a Retry-After, and never reads before it has passed", function()
    local world = virtual_world.new()
    local client, transport = world:scripted {
      { status = 204 },
      { status = 429, headers = { ["Retry-After"] = "77" } },
      record { trigger = virtual_world.start, last_sync = virtual_world.start + 5 },
    }
    client:sync()
    assert.equal("completed", client:wait().outcome)
    assert.equal(3, #transport.requests)
    assert.is_true(world.time >= virtual_world.start + 77)
  end)

  it("ends when a Retry-After is longer than the time left", function()
    local world = virtual_world.new()
    local client, transport = world:scripted {
      { status = 204 },
      { status = 503, headers = { ["Retry-After"] = "77" } },
    }
    client:sync()
    local failure = select(2, client:wait { timeout = 50 })
    assert.equal("timed_out", failure.outcome)
    assert.equal(2, #transport.requests)
    assert.is_true(world.time <= virtual_world.start + 50)
  end)

  it("continues after failures that may be temporary", function()
    local world = virtual_world.new()
    local client, service = world:emulated { duration = 20 }
    client:sync()
    for _, fault in ipairs {
      { kind = "unsent" },
      { kind = "lost_request" },
      { kind = "lost_answer" },
      { kind = "status", status = 500 },
      { kind = "status", status = 503, body = "<html>" },
      { kind = "throttle", retry_after = 3 },
    } do
      fault.on = "status"
      service:inject(fault)
    end
    local report = client:wait()
    assert.equal("completed", report.outcome)
    assert.is_nil(report.error)
    assert.is_nil(report.network)
    assert.is_nil(report.hint)
  end)

  it("continues after a token has expired", function()
    local world = virtual_world.new()
    local refreshed = 0
    local token
    local client, service
    client, service = world:emulated({ duration = 500 }, {
      token = function(ask)
        if not token or ask.refresh then
          refreshed = refreshed + (ask.refresh and 1 or 0)
          token = service:issue_token { tenant = "contoso", lifetime = 100 }
        end
        return token
      end,
    })
    assert.equal("completed", client:sync({ wait = true }).outcome)
    assert.is_true(refreshed >= 4)
  end)

  it("continues after temporary failures of a provider, once a read has succeeded", function()
    local world = virtual_world.new()
    local asked = 0
    local client = world:emulated({ duration = 60 }, {
      token = function()
        asked = asked + 1
        if asked == 4 or asked == 5 then
          return nil, "the vault is sealed"
        end
        return "good"
      end,
    })
    assert.equal("completed", client:sync({ wait = true }).outcome)
  end)

  it("ends with a permanent failure, and reports it", function()
    for status, outcome in pairs {
      [401] = "unauthenticated",
      [403] = "forbidden",
      [404] = "not_found",
    } do
      local client, transport =
        virtual_world.new():scripted { { status = 204 }, { status = status } }
      client:sync()
      local failure = select(2, client:wait())
      assert.equal(outcome, failure.outcome)
      assert.equal(status, failure.status)
      assert.equal("wait", failure.operation)
      assert.equal(2, #transport.requests)
    end
    local client = virtual_world.new():scripted({}, { token = function() end })
    assert.equal("token_error", select(2, client:wait()).outcome)
  end)

  it("ends when the client is closed while it sleeps", function()
    local world = virtual_world.new()
    local client
    client = world:emulated({ duration = 60 }, {
      sleep = function(seconds)
        world:pass(seconds)
        client:close()
      end,
    })
    client:sync()
    local began = world.time
    local report, failure = client:wait()
    assert.is_nil(report)
    assert.is_false(failure.ok)
    assert.is_true(world.time < began + 40)
  end)

  it("limits each request to the remaining time", function()
    local world = virtual_world.new()
    local began = world.time
    local client = world:client {
      transport = function(request)
        assert.is_true(world.time + request.timeout.total <= began + 90 + 1e-6)
        world:pass(request.timeout.total)
        return nil, { stage = "receive", timeout = true, message = "late", delivered = "unknown" }
      end,
    }
    local failure = select(2, client:wait { since = began - 5, timeout = 90 })
    assert.equal("timed_out", failure.outcome)
    assert.is_true(world.time <= began + 90 + 1e-6)
  end)
end)

describe("on_progress", function()
  it(
    "is told before each wait what was read last, how long it took and when it is read again",
    function()
      local world = virtual_world.new()
      local told = {}
      local client, service = world:emulated { duration = 10 }
      client:sync()
      local triggered = world.time
      client:wait {
        on_progress = function(progress)
          told[#told + 1] = progress
        end,
      }
      assert.is_true(#told >= 3)
      for index, progress in ipairs(told) do
        assert.equal("waiting", progress.state)
        assert.equal("in_progress", progress.sync_status)
        assert.near(triggered, progress.last_manual_trigger, 1e-5)
        assert.near(world.slept[index], progress.next_read, 1e-6)
        assert.is_true(progress.elapsed >= 0)
        assert.is_true(index == 1 or progress.elapsed > told[index - 1].elapsed)
      end
      assert.is_truthy(service)
    end
  )

  it("is called before the last read before the deadline, and not after it", function()
    local world = virtual_world.new()
    local told, client = {}, world:emulated { duration = 100 }
    client:sync()
    client:wait {
      timeout = 12,
      on_progress = function(progress)
        told[#told + 1] = progress.next_read
      end,
    }
    assert.same(world.slept, told)
  end)

  it("is called while a started sync is waited for, too", function()
    local client = virtual_world.new():emulated { duration = 10 }
    local told = 0
    client:sync {
      wait = true,
      on_progress = function()
        told = told + 1
      end,
    }
    assert.is_true(told >= 2)
  end)

  it("may raise without any effect", function()
    for _, thrown in ipairs { "text", {}, setmetatable({}, { __tostring = error }) } do
      local client = virtual_world.new():emulated { duration = 10 }
      local function raise()
        error(thrown)
      end
      assert.equal("completed", client:ensure({ on_progress = raise }).outcome)
    end
  end)

  it("may yield, in every Lua version", function()
    local client = virtual_world.new():emulated { duration = 2 }
    client:sync()
    local thread = coroutine.create(function()
      return client:wait { on_progress = coroutine.yield }
    end)
    local value
    local yields = -1
    while coroutine.status(thread) ~= "dead" do
      value = select(2, assert(coroutine.resume(thread)))
      yields = yields + 1
    end
    assert.equal("completed", value.outcome)
    assert.is_true(yields >= 1)
  end)
end)
