-- client:ensure: makes true that a sync was triggered since a moment, with as few requests as can be.

local virtual_world = require "support.virtual_world"

local raised = virtual_world.raised
local syncs_started = virtual_world.syncs_started

--- Fails unless the service got so many posts and reads.
local function assert_requests(service, posts, most_reads)
  assert.equal(posts, service.requests.sync)
  local reads = service.requests.status
  assert(reads <= most_reads, ("%d reads instead of %d"):format(reads, most_reads))
end

--- The actions of a report's steps, in order; each has a reason and a time.
local function actions(report)
  local list, before = {}, 0
  for index, step in ipairs(report.steps) do
    list[index] = step.action
    assert.is_true(type(step.reason) == "string" and step.reason ~= "")
    assert.is_true(step.at >= before)
    before = step.at
  end
  return table.concat(list, " ")
end

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

  it("means a sync from now on where neither since nor max_age is given", function()
    local world = virtual_world.new()
    local client, service = world:emulated { cooldown = 0 }
    client.memory.cooldown = 0
    service:trigger "contoso"
    world:pass(2)
    assert.equal("completed", client:ensure().outcome)
    assert.equal(2, syncs_started(service))
  end)

  it("returns at the start of the sync with wait = false, and never sleeps", function()
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

describe("client:ensure where a sync was triggered since", function()
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

  it("is fresh within max_age, and asks again beyond it", function()
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

  it("joins it while it runs, instead of asking for another", function()
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

  it("is content with its being under way where wait = false", function()
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

  it("does not take a trigger for one that may have been before, by the second of Date", function()
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

describe("client:ensure while a sync from before is in progress", function()
  it("waits for its end and for the cooldown, then asks again", function()
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

  it("says so at once where wait = false, with the time to ask again", function()
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

  it("says so at the deadline where it does not end", function()
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
  it("waits exactly for what is left and the margin, and longer only by chance", function()
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

  it("posts nothing where somebody else's sync meanwhile does what was asked for", function()
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

  it("says so at once where wait = false, with the time to ask again", function()
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

  it("says so at once where the cooldown lasts longer than the time given", function()
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

  it("gives the time to ask again where wait = false and only a bare 429 told of it", function()
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

  it("goes on where a bare 429 tells that there was a sync that the record did not show", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    service:trigger "contoso"
    world:pass(100)
    service:inject { kind = "stale_read", on = "status", seconds = 1000 }
    local report = client:ensure()
    assert.equal("completed", report.outcome)
    assert_requests(service, 2, 8)
  end)

  it("tells its progress while it waits", function()
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

describe("client:ensure where the sync that counts has failed", function()
  it("asks for another while time allows", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    service:inject { kind = "failed_sync", seconds = 10, on = "sync" }
    local report = client:ensure()
    assert.equal("completed", report.outcome)
    assert.equal("yes", report.delivered)
    assert.equal(2, service.requests.sync)
    assert.equal(2, #report.attempts)
    assert.is_truthy(actions(report):find "sync started.*sync started")
  end)

  it("tells of the failure where there is no time for another", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    service:inject { kind = "failed_sync", seconds = 10, on = "sync" }
    local failure = select(2, client:ensure { timeout = 300 })
    assert.equal("sync_failed", failure.outcome)
    assert.equal("deadline", failure.gave_up)
    assert.equal("yes", failure.delivered)
    assert.equal(1, service.requests.sync)
    assert.is_true(world.time <= virtual_world.start + 300)
  end)

  it("asks for another where somebody else's has failed", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    local since = world.time - 10
    service:trigger("contoso", { duration = 20, failed = true })
    world:pass(5)
    assert.equal("completed", client:ensure({ since = since }).outcome)
    assert.equal(1, service.requests.sync)
  end)

  it("says so where wait = false and the cooldown forbids another", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    local since = world.time - 10
    service:trigger("contoso", { duration = 20, failed = true })
    world:pass(100)
    local failure = select(2, client:ensure { since = since, wait = false })
    assert.equal("sync_failed", failure.outcome)
    assert.is_true(failure.retry_at > world.time + 500)
    assert_requests(service, 0, 1)
    assert.same({}, world.slept)
  end)
end)

describe("client:ensure when requests fail", function()
  it("counts a sync whose answer was lost, or whose request arrived twice", function()
    for _, kind in ipairs { "lost_answer", "duplicated" } do
      for _, duration in ipairs { 0.5, 20 } do
        local world = virtual_world.new()
        local client, service = world:emulated { duration = duration }
        service:inject { kind = kind, on = "sync" }
        local report = client:ensure { since = world.time - 5 }
        assert.equal("completed", report.outcome)
        assert.equal("yes", report.delivered)
        assert.equal(1, #report.attempts)
        assert.equal(1, syncs_started(service))
      end
    end
  end)

  it("asks again where a request was lost", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    service:inject { kind = "lost_request", on = "sync" }
    assert.equal("completed", client:ensure().outcome)
    assert.equal(1, syncs_started(service))
  end)

  it("bears a record that is read late", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    for _ = 1, 3 do
      service:inject { kind = "stale_read", on = "status", seconds = 60 }
    end
    assert.equal("completed", client:ensure().outcome)
    assert.equal(1, service.requests.sync)
  end)

  it("repeats a read that failed, and posts nothing before one has succeeded", function()
    local world = virtual_world.new { random = 0.5 }
    local client, service = world:emulated()
    service:inject { kind = "status", status = 503, on = "status" }
    service:inject { kind = "unsent", on = "status" }
    assert.equal("completed", client:ensure().outcome)
    assert.equal("status", service.log[1].operation)
    assert.equal(1, service.requests.sync)
  end)

  it("makes one pass with wait = false: no retry, no sleep", function()
    for _, fault in ipairs {
      { kind = "status", status = 503, on = "status" },
      { kind = "unsent", on = "status" },
      { kind = "unsent", on = "sync" },
      { kind = "status", status = 500, on = "sync" },
      { kind = "throttle", retry_after = 1, on = "sync" },
    } do
      local world = virtual_world.new()
      local client, service = world:emulated()
      service:inject(fault)
      local report, failure = client:ensure { wait = false }
      assert.is_nil(report)
      assert.is_false(failure.ok)
      assert.equal("ensure", failure.operation)
      assert.same({}, world.slept)
      assert.is_true(service.requests.status + service.requests.sync <= 2)
    end
  end)

  it("tells a failure that no patience mends, as it is", function()
    for outcome, rules in pairs {
      forbidden = { tokens = { good = { tenant = "contoso", roles = {} } } },
      unauthenticated = { tokens = { other = { tenant = "contoso" } } },
      not_licensed = { tenants = { contoso = { licensed = false } } },
    } do
      local world = virtual_world.new()
      local client, service = world:emulated(rules)
      local failure = select(2, client:ensure())
      assert.equal(outcome, failure.outcome)
      assert.equal("no", failure.delivered)
      assert.is_truthy(failure.hint)
      assert_requests(service, 0, 1)
    end
  end)

  it("tells a refusal of the sync itself, as it is", function()
    local read = "DeviceManagementServiceConfig.Read.All"
    local client, service =
      virtual_world.new():emulated { tokens = { good = { tenant = "contoso", roles = { read } } } }
    local failure = select(2, client:ensure())
    assert.equal("forbidden", failure.outcome)
    assert.equal("yes", failure.delivered)
    assert.equal("service", failure.answered_by)
    assert_requests(service, 1, 1)
  end)

  it("tells that no token could be had", function()
    local client = virtual_world.new():scripted({}, { token = function() end })
    assert.equal("token_error", select(2, client:ensure()).outcome)
  end)
end)

describe("client:ensure and its deadline", function()
  it("is back in time, whatever has to be waited for", function()
    for _, timeout in ipairs { 0.5, 1, 3, 30, 100, 599, 611, 620, 700, 3600 } do
      for _, duration in ipairs { 0, 40, 650, 1e5 } do
        for _, age in ipairs { 0, 100, 609, 1000 } do
          local world = virtual_world.new { random = 0.7 }
          local client, service = world:emulated { duration = duration }
          service:trigger("contoso", { duration = math.min(duration, 200) })
          world:pass(age)
          local began = world.time
          local report, failure = client:ensure { timeout = timeout }
          assert.is_true(world.time <= began + timeout + 1e-6)
          assert.equal("contoso", (report or failure).tenant)
          assert.is_true(report ~= nil or failure.gave_up == "deadline")
          for _, event in ipairs(service.log) do
            assert.is_true(event.time <= began + timeout + 1e-6)
          end
        end
      end
    end
  end)

  it("tells the last status that was read where a sync did not end in time", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    local since = world.time - 10
    service:trigger("contoso", { duration = 1000 })
    world:pass(5)
    for _, timeout in ipairs { 0.5, 60 } do
      local failure = select(2, client:ensure { since = since, timeout = timeout })
      assert.equal("timed_out", failure.outcome)
      assert.equal("in_progress", failure.sync_status)
      assert.equal(200, failure.status)
      assert.equal("contoso", failure.tenant)
      assert.equal("deadline", failure.gave_up)
      assert.equal("no", failure.delivered)
    end
  end)
end)

describe("client:ensure and its options", function()
  it("raises where since and max_age are both given", function()
    local world = virtual_world.new()
    local client, transport = world:scripted {}
    local line
    local message = raised(function()
      line = debug.getinfo(1, "l").currentline + 1
      client:ensure { since = world.time - 10, max_age = 10 }
    end)
    assert.is_truthy(message:find(("ensure_spec.lua:%d: "):format(line), 1, true))
    assert.is_truthy(message:find "'since' and 'max_age'")
    assert.equal(0, #transport.requests)
  end)
end)
