-- client:ensure: makes sure that a sync was triggered since a given time, with as few requests as possible.

local ensured = require "support.ensured"
local mistakes = require "support.mistakes"
local virtual_world = require "support.virtual_world"

local actions, assert_requests = ensured.actions, ensured.assert_requests
local syncs_started = virtual_world.syncs_started

describe("client:ensure on an idle tenant", function()
  it("posts once, with one read before and at most eight after, for a sync of a minute", function()
    for _, random in ipairs { 0, 0.5, 0.999999 } do
      local world = virtual_world.new { random = random }
      local client, service = world:emulated { duration = 60 }
      local report, failure = client:ensure()
      assert.is_nil(failure)
      assert.is_true(report.ok)
      assert.equal("ensure", report.operation)
      assert.equal("completed", report.outcome)
      assert.equal("contoso", report.tenant)
      assert.equal("yes", report.delivered)
      assert.equal("response", report.confirmed_by)
      assert.equal(1, #report.attempts)
      assert.is_true(report.last_manual_trigger >= virtual_world.start - 1e-5)
      assert_requests(service, 1, 9)
      assert.is_truthy(actions(report):find "^sync started")
    end
  end)

  it("needs a sync from now on if neither since nor max_age is given", function()
    local world = virtual_world.new()
    local client, service = world:emulated { cooldown = 0 }
    client.memory.cooldown = 0
    service:trigger "contoso"
    world:pass(2)
    assert.equal("completed", client:ensure().outcome)
    assert.equal(2, syncs_started(service))
  end)

  it("returns when the sync has started with wait = false, and never sleeps", function()
    local world = virtual_world.new()
    local client, service = world:emulated { duration = 60 }
    local report = client:ensure { wait = false }
    assert.equal("started", report.outcome)
    assert.equal("response", report.confirmed_by)
    assert.equal("service", report.answered_by)
    assert_requests(service, 1, 1)
    assert.same({}, world.slept)
  end)
end)

describe("client:ensure after a sync since the given time", function()
  it("is fresh after one read, without a post", function()
    for _, ahead in ipairs { 0, 7200, -7200 } do
      for _, wait in ipairs { true, false } do
        local world = virtual_world.new { ahead = ahead }
        local client, service = world:emulated()
        local since = world.time
        world:pass(5)
        service:trigger "contoso"
        world:pass(2000)
        local report = client:ensure { since = since, wait = wait }
        assert.equal("fresh", report.outcome)
        assert.is_true(report.ok)
        assert.equal("client", report.answered_by)
        assert.equal("no", report.delivered)
        assert.is_nil(report.confirmed_by)
        assert.is_nil(report.hint)
        assert.same({}, report.attempts)
        assert.equal("none", actions(report))
        assert_requests(service, 0, 1)
        assert.same({}, world.slept)
      end
    end
  end)

  it("is fresh within max_age, and posts again after it", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    service:trigger "contoso"
    world:pass(3600)
    assert.equal("fresh", client:ensure({ max_age = 3700 }).outcome)
    assert_requests(service, 0, 1)
    assert.equal("completed", client:ensure({ max_age = 3500 }).outcome)
    assert.equal(1, service.requests.sync)
    assert.equal("fresh", client:ensure({ max_age = 3500 }).outcome)
    assert.equal(1, service.requests.sync)
  end)

  it("waits for a running sync instead of starting another", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    local since = world.time - 10
    service:trigger("contoso", { duration = 40 })
    world:pass(5)
    local report = client:ensure { since = since }
    assert.equal("completed", report.outcome)
    assert.equal("no", report.delivered)
    assert.is_truthy(actions(report):find "^join")
    assert.is_true(world.time >= virtual_world.start + 40)
    assert.equal(0, service.requests.sync)
  end)

  it("accepts a running sync with wait = false", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    local since = world.time - 10
    service:trigger("contoso", { duration = 40 })
    world:pass(5)
    local report = client:ensure { since = since, wait = false }
    assert.equal("fresh", report.outcome)
    assert_requests(service, 0, 1)
    assert.same({}, world.slept)
  end)

  it("does not accept a trigger that may be too early within the second of Date", function()
    local world = virtual_world.new()
    local client, service = world:emulated { duration = 0.1 }
    service:trigger "contoso"
    world:pass(0.3)
    local since = world.time
    world:pass(700)
    local report = client:ensure { since = since }
    assert.equal("completed", report.outcome)
    assert.equal(2, syncs_started(service))
  end)

  it("does not take a last sync for a trigger: an automatic sync proves nothing", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    local since = world.time
    world:pass(5)
    service:trigger("contoso", { automatic = true, duration = 5 })
    world:pass(2000)
    assert.equal("completed", client:ensure({ since = since }).outcome)
    assert.equal(1, service.requests.sync)
  end)
end)

describe("client:ensure while an earlier sync is in progress", function()
  it("waits for its end and for the cooldown, then posts", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    service:trigger("contoso", { duration = 100 })
    world:pass(20)
    local since = world.time
    local report = client:ensure { since = since }
    assert.equal("completed", report.outcome)
    assert.equal(2, syncs_started(service))
    assert.equal(1, service.requests.sync)
    assert.is_true(report.last_manual_trigger >= since)
    local steps = actions(report)
    assert.is_truthy(steps:find "^wait")
    assert.is_truthy(steps:find "sync started")
    assert.is_true(#report.steps < 40)
  end)

  it("reports it at once with wait = false, with the time to ask again", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    service:trigger("contoso", { duration = 100 })
    local triggered = world.time
    world:pass(20)
    local report, failure = client:ensure { since = world.time, wait = false }
    assert.is_nil(report)
    assert.equal("in_progress", failure.outcome)
    assert.equal("client", failure.answered_by)
    assert.equal("no", failure.delivered)
    assert.is_true(failure.retry_at >= triggered + 610)
    assert.is_true(failure.retry_at <= triggered + 612)
    assert.near(failure.retry_at - world.time, failure.retry_after, 1e-6)
    assert.is_nil(failure.gave_up)
    assert_requests(service, 0, 1)
    assert.same({}, world.slept)
  end)

  it("reports it at the deadline if it does not end", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    service:trigger("contoso", { duration = 5000 })
    world:pass(20)
    local began = world.time
    local failure = select(2, client:ensure { since = began, timeout = 200 })
    assert.equal("in_progress", failure.outcome)
    assert.equal("deadline", failure.gave_up)
    assert.is_true(world.time <= began + 200)
    assert.equal(0, service.requests.sync)
  end)
end)

describe("client:ensure inside a cooldown", function()
  it("waits exactly for the remaining time and the margin, and longer only by jitter", function()
    local latest = 0
    for _, random in ipairs { 0, 0.5, 0.999999 } do
      local world = virtual_world.new { random = random }
      local client, service = world:emulated { duration = 0.25 }
      service:trigger "contoso"
      local ends = world.time + 0.25 + 610
      world:pass(100)
      local report = client:ensure()
      assert.equal("completed", report.outcome)
      assert_requests(service, 1, 4)
      local posted
      for _, event in ipairs(service.log) do
        posted = event.event == "sync" and event.time or posted
      end
      assert.is_true(posted >= ends)
      assert.is_true(posted <= ends + 1.1 + 5)
      assert.is_true(random > 0 or posted <= ends + 1.1)
      assert.is_true(posted > latest)
      latest = posted
      assert.is_truthy(actions(report):find "^wait sync started")
    end
  end)

  it("posts nothing if another client's sync meets the need meanwhile", function()
    local world = virtual_world.new()
    local service
    local client
    client, service = world:emulated(nil, {
      sleep = function(seconds)
        world:pass(seconds)
        service:trigger("contoso", { duration = 1 })
        world:pass(5)
      end,
    })
    service:trigger "contoso"
    world:pass(100)
    local report = client:ensure()
    assert.equal("ensure", report.operation)
    assert.is_true(report.ok)
    assert.equal(0, service.requests.sync)
    assert.equal(2, syncs_started(service))
  end)

  it("reports it at once with wait = false, with the time to ask again", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    service:trigger "contoso"
    local triggered = world.time
    world:pass(100)
    local failure = select(2, client:ensure { wait = false })
    assert.equal("cooldown", failure.outcome)
    assert.equal("client", failure.answered_by)
    assert.equal("no", failure.delivered)
    assert.is_true(failure.retry_at >= triggered + 610)
    assert.is_true(failure.retry_at <= triggered + 612)
    assert.is_nil(failure.gave_up)
    assert_requests(service, 0, 1)
    assert.same({}, world.slept)
    -- A scheduler that comes back then is served.
    world:pass(failure.retry_after)
    assert.equal("started", client:ensure({ wait = false }).outcome)
  end)

  it("reports it at once if the cooldown lasts longer than the time left", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    service:trigger "contoso"
    world:pass(100)
    local failure = select(2, client:ensure { timeout = 300 })
    assert.equal("cooldown", failure.outcome)
    assert.equal("deadline", failure.gave_up)
    assert.is_true(failure.retry_after > 500)
    assert_requests(service, 0, 1)
    assert.same({}, world.slept)
  end)

  it("does not tell its end as the time to ask again if the record could not be read", function()
    local world = virtual_world.new()
    local client, service = world:emulated { duration = 1 }
    assert(client:sync())
    world:pass(100)
    service:inject { kind = "throttle", retry_after = 30, on = "status" }
    assert.equal("throttled", select(2, client:ensure { wait = false }).outcome)
    local failure = select(2, client:ensure { max_age = 600, timeout = 5 })
    assert.equal("throttled", failure.outcome)
    assert.is_true(failure.retry_after <= 30)
    world:pass(failure.retry_after)
    assert.equal("fresh", client:ensure({ max_age = 600 }).outcome)
  end)

  it("gives the time to ask again with wait = false after a bare 429", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    service:trigger "contoso"
    world:pass(100)
    service:inject { kind = "stale_read", on = "status", seconds = 1000 }
    local failure = select(2, client:ensure { wait = false })
    assert.equal("cooldown", failure.outcome)
    assert.equal("service", failure.answered_by)
    assert.is_true(failure.retry_at > world.time)
    assert.is_true(failure.retry_at <= world.time + 610)
    assert.same({}, world.slept)
  end)

  it("continues if a bare 429 reveals a sync that the record did not show", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    service:trigger "contoso"
    world:pass(100)
    service:inject { kind = "stale_read", on = "status", seconds = 1000 }
    local report = client:ensure()
    assert.equal("completed", report.outcome)
    assert_requests(service, 2, 8)
  end)

  it("reports its progress while it waits", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    service:trigger "contoso"
    world:pass(300)
    local remaining = {}
    client:ensure {
      on_progress = function(progress)
        if progress.state == "cooldown" then
          remaining[#remaining + 1] = progress.remaining
        end
      end,
    }
    assert.is_true(#remaining > 10)
    for index = 2, #remaining do
      assert.is_true(remaining[index] < remaining[index - 1])
    end
  end)
end)

describe("client:ensure and its options", function()
  it("raises if since and max_age are both given", function()
    local world = virtual_world.new()
    local client, transport = world:scripted {}
    local line
    local message = mistakes.raised(function()
      line = mistakes.this_line() + 1
      client:ensure { since = world.time - 10, max_age = 10 }
    end)
    mistakes.assert_raised_at(line, message)
    assert.is_truthy(message:find "'since' and 'max_age'")
    assert.equal(0, #transport.requests)
  end)
end)
