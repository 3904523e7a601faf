-- Of all who share a store one at a time asks for a tenant; the others take its answer.

local new_client = require "autopilot.client"
local retry = require "autopilot.retry"
local scripted = require "autopilot.transport.scripted"
local stores = require "autopilot.store"
local world = require "support.virtual_world"

local start = world.start

-- ---- Tasks in virtual time ---------------------------------------------------------------------------

local time, tasks

local function now()
  return time
end

--- Sleeps as a light thread does: others run meanwhile.
local function sleep(seconds)
  coroutine.yield(time + seconds)
end

--- Adds a task; its results are kept in what is returned.
local function spawn(act)
  local task = { wake = time }
  task.thread = coroutine.create(function()
    task.results = { act() }
    task.ended = time
  end)
  tasks[#tasks + 1] = task
  return task
end

--- Runs all tasks to their ends, but those that are killed.
local function run()
  local turns = 0
  while true do
    local first
    for _, task in ipairs(tasks) do
      local is_alive = not task.is_killed and coroutine.status(task.thread) ~= "dead"
      if is_alive and (not first or task.wake < first.wake) then
        first = task
      end
    end
    if not first then
      return
    end
    turns = turns + 1
    assert(turns < 1e6, "the tasks do not end")
    time = math.max(time, first.wake)
    local ok, wake = coroutine.resume(first.thread)
    assert(ok, wake)
    first.wake = wake or time + 0.001 -- who only yields goes on soon
  end
end

-- ---- Clients -----------------------------------------------------------------------------------------

local store, transport, slow

--- A client whose requests take so many seconds, all of them answered from one list.
local function client(given)
  local options = {
    token = "good",
    tenant = "contoso",
    store = store,
    now = now,
    clock = now,
    sleep = sleep,
    random = function()
      return 0
    end,
    transport = function(request)
      sleep(slow)
      return transport(request)
    end,
  }
  for name, value in pairs(given or {}) do
    options[name] = value
  end
  return new_client(options)
end

local function serve(answers)
  transport = scripted(answers)
end

local started = {
  status = 204,
  headers = { ["Date"] = world.date(start), ["request-id"] = "the-service's" },
}

--- So many calls at once; their tasks.
local function calls(count, given, options)
  local begun = {}
  for number = 1, count do
    begun[number] = spawn(function()
      return client(given):sync(options)
    end)
  end
  return begun
end

local function report_of(task)
  return task.results[1] or task.results[2]
end

describe("calls for one tenant with one store", function()
  before_each(function()
    time, tasks, slow = start, {}, 0.5
    store = stores.memory { now = now }
  end)

  it("post once, and have the same report", function()
    serve { started }
    local begun = calls(60)
    run()
    assert.are.equal(1, #transport.requests)
    local posted = 0
    for _, task in ipairs(begun) do
      local report = report_of(task)
      assert.is_true(report.ok)
      assert.are.equal("started", report.outcome)
      assert.are.equal(204, report.status)
      assert.are.equal("yes", report.delivered)
      assert.are.equal("response", report.confirmed_by)
      assert.are.equal("the-service's", report.request_id)
      assert.are.equal(transport.requests[1].headers["client-request-id"], report.client_request_id)
      if report.attempts[1] then
        posted = posted + 1
        assert.is_nil(report.joined)
        assert.are.equal("service", report.answered_by)
      else
        assert.is_true(report.joined)
        assert.are.equal("client", report.answered_by)
      end
    end
    assert.are.equal(1, posted)
  end)

  it("go on soon after the answer is there", function()
    serve { started }
    local begun = calls(60)
    run()
    for _, task in ipairs(begun) do
      assert.is_true(task.ended <= start + 0.5 + 0.05)
    end
  end)

  it("answer cooldown afterwards", function()
    serve { started }
    calls(3)
    run()
    local late = calls(3)
    run()
    for _, task in ipairs(late) do
      assert.are.equal("cooldown", report_of(task).outcome)
      assert.is_nil(report_of(task).joined)
    end
    assert.are.equal(1, #transport.requests)
  end)

  it("wait together for the sync to complete", function()
    local record = world.record {
      trigger = start + 0.2,
      last_sync = start + 0.9,
      date = start + 1.5,
    }
    serve { started, record, record, record }
    local begun = calls(3, nil, { wait = true })
    run()
    local posts = 0
    for _, request in ipairs(transport.requests) do
      posts = posts + (request.method == "POST" and 1 or 0)
    end
    assert.are.equal(1, posts)
    for _, task in ipairs(begun) do
      assert.are.equal("completed", report_of(task).outcome)
      assert.are.equal("yes", report_of(task).delivered)
    end
  end)

  it("let one of them repeat what failed", function()
    serve { { status = 503 }, { status = 503 }, started }
    local begun = calls(20, { recover = false })
    run()
    assert.are.equal(3, #transport.requests)
    for _, task in ipairs(begun) do
      assert.are.equal("started", report_of(task).outcome)
    end
  end)

  it("count another's attempts as their own", function()
    serve { { status = 500 }, { status = 500 }, { status = 500 }, { status = 500 } }
    local begun = calls(20)
    run()
    assert.are.equal(4, #transport.requests)
    for _, task in ipairs(begun) do
      local report = report_of(task)
      assert.are.equal("unavailable", report.outcome)
      assert.are.equal("unknown", report.delivered)
      assert.are.equal("attempts", report.gave_up)
    end
  end)

  it("share a refusal", function()
    serve { { status = 429 } }
    local begun = calls(20)
    run()
    assert.are.equal(1, #transport.requests)
    for _, task in ipairs(begun) do
      assert.are.equal("cooldown", report_of(task).outcome)
    end
  end)

  it("try by themselves where it was surely not sent, but no more than two", function()
    local unsent =
      { network = { stage = "connect", name = "REFUSED", message = "", delivered = "no" } }
    serve { unsent, unsent, unsent, unsent }
    local begun = calls(20, { retry = false })
    run()
    assert.are.equal(2, #transport.requests)
    for _, task in ipairs(begun) do
      assert.are.equal("unreachable", report_of(task).outcome)
      assert.are.equal("no", report_of(task).delivered)
    end
  end)

  it("go on with the next when the first could not send", function()
    local unsent =
      { network = { stage = "connect", name = "REFUSED", message = "", delivered = "no" } }
    serve { unsent, started }
    local begun = calls(10, { retry = false })
    run()
    assert.are.equal(2, #transport.requests)
    local outcomes = {}
    for _, task in ipairs(begun) do
      local outcome = report_of(task).outcome
      outcomes[outcome] = (outcomes[outcome] or 0) + 1
    end
    assert.are.same({ unreachable = 1, started = 9 }, outcomes)
  end)

  it("do not take one client's bad token for theirs", function()
    serve { { status = 401 }, started }
    local bad = spawn(function()
      return client({ token = "bad" }):sync()
    end)
    local good = calls(5)
    run()
    assert.are.equal("unauthenticated", report_of(bad).outcome)
    for _, task in ipairs(good) do
      assert.are.equal("started", report_of(task).outcome)
    end
    assert.are.equal(2, #transport.requests)
  end)

  it("do not take one client's missing token for theirs", function()
    serve { { status = 503, headers = { ["Retry-After"] = "3" } }, started }
    local asked = 0
    local bad = spawn(function()
      return client({
        token = function()
          asked = asked + 1
          if asked > 1 then
            return nil, "the vault is sealed"
          end
          return "good"
        end,
      }):sync()
    end)
    local good = calls(5)
    run()
    assert.are.equal("token_error", report_of(bad).outcome)
    assert.are.equal("unknown", report_of(bad).delivered)
    for _, task in ipairs(good) do
      assert.are.equal("started", report_of(task).outcome)
    end
    assert.are.equal(2, #transport.requests)
  end)

  it("never take a claim from another when the store fails, however late they are", function()
    serve {}
    transport = function()
      return { status = 500 }
    end
    local get, is_down = store.get, false
    store.get = function(self, key)
      if is_down then
        return nil, "down"
      end
      return get(self, key)
    end
    local key = "autopilot:1:https://graph.microsoft.com:contoso:claim"
    local before
    spawn(function()
      client({
        retry = false,
        recover = false,
        transport = function(request)
          sleep(75) -- longer than it was allowed to, and than its claim lasts
          before, is_down = get(store, key), true
          return transport(request)
        end,
      }):sync()
    end)
    spawn(function()
      sleep(74)
      store:set(key, "another", 60)
    end)
    run()
    assert.are.equal("another", before)
    assert.are.equal("another", get(store, key))
  end)

  it("need no claim while a token is fetched", function()
    serve { started }
    local slow_one = spawn(function()
      return client({
        token = function()
          sleep(500)
          return "good"
        end,
      }):sync()
    end)
    local quick = calls(1)
    run()
    assert.is_true(quick[1].ended < start + 1)
    assert.are.equal("cooldown", report_of(slow_one).outcome)
    assert.are.equal(1, #transport.requests)
  end)
end)

describe("a call that meets another's request", function()
  before_each(function()
    time, tasks, slow = start, {}, 0.5
    store = stores.memory { now = now }
  end)

  it("says so when its deadline ends first, and has sent nothing", function()
    slow = 20
    serve { started }
    calls(1)
    local hasty = calls(1, nil, { deadline = 3 })
    run()
    local report = report_of(hasty[1])
    assert.are.equal("in_progress", report.outcome)
    assert.are.equal("client", report.answered_by)
    assert.are.equal("no", report.delivered)
    assert.are.equal("deadline", report.gave_up)
    assert.are.same({}, report.attempts)
    assert.is_true(report.retry_at > start + 3 and report.retry_at <= start + 70)
    assert.is_true(hasty[1].ended <= start + 3.001)
    assert.are.equal(1, #transport.requests)
  end)

  it("does not wait in ensure with wait = false", function()
    local record = world.record { trigger = start - 5000, last_sync = start - 4999, date = start }
    serve { record, started }
    slow = 5
    local holder = calls(1)
    local looking = spawn(function()
      sleep(1)
      slow = 0.5
      return client():ensure { wait = false }
    end)
    run()
    local report = report_of(looking)
    assert.are.equal("in_progress", report.outcome)
    assert.is_true(report.retry_at > time)
    assert.is_not_nil(holder)
  end)

  it("asks by itself when the other dies", function()
    slow = 5
    serve { started }
    local victim = calls(1)[1]
    spawn(function()
      sleep(1)
      victim.is_killed = true
    end)
    local heir = calls(1, { recover = false })[1]
    run()
    assert.are.equal("started", report_of(heir).outcome)
    assert.is_nil(report_of(heir).joined)
    assert.is_true(heir.ended > start + 60 and heir.ended < start + 80)
    assert.are.equal(1, #transport.requests)
  end)

  it("looks first whether the other's request started a sync, when that one died", function()
    local posts, reads = 0, 0
    local function send(request)
      if request.method == "POST" then
        posts = posts + 1
        sleep(5)
        return scripted({ started })(request)
      end
      reads = reads + 1
      local record = { trigger = start + 0.5, last_sync = start + 1, date = time }
      return scripted({ world.record(record) })(request)
    end
    local victim = calls(1, { transport = send })[1]
    spawn(function()
      sleep(1)
      victim.is_killed = true
    end)
    local heirs = calls(5, { transport = send })
    run()
    assert.are.equal(1, posts)
    assert.are.equal(1, reads)
    for _, heir in ipairs(heirs) do
      assert.are.equal("cooldown", report_of(heir).outcome)
      assert.are.equal("no", report_of(heir).delivered)
    end
  end)

  it("posts all the same when it is forced", function()
    serve { started, { status = 429 } }
    calls(1)
    local forced = calls(1, nil, { force = true })
    run()
    assert.are.equal(2, #transport.requests)
    assert.is_nil(report_of(forced[1]).joined)
    assert.are.equal("service", report_of(forced[1]).answered_by)
  end)

  it("does not take a sync for its own that began before the moment it asks about", function()
    local old = world.record { trigger = start - 5000, last_sync = start - 4999, date = start + 1 }
    slow = 3
    -- The status is asked for and told at once, so that the request is still under way then.
    transport = function(request)
      if request.method == "GET" then
        return scripted({ old })(request)
      end
      return scripted({ started })(request)
    end
    local posts = 0
    local function send(request)
      posts = posts + (request.method == "POST" and 1 or 0)
      sleep(request.method == "POST" and 3 or 0.1)
      return transport(request)
    end
    spawn(function()
      return client({ transport = send }):sync()
    end)
    local later
    spawn(function()
      sleep(1)
      later = spawn(function()
        return client({ transport = send }):ensure { timeout = 60 }
      end)
    end)
    run()
    local report = report_of(later)
    assert.are.equal("cooldown", report.outcome)
    assert.are.equal(1, posts)
  end)

  it("lets the others run when it blocks in sleeping", function()
    local blocking = require("autopilot.core").sleep
    serve { started }
    local function send(request)
      coroutine.yield(time + 0.01)
      return transport(request)
    end
    local begun = calls(3, { sleep = blocking, transport = send })
    run()
    for _, task in ipairs(begun) do
      assert.are.equal("started", report_of(task).outcome)
    end
    assert.are.equal(1, #transport.requests)
  end)

  it("does not wait where that would stop the other for ever", function()
    local blocking = require("autopilot.core").sleep
    serve { started }
    local function send(request)
      coroutine.yield(time + 100)
      return transport(request)
    end
    local holder = coroutine.wrap(function()
      return client({ sleep = blocking, transport = send }):sync()
    end)
    holder()
    local report, failure = client({ sleep = blocking, transport = send }):sync()
    assert.is_nil(report)
    assert.are.equal("in_progress", failure.outcome)
    assert.is_true(failure.retry_at > start)
    assert.are.equal("started", holder().outcome)
  end)

  it("keeps nobody waiting through a long wait between two attempts", function()
    serve { { status = 429, headers = { ["Retry-After"] = "170" } }, started }
    local patient = calls(1)
    local other = spawn(function()
      sleep(0.1)
      return client({ retry = retry.never() }):sync()
    end)
    run()
    assert.are.equal("throttled", report_of(other).outcome)
    assert.is_true(other.ended < start + 1)
    assert.are.equal("started", report_of(patient[1]).outcome)
  end)

  it("waits on while the other finds out what came of its lost request", function()
    local posts = 0
    local function send(request)
      if request.method == "POST" then
        posts = posts + 1
        sleep(60)
        return nil, { stage = "receive", name = "TIMEOUT", message = "", delivered = "unknown" }
      end
      sleep(50)
      local record = { trigger = start + 1, last_sync = start + 2, date = time }
      return scripted({ world.record(record) })(request)
    end
    local begun = calls(5, { transport = send })
    run()
    assert.are.equal(1, posts)
    for _, task in ipairs(begun) do
      assert.are.equal("started", report_of(task).outcome)
      assert.are.equal("status", report_of(task).confirmed_by)
    end
  end)

  it("does not wait without end for one that tries again and again", function()
    local stubborn = retry.policy {
      attempts = 1000,
      backoff = "constant",
      jitter = "none",
      base = 20,
      max_elapsed = 5000,
    }
    transport = function(request)
      return scripted({ { status = 500 } })(request)
    end
    calls(1, { retry = stubborn })
    local other = spawn(function()
      sleep(0.1)
      return client({ retry = retry.never() }):sync()
    end)
    run()
    assert.are.equal("unavailable", report_of(other).outcome)
    assert.is_true(report_of(other).joined)
    assert.is_true(other.ended < start + 310)
  end)

  it("is told of to the observer", function()
    local events = {}
    serve { started }
    calls(2, {
      on_event = function(event)
        events[#events + 1] = event.type == "joined" and event.outcome or nil
      end,
    })
    run()
    assert.are.same({ "started" }, events)
  end)
end)
