-- A call that finds the tenant claimed waits for the other call's answer while one can come.

local overlapping_calls = require "support.overlapping_calls"
local retry = require "autopilot.retry"
local scripted = require "autopilot.transport.scripted"
local world = require "support.virtual_world"

local start, started = overlapping_calls.start, overlapping_calls.started
local report_of = overlapping_calls.report_of

local overlap

describe("a call that meets another's request", function()
  before_each(function()
    overlap = overlapping_calls.new()
  end)

  it("reports it when its own deadline ends first, and has sent nothing", function()
    overlap.slow = 20
    overlap:serve { started }
    overlap:calls(1)
    local hasty = overlap:calls(1, nil, { deadline = 3 })
    overlap:run()
    local report = report_of(hasty[1])
    assert.are.equal("in_progress", report.outcome)
    assert.are.equal("client", report.answered_by)
    assert.are.equal("no", report.delivered)
    assert.are.equal("deadline", report.gave_up)
    assert.are.same({}, report.attempts)
    assert.is_true(report.retry_at > start + 3 and report.retry_at <= start + 70)
    assert.is_true(hasty[1].ended <= start + 3.001)
    assert.are.equal(1, #overlap.transport.requests)
  end)

  it("does not deny in its hint a request that it has sent before", function()
    local throttled = { status = 503, headers = { ["Retry-After"] = "40" } }
    overlap:serve { throttled, started }
    local hasty = overlap:calls(1, nil, { deadline = 45 })
    overlap:spawn(function()
      overlap:sleep(35)
      overlap.slow = 20
      overlap:client():sync()
    end)
    overlap:run()
    local report = report_of(hasty[1])
    assert.are.equal("in_progress", report.outcome)
    assert.are.equal("unknown", report.delivered)
    assert.are.equal(1, #report.attempts)
    assert.matches("under way", report.hint)
    assert.is_nil(report.hint:find "not sent")
  end)

  it("waits no longer once its client is closed", function()
    overlap.slow = 20
    overlap:serve { started }
    overlap:calls(1)
    local closed = overlap:spawn(function()
      local client = overlap:client()
      overlap:spawn(function()
        overlap:sleep(1)
        client:close()
      end)
      return client:sync()
    end)
    overlap:run()
    local report = report_of(closed)
    assert.are.equal("in_progress", report.outcome)
    assert.are.equal("not_retryable", report.gave_up)
    assert.are.equal("no", report.delivered)
    assert.is_true(closed.ended < start + 2)
    assert.are.equal(1, #overlap.transport.requests)
  end)

  it("does not wait in ensure with wait = false", function()
    local record = world.record { trigger = start - 5000, last_sync = start - 4999, date = start }
    overlap:serve { record, started }
    overlap.slow = 5
    local holder = overlap:calls(1)
    local looking = overlap:spawn(function()
      overlap:sleep(1)
      overlap.slow = 0.5
      return overlap:client():ensure { wait = false }
    end)
    overlap:run()
    local report = report_of(looking)
    assert.are.equal("in_progress", report.outcome)
    assert.is_true(report.retry_at > overlap.time)
    assert.is_not_nil(holder)
  end)

  it("posts itself when the other dies", function()
    overlap.slow = 5
    overlap:serve { started }
    local victim = overlap:calls(1)[1]
    overlap:spawn(function()
      overlap:sleep(1)
      victim.is_killed = true
    end)
    local follower = overlap:calls(1, { recover = false })[1]
    overlap:run()
    assert.are.equal("started", report_of(follower).outcome)
    assert.is_nil(report_of(follower).joined)
    assert.is_true(follower.ended > start + 60 and follower.ended < start + 80)
    assert.are.equal(1, #overlap.transport.requests)
  end)

  it("posts itself after a call in the same coroutine that an error ended", function()
    overlap:serve { started }
    local task = overlap:spawn(function()
      local failing = overlap:client { transport = error }
      assert(not pcall(failing.sync, failing))
      return overlap:client({ recover = false }):sync()
    end)
    overlap:run()
    assert.are.equal("started", report_of(task).outcome)
    assert.is_true(task.ended > start + 60 and task.ended < start + 80)
  end)

  it("first checks whether the request of a dead call started a sync", function()
    local posts, reads = 0, 0
    local function send(request)
      if request.method == "POST" then
        posts = posts + 1
        overlap:sleep(5)
        return scripted({ started })(request)
      end
      reads = reads + 1
      local record = { trigger = start + 0.5, last_sync = start + 1, date = overlap.time }
      return scripted({ world.record(record) })(request)
    end
    local victim = overlap:calls(1, { transport = send })[1]
    overlap:spawn(function()
      overlap:sleep(1)
      victim.is_killed = true
    end)
    local followers = overlap:calls(5, { transport = send })
    overlap:run()
    assert.are.equal(1, posts)
    assert.are.equal(1, reads)
    for _, follower in ipairs(followers) do
      assert.are.equal("cooldown", report_of(follower).outcome)
      assert.are.equal("no", report_of(follower).delivered)
    end
  end)

  it(
    "takes the other's answer also where a third had the claim since, and had no time to send",
    function()
      overlap:serve { { status = 409 } }
      local waiting, hasty
      overlap:spawn(function()
        overlap:calls(1, { retry = false })
        waiting = overlap:calls(1, { retry = false })[1]
        overlap:sleep(0.501)
        local inner = overlap.store
        local slow = setmetatable({
          get = function(_, key)
            overlap:sleep(0.001)
            return inner:get(key)
          end,
        }, { __index = inner })
        hasty = overlap:calls(1, { store = slow }, { deadline = 0.0015 })[1]
      end)
      overlap:run()
      assert.are.equal("unreachable", report_of(hasty).outcome)
      assert.are.equal("deadline", report_of(hasty).gave_up)
      assert.are.equal("in_progress", report_of(waiting).outcome)
      assert.is_true(report_of(waiting).joined)
      assert.are.equal(1, #overlap.transport.requests)
    end
  )

  it("does not read the record if the other's answer was known when it died", function()
    overlap.slow = 0.05
    overlap:serve { started, started }
    local inner = overlap.store
    local slow = setmetatable({
      get = function(_, key)
        overlap:sleep(0.2)
        return inner:get(key)
      end,
    }, { __index = inner })
    local other = overlap:calls(1, { store = slow })[1] -- has the claim from 0.2 s on
    local waiting
    overlap:spawn(function()
      overlap:sleep(0.25)
      overlap:calls(1, nil, { force = true })
      overlap:sleep(0.01)
      waiting = overlap:calls(1, { cooldown = 0 })[1]
    end)
    overlap:run()
    assert.are.equal("cooldown", report_of(other).outcome)
    assert.are.equal("started", report_of(waiting).outcome)
    assert.is_true(waiting.ended > other.ended)
    local requests = overlap.transport.requests
    assert.are.equal(2, #requests)
    assert.are.equal("POST", requests[2].method)
  end)

  it("posts anyway with force", function()
    overlap:serve { started, { status = 429 } }
    overlap:calls(1)
    local forced = overlap:calls(1, nil, { force = true })
    overlap:run()
    assert.are.equal(2, #overlap.transport.requests)
    assert.is_nil(report_of(forced[1]).joined)
    assert.are.equal("service", report_of(forced[1]).answered_by)
  end)

  it("does not accept a sync that began before its own moment", function()
    local old = world.record { trigger = start - 5000, last_sync = start - 4999, date = start + 1 }
    overlap.slow = 3
    -- The status is requested and read at once, so that the request is still under way then.
    overlap.transport = function(request)
      if request.method == "GET" then
        return scripted({ old })(request)
      end
      return scripted({ started })(request)
    end
    local posts = 0
    local function send(request)
      posts = posts + (request.method == "POST" and 1 or 0)
      overlap:sleep(request.method == "POST" and 3 or 0.1)
      return overlap.transport(request)
    end
    overlap:spawn(function()
      return overlap:client({ transport = send }):sync()
    end)
    local later
    overlap:spawn(function()
      overlap:sleep(1)
      later = overlap:spawn(function()
        return overlap:client({ transport = send }):ensure { timeout = 60 }
      end)
    end)
    overlap:run()
    local report = report_of(later)
    assert.are.equal("cooldown", report.outcome)
    assert.are.equal(1, posts)
  end)

  it("lets the others run if its sleep blocks", function()
    local blocking = require("autopilot.core").sleep
    overlap:serve { started }
    local function send(request)
      coroutine.yield(overlap.time + 0.01)
      return overlap.transport(request)
    end
    local begun = overlap:calls(3, { sleep = blocking, transport = send })
    overlap:run()
    for _, task in ipairs(begun) do
      assert.are.equal("started", report_of(task).outcome)
    end
    assert.are.equal(1, #overlap.transport.requests)
  end)

  it("does not wait if that would block the other for ever", function()
    local blocking = require("autopilot.core").sleep
    overlap:serve { started }
    local function send(request)
      coroutine.yield(overlap.time + 100)
      return overlap.transport(request)
    end
    local holder = coroutine.wrap(function()
      return overlap:client({ sleep = blocking, transport = send }):sync()
    end)
    holder()
    local report, failure = overlap:client({ sleep = blocking, transport = send }):sync()
    assert.is_nil(report)
    assert.are.equal("in_progress", failure.outcome)
    assert.is_true(failure.retry_at > start)
    assert.are.equal("started", holder().outcome)
  end)

  it("does not block others during a long wait between two attempts", function()
    overlap:serve { { status = 429, headers = { ["Retry-After"] = "170" } }, started }
    local patient = overlap:calls(1)
    local other = overlap:spawn(function()
      overlap:sleep(0.1)
      return overlap:client({ retry = retry.never() }):sync()
    end)
    overlap:run()
    assert.are.equal("throttled", report_of(other).outcome)
    assert.is_true(other.ended < start + 1)
    assert.are.equal("started", report_of(patient[1]).outcome)
  end)

  it("keeps waiting while the other checks what became of its lost request", function()
    local posts = 0
    local function send(request)
      if request.method == "POST" then
        posts = posts + 1
        overlap:sleep(60)
        return nil, { stage = "receive", name = "TIMEOUT", message = "", delivered = "unknown" }
      end
      overlap:sleep(50)
      local record = { trigger = start + 1, last_sync = start + 2, date = overlap.time }
      return scripted({ world.record(record) })(request)
    end
    local begun = overlap:calls(5, { transport = send })
    overlap:run()
    assert.are.equal(1, posts)
    for _, task in ipairs(begun) do
      assert.are.equal("started", report_of(task).outcome)
      assert.are.equal("status", report_of(task).confirmed_by)
    end
  end)

  it("does not wait forever for a call that retries again and again", function()
    local stubborn = retry.policy {
      attempts = 1000,
      backoff = "constant",
      jitter = "none",
      base = 20,
      max_elapsed = 5000,
    }
    overlap.transport = function(request)
      return scripted({ { status = 500 } })(request)
    end
    overlap:calls(1, { retry = stubborn })
    local other = overlap:spawn(function()
      overlap:sleep(0.1)
      return overlap:client({ retry = retry.never() }):sync()
    end)
    overlap:run()
    assert.are.equal("unavailable", report_of(other).outcome)
    assert.is_true(report_of(other).joined)
    assert.is_true(other.ended < start + 310)
  end)

  it("is reported by an event", function()
    local events = {}
    overlap:serve { started }
    overlap:calls(2, {
      on_event = function(event)
        events[#events + 1] = event.type == "joined" and event.outcome or nil
      end,
    })
    overlap:run()
    assert.are.same({ "started" }, events)
  end)
end)
