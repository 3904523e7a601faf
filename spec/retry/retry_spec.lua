local retry = require "autopilot.retry"

local function decide(policy, report, attempt, draw)
  return policy:decide {
    attempt = attempt or 1,
    report = report,
    random = function()
      return draw or 0
    end,
  }
end

local function reason(...)
  local delay, why = decide(...)
  assert.is_nil(delay)
  return why
end

describe("autopilot.retry.never", function()
  it("allows the first attempt only", function()
    assert.equal("attempts", reason(retry.never(), { outcome = "unreachable" }))
    assert.equal("not_retryable", reason(retry.never(), { outcome = "forbidden" }))
  end)
end)

describe("autopilot.retry.graph", function()
  local graph = retry.graph()

  it("makes three retries after 3, 6 and 12 s", function()
    local report = { outcome = "unavailable", status = 503 }
    assert.equal(3, (decide(graph, report, 1)))
    assert.equal(6, (decide(graph, report, 2)))
    assert.equal(12, (decide(graph, report, 3)))
    assert.equal("attempts", reason(graph, report, 4))
  end)

  it("retries 429, 503 and 504, and nothing else", function()
    assert.equal(3, (decide(graph, { outcome = "throttled", status = 429 })))
    assert.equal(3, (decide(graph, { outcome = "cooldown", status = 429 })))
    assert.equal(3, (decide(graph, { outcome = "unavailable", status = 504 })))
    assert.equal(3, (decide(graph, { outcome = "unavailable" }))) -- a function's report without one
    local others = {
      { outcome = "unavailable", status = 500 },
      { outcome = "unavailable", status = 502 },
      { outcome = "in_progress", status = 409 },
      { outcome = "unreachable" },
      { outcome = "interrupted", status = 503 },
      { outcome = "forbidden", status = 403 },
      {},
    }
    for _, report in ipairs(others) do
      assert.equal("not_retryable", reason(graph, report))
    end
    assert.equal("not_retryable", reason(graph, "503"))
  end)

  it("honours a Retry-After up to 180 s", function()
    assert.equal(180, (decide(graph, { outcome = "throttled", status = 429, retry_after = 180 })))
    assert.equal("retry_after", reason(graph, { outcome = "throttled", retry_after = 181 }))
  end)

  it("accepts options that replace its own", function()
    local policy = retry.graph { attempts = 2, on = { unreachable = true, throttled = false } }
    assert.equal(3, (decide(policy, { outcome = "unreachable" })))
    assert.equal("not_retryable", reason(policy, { outcome = "throttled", status = 429 }))
    assert.equal(3, (decide(policy, { outcome = "unavailable", status = 503 })))
    assert.equal("not_retryable", reason(policy, { outcome = "unavailable", status = 500 }))
    assert.equal("attempts", reason(policy, { outcome = "unreachable" }, 2))
  end)
end)

describe("autopilot.retry.patient", function()
  local patient = retry.patient()

  it("waits as long as the report says for a cooldown or a sync in progress", function()
    for _, outcome in ipairs { "cooldown", "in_progress" } do
      assert.equal(432.5, (decide(patient, { outcome = outcome, retry_after = 432.5 })))
      local latest = decide(patient, { outcome = outcome, retry_after = 432.5 }, 1, 1)
      assert.is_true(latest > 432.5 and latest <= 492.5)
    end
  end)

  it("waits the whole interval and a margin when the report does not say", function()
    for _, outcome in ipairs { "cooldown", "in_progress" } do
      assert.equal(610, (decide(patient, { outcome = outcome })))
    end
    assert.equal(
      5,
      (decide(retry.patient { jitter = "none", base = 5 }, { outcome = "throttled" }))
    )
  end)

  it("retries and refuses the same other failures as the default policy", function()
    for _, outcome in ipairs { "unreachable", "unavailable", "throttled" } do
      assert.is_number((decide(patient, { outcome = outcome })))
    end
    for _, outcome in ipairs { "interrupted", "token_error", "forbidden", "rejected" } do
      assert.equal("not_retryable", reason(patient, { outcome = outcome }))
    end
    assert.equal("not_retryable", reason(patient, "cooldown"))
  end)

  it("gives up after an hour, or another limit", function()
    local report = { outcome = "cooldown" }
    local _, why = patient:decide { attempt = 2, elapsed = 2991, report = report }
    assert.equal("deadline", why)
    assert.equal("attempts", reason(retry.patient { attempts = 2 }, report, 2))
    assert.equal("retry_after", reason(retry.patient { max_retry_after = 60 }, report))
    assert.equal("not_retryable", reason(retry.patient { on = { cooldown = false } }, report))
    assert.equal(610, (decide(retry.patient { on = { interrupted = true } }, report)))
  end)
end)

describe("a mistake in the options of a preset", function()
  it("raises at the caller's line, naming the preset", function()
    for _, name in ipairs { "graph", "patient" } do
      local line = debug.getinfo(1, "l").currentline + 2
      local ok, message = pcall(function()
        local made = retry[name] { atempts = 1 }
        return made
      end)
      assert.is_false(ok)
      local expected = "retry_spec%%.lua:%d: autopilot%%.retry%%.%s: unknown option 'atempts'"
      assert.matches(expected:format(line, name), message)
    end
  end)

  it("is to call it with a colon", function()
    local loaded = require "autopilot.retry" -- busted loads modules anew for each file
    local line = debug.getinfo(1, "l").currentline + 2
    local _, message = pcall(function()
      local made = loaded:graph {}
      return made
    end)
    local expected = "retry_spec%%.lua:%d: autopilot%%.retry%%.graph: was called with a colon"
    assert.matches(expected:format(line), message)
  end)
end)

describe("autopilot.retry.parse_retry_after", function()
  it("reads seconds, fractions and dates", function()
    assert.equal(120, retry.parse_retry_after("120", 1000))
    assert.equal(2.128, retry.parse_retry_after("2.128", 1000))
    assert.equal(37, retry.parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT", 784111740))
    assert.is_nil(retry.parse_retry_after("soon", 1000))
    assert.is_nil(retry.parse_retry_after("-1", 1000))
  end)

  it("gives nil for a missing header", function()
    assert.is_nil(retry.parse_retry_after(nil, 1000))
    assert.is_nil(retry.parse_retry_after({}, 1000))
  end)
end)

describe("autopilot.retry", function()
  it("can be loaded and used without the C module", function()
    local loaded, preload = package.loaded["autopilot.core"], package.preload["autopilot.core"]
    package.loaded["autopilot.core"] = nil
    package.preload["autopilot.core"] = function()
      error "the C module was loaded"
    end
    local modules = { "", ".policy", ".budget", ".run", ".backoff" }
    for _, name in ipairs(modules) do
      package.loaded["autopilot.retry" .. name] = nil
    end
    local ok, failure = pcall(function()
      local fresh = require "autopilot.retry"
      assert.is_number((fresh.policy():decide { attempt = 1, report = { outcome = "throttled" } }))
      assert.is_true(fresh.budget({ capacity = 1, refill = 1 }):take(0))
    end)
    package.loaded["autopilot.core"], package.preload["autopilot.core"] = loaded, preload
    assert(ok, failure)
  end)
end)
