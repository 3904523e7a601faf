-- A call whose deadline was over, or that died, while it held the claim: another call continues its work.

local overlapping_calls = require "support.overlapping_calls"
local overlay = require "support.overlay"
local retry = require "autopilot.retry"
local scripted = require "autopilot.transport.scripted"
local world = require "support.virtual_world"

local start, started = overlapping_calls.start, overlapping_calls.started
local report_of = overlapping_calls.report_of

local overlap, posts, reads

--- The service's part in a story: posts take so long that a short deadline cuts them off; reads are
-- answered with the record at hand, or fail where there is none.
---@param story { trigger: number?, status: string?, stage: string?, delivered: string?, answers: table? }
local function send_in(story)
  return function(request)
    local is_post = request.method == "POST"
    posts, reads = posts + (is_post and 1 or 0), reads + (is_post and 0 or 1)
    if not is_post then
      if request.timeout.total < 0.2 then
        overlap:sleep(request.timeout.total)
        return nil, { stage = "receive", name = "TIMEOUT", message = "", timeout = true }
      end
      overlap:sleep(0.2)
      if not story.trigger then
        return { status = 503 }
      end
      local trigger = overlap.time >= story.trigger and story.trigger or start - 5000
      local record = {
        trigger = trigger,
        last_sync = story.status == "failed" and start - 4999 or trigger + 0.1,
        status = story.status,
        date = overlap.time,
      }
      return scripted({ world.record(record) })(request)
    elseif story.answers and story.answers[posts] then
      overlap:sleep(0.2)
      return scripted({ story.answers[posts] })(request)
    end
    overlap:sleep(request.timeout.total)
    return nil,
      {
        stage = story.stage or "receive",
        name = "TIMEOUT",
        message = "",
        timeout = true,
        delivered = story.delivered or "unknown",
      }
  end
end

--- One call with little time, and so many that have enough; all begin together.
local function hasty_and_patient(story, count, given, options)
  local transport = send_in(story)
  local hasty = overlap:calls(1, { transport = transport }, { deadline = 2 })[1]
  local of_patient = overlay({ transport = transport }, given)
  local patient = overlap:calls(count, of_patient, options)
  overlap:run()
  return hasty, patient
end

describe("a call that waited for one whose deadline has passed", function()
  before_each(function()
    overlap = overlapping_calls.new()
    posts, reads = 0, 0
  end)

  it("reads the record for the lost request, and finds the sync that it started", function()
    local hasty, patient = hasty_and_patient({ trigger = start + 1 }, 5)
    assert.are.equal("interrupted", report_of(hasty).outcome)
    assert.are.equal(1, posts)
    assert.are.equal(1, reads)
    for _, task in ipairs(patient) do
      local report = report_of(task)
      assert.are.equal("started", report.outcome)
      assert.are.equal("status", report.confirmed_by)
      assert.are.equal("yes", report.delivered)
      assert.are.equal("client", report.answered_by)
      assert.is_true(report.joined)
      assert.are.same({}, report.attempts)
      assert.is_nil(report.network)
      assert.is_true(task.ended < start + 3)
    end
  end)

  it("posts when the record shows that nothing was started", function()
    local story = { trigger = start - 5000, answers = { false, started } }
    local hasty, patient = hasty_and_patient(story, 5)
    assert.are.equal("interrupted", report_of(hasty).outcome)
    assert.are.equal(2, posts)
    assert.are.equal(1, reads)
    local posted = 0
    for _, task in ipairs(patient) do
      assert.are.equal("started", report_of(task).outcome)
      posted = posted + #report_of(task).attempts
    end
    assert.are.equal(1, posted)
  end)

  it("does not report that request as its own when it ended before this call", function()
    local delete_if = overlap.store.delete_if
    overlap.store.delete_if = function(...) -- the claim of the first call outlasts its answer
      if overlap.time < start + 2.5 then
        return nil, "down"
      end
      return delete_if(...)
    end
    local transport = send_in { trigger = start + 1 }
    overlap:calls(1, { transport = transport }, { deadline = 2 })
    local early = overlap:calls(1, { transport = transport })[1]
    local late = overlap:spawn(function()
      overlap:sleep(3)
      return overlap:client({ transport = transport }):sync()
    end)
    overlap:run()
    assert.are.equal(1, posts)
    assert.are.equal("started", report_of(early).outcome)
    assert.is_true(report_of(early).joined)
    assert.are.equal("cooldown", report_of(late).outcome)
    assert.is_nil(report_of(late).joined)
    assert.is_nil(report_of(late).client_request_id)
  end)

  it("reports the cooldown when the record shows an earlier sync", function()
    local _, patient = hasty_and_patient({ trigger = start - 100 }, 5, { retry = retry.never() })
    assert.are.equal(1, posts)
    for _, task in ipairs(patient) do
      assert.are.equal("cooldown", report_of(task).outcome)
      assert.is_true(report_of(task).retry_at > start + 400)
    end
  end)

  it(
    "takes the lost request's answer where the record cannot be read, and one reads for all",
    function()
      local _, patient = hasty_and_patient({}, 5)
      assert.are.equal(1, posts)
      assert.are.equal(4, reads) -- as often as the policy says
      for _, task in ipairs(patient) do
        assert.are.equal("interrupted", report_of(task).outcome)
        assert.are.equal("unknown", report_of(task).delivered)
        assert.is_true(report_of(task).joined)
      end
    end
  )

  it("passes on in the same way what it had no time for", function()
    local transport = send_in { trigger = start + 1 }
    overlap:calls(2, { transport = transport }, { deadline = 2 })
    local third = overlap:calls(1, { transport = transport }, { deadline = 2.1 })[1]
    local last = overlap:calls(1, { transport = transport })[1]
    overlap:run()
    assert.are.equal(1, posts)
    assert.is_true(third.ended <= start + 2.101)
    assert.are.equal("started", report_of(last).outcome)
  end)

  it("reads the record for a call that was not to read it", function()
    local transport = send_in { trigger = start + 1 }
    local blind = overlap:calls(1, { transport = transport, recover = false, retry = false })[1]
    local other = overlap:calls(1, { transport = transport })[1]
    overlap:run()
    assert.are.equal("interrupted", report_of(blind).outcome)
    assert.are.equal("started", report_of(other).outcome)
    assert.are.equal(1, posts)
  end)

  it("adopts the answer to the other's last request, although one before it was lost", function()
    local story = { trigger = start - 5000, answers = { false, started } } -- the record is out of date
    local transport = send_in(story)
    local eager = retry.policy { on = { interrupted = true }, base = 1, jitter = "none" }
    local blind = { transport = transport, recover = false, retry = eager, timeout = { total = 2 } }
    overlap:calls(1, blind)
    local other = overlap:calls(1, { transport = transport })[1]
    overlap:run()
    assert.are.equal(0, reads)
    assert.are.equal(2, posts)
    assert.are.equal("started", report_of(other).outcome)
    assert.are.equal("response", report_of(other).confirmed_by)
  end)

  it("reads it also if an earlier request of the other has arrived, and was refused", function()
    local story = { trigger = start + 3, answers = { { status = 409 } } }
    local transport = send_in(story)
    local eager = retry.policy { on = { in_progress = true }, base = 1, jitter = "none" }
    overlap:calls(1, { transport = transport, retry = eager }, { deadline = 5 })
    local patient = overlap:calls(3, { transport = transport, retry = retry.never() })
    overlap:run()
    assert.are.equal(2, posts)
    for _, task in ipairs(patient) do
      assert.are.equal("started", report_of(task).outcome)
      assert.are.equal("yes", report_of(task).delivered)
    end
  end)

  it(
    "says of its own requests in ensure whether they were delivered, not of the other's",
    function()
      local transport = send_in { trigger = start + 1, status = "failed" }
      overlap:calls(1, { transport = transport }, { deadline = 2 })
      local waiting = overlap:spawn(function()
        return overlap:client({ transport = transport }):ensure { timeout = 20 }
      end)
      overlap:run()
      local report = report_of(waiting)
      assert.are.equal("sync_failed", report.outcome)
      assert.are.equal("no", report.delivered)
    end
  )

  it("does not read it if its own options forbid that", function()
    local _, patient = hasty_and_patient({ trigger = start + 1 }, 3, { recover = false })
    assert.are.equal(0, reads)
    for _, task in ipairs(patient) do
      assert.are.equal("interrupted", report_of(task).outcome)
    end
  end)

  it("accepts only a sync since its own moment as its own", function()
    local transport = send_in { trigger = start + 0.3 }
    overlap:calls(1, { transport = transport }, { deadline = 2 })
    local later
    overlap:spawn(function()
      overlap:sleep(0.5)
      local old = { trigger = start - 5000, last_sync = start - 4999, date = start }
      later = overlap:spawn(function()
        local has_read = false
        return overlap
          :client({
            transport = function(request)
              if request.method == "GET" and not has_read then
                has_read = true
                return scripted({ world.record(old) })(request)
              end
              return transport(request)
            end,
          })
          :ensure { timeout = 60 }
      end)
    end)
    overlap:run()
    assert.are.equal(1, posts)
    assert.are.equal("cooldown", report_of(later).outcome)
  end)

  it("posts if nothing was sent, after any number of others without time", function()
    local story = { stage = "connect", delivered = "no", answers = { false, false, started } }
    local transport = send_in(story)
    overlap:calls(1, { transport = transport }, { deadline = 1 })
    overlap:calls(1, { transport = transport }, { deadline = 2 })
    local patient = overlap:calls(5, { transport = transport, retry = false })
    overlap:run()
    assert.are.equal(3, posts)
    for _, task in ipairs(patient) do
      assert.are.equal("started", report_of(task).outcome)
    end
  end)
end)

describe("a sync that a third client started after the lost request had ended", function()
  local of_graph = { ["Date"] = world.date(start), ["request-id"] = "the-service's" }
  local refusal = { status = 409, headers = of_graph }
  local eager = retry.policy { on = { in_progress = true }, base = 40, cap = 40, jitter = "none" }
  local readers

  --- A call; the record that it reads shows a sync that was triggered at 43 s.
  local function begin(name, options, policy)
    local send = send_in { answers = { refusal } }
    local function transport(request)
      if request.method == "POST" then
        return send(request)
      end
      readers[#readers + 1] = name
      overlap:sleep(3)
      local record = { trigger = start + 43, last_sync = start + 43.1, date = overlap.time }
      local answer = world.record(record)
      answer.headers["request-id"] = "the-service's" -- so that its Date is the service's
      return scripted({ answer })(request)
    end
    return overlap:calls(1, { retry = policy, transport = transport }, options)[1]
  end

  it("is not credited to the request because another one of the reader's had arrived", function()
    overlap, posts, reads, readers = overlapping_calls.new(), 0, 0, {}
    local reading = begin("reading", nil, eager)
    local waiting
    overlap:spawn(function()
      overlap:sleep(39)
      begin("hasty", { deadline = 2 }) -- its request is lost at 41 s
      overlap:sleep(1.5)
      waiting = begin "waiting"
    end)
    overlap:run()
    assert.are.equal(2, posts)
    assert.are.same({ "reading" }, readers)
    assert.are.equal("started", report_of(reading).outcome)
    assert.are.equal("yes", report_of(reading).delivered) -- its first request was answered
    assert.are.equal("started", report_of(waiting).outcome)
    assert.are.equal("status", report_of(waiting).confirmed_by)
    assert.are.equal("unknown", report_of(waiting).delivered)
    assert.is_true(report_of(waiting).joined)
  end)
end)

describe("a call that continues after one that died", function()
  before_each(function()
    overlap = overlapping_calls.new()
    posts, reads = 0, 0
  end)

  it("reads the record once, even if that outlasts every claim", function()
    local function send(request)
      if request.method == "POST" then
        posts = posts + 1
        overlap:sleep(0.1)
        return scripted({ started })(request)
      end
      reads = reads + 1
      overlap:sleep(200) -- it was allowed 60
      return { status = 503 }
    end
    local victim = overlap:calls(1, {
      transport = function()
        overlap:sleep(1000)
      end,
    })[1]
    overlap:spawn(function()
      overlap:sleep(1)
      victim.is_killed = true
    end)
    local follower = overlap:calls(1, { transport = send })[1]
    overlap:run()
    assert.are.equal(1, reads)
    assert.are.equal("started", report_of(follower).outcome)
  end)
end)
