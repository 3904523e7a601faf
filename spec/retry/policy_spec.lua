local overlay = require "support.overlay"
local retry = require "autopilot.retry"

local function always(value)
  return function()
    return value
  end
end

local function never_asked()
  error "this was not due"
end

--- A question about the first failed attempt, in a world where everything is injected.
local function ask(policy, given)
  local question = { attempt = 1, elapsed = 0, random = always(0), clock = never_asked }
  question.now = never_asked
  overlay(question, given)
  if type(question.report) == "string" then
    question.report = { outcome = question.report }
  end
  return policy:decide(question)
end

local function reason(policy, given)
  local delay, why = ask(policy, given)
  assert.is_nil(delay)
  return why
end

--- The error for a mistake in the options, which must name the caller's line.
local function mistake(given)
  local line = debug.getinfo(1, "l").currentline + 2
  local ok, message = pcall(function()
    local made = retry.policy(given)
    return made
  end)
  assert.is_false(ok)
  assert.matches("policy_spec%.lua:" .. line .. ": autopilot%.retry%.policy: ", message)
  return message
end

describe("autopilot.retry.policy", function()
  it("has defaults for an action in the background", function()
    local policy = retry.policy()
    assert.equal(4, policy.attempts)
    assert.equal(2, policy.base)
    assert.equal(2, policy.factor)
    assert.equal(30, policy.cap)
    assert.equal("exponential", policy.backoff)
    assert.equal("full", policy.jitter)
    assert.equal(180, policy.max_retry_after)
    assert.is_nil(policy.max_elapsed)
    assert.is_nil(policy.budget)
  end)

  it("chooses the factor that fits the backoff, and a cap that does not undo the base", function()
    assert.equal(3, retry.policy({ backoff = "decorrelated" }).factor)
    assert.equal(5, retry.policy({ backoff = "decorrelated", factor = 5 }).factor)
    assert.equal(90, retry.policy({ base = 90 }).cap)
    assert.equal(10, retry.policy({ base = 90, cap = 10 }).cap)
  end)

  it("cannot be changed, neither by assignment nor through the table it was made from", function()
    local given = { attempts = 2, jitter = "none", on = { "cooldown" } }
    local policy = retry.policy(given)
    given.attempts, given.on[1] = 9, "forbidden"
    assert.equal(2, policy.attempts)
    assert.equal(2, ask(policy, { report = "cooldown" }))
    assert.has_error(function()
      policy.attempts = 9
    end, "a retry policy cannot be changed (assigning 'attempts')")
    assert.equal(2, policy.attempts)
    assert.is_nil(policy.on)
  end)

  it("describes itself in one line", function()
    assert.equal(
      "autopilot.retry.policy: 4 attempts, exponential backoff from 2 s to 30 s, full jitter",
      tostring(retry.policy())
    )
  end)
end)

describe("policy:decide", function()
  local plain = retry.policy { jitter = "none" }

  it("retries unreachable, unavailable and throttled, and nothing else unless asked to", function()
    for _, outcome in ipairs { "unreachable", "unavailable", "throttled" } do
      assert.equal(2, (ask(plain, { report = outcome })))
    end
    local others = "cooldown in_progress interrupted token_error unauthenticated forbidden"
      .. " not_licensed not_found rejected redirected unexpected sync_failed timed_out"
      .. " started completed fresh"
    for outcome in others:gmatch "%S+" do
      assert.equal("not_retryable", reason(plain, { report = outcome }))
    end
  end)

  it("does not retry where a file of authorities cannot be used", function()
    local report = { outcome = "unreachable", network = { name = "CURLE_SSL_CACERT_BADFILE" } }
    local delay, why = retry.policy():decide { attempt = 1, elapsed = 0, report = report }
    assert.is_nil(delay)
    assert.equal("not_retryable", why)
    report.network.name = "CURLE_COULDNT_CONNECT"
    assert.is_number(retry.policy():decide { attempt = 1, elapsed = 0, report = report })
  end)

  it("does not retry a report that it cannot read", function()
    for _, policy in ipairs { plain, retry.policy { on = { "cooldown" } } } do
      for _, report in ipairs { {}, 7, true, "timeout", { outcome = 0 / 0 }, { outcome = {} } } do
        local delay, why = policy:decide { attempt = 1, report = report }
        assert.is_nil(delay)
        assert.equal("not_retryable", why)
      end
      assert.equal("not_retryable", reason(policy, {}))
    end
  end)

  it("retries exactly the outcomes of a list", function()
    local policy = retry.policy { on = { "interrupted", "cooldown" } }
    assert.equal(0, (ask(policy, { report = "interrupted" })))
    assert.equal(0, (ask(policy, { report = "cooldown" })))
    assert.equal("not_retryable", reason(policy, { report = "unavailable" }))
    assert.equal("not_retryable", reason(policy, { report = {} }))
  end)

  it("takes a table of booleans for exceptions from the defaults", function()
    local policy = retry.policy { on = { interrupted = true, unavailable = false } }
    assert.equal(0, (ask(policy, { report = "interrupted" })))
    assert.equal("not_retryable", reason(policy, { report = "unavailable" }))
    assert.equal(0, (ask(policy, { report = "throttled" })))
    assert.equal("not_retryable", reason(policy, { report = "cooldown" }))
  end)

  it("lets a function decide alone, about any value", function()
    local seen = {}
    local policy = retry.policy {
      on = function(report)
        seen[#seen + 1] = report
        return report == "try again" or nil
      end,
    }
    assert.equal(0, (policy:decide { attempt = 1, report = "try again", random = always(0) }))
    local _, why = policy:decide { attempt = 1, report = { outcome = "throttled" } }
    assert.equal("not_retryable", why)
    assert.same({ "try again", { outcome = "throttled" } }, seen)
    local callable = setmetatable({}, { __call = always(true) })
    assert.equal(0, (ask(retry.policy { on = callable }, { report = "forbidden" })))
  end)

  it("stops after the last attempt", function()
    assert.equal(8, (ask(plain, { attempt = 3, report = "unavailable" })))
    assert.equal("attempts", reason(plain, { attempt = 4, report = "unavailable" }))
    assert.equal("attempts", reason(plain, { attempt = 1000000000, report = "unavailable" }))
    assert.equal("not_retryable", reason(plain, { attempt = 4, report = "forbidden" }))
  end)

  it("waits as long as the service asks, or longer if the backoff is longer", function()
    local function delay(retry_after, attempt)
      local report = { outcome = "throttled", retry_after = retry_after }
      return (ask(plain, { attempt = attempt, report = report }))
    end
    assert.equal(2.128, delay(2.128, 1))
    assert.equal(100, delay(100, 1))
    assert.equal(8, delay(2.128, 3))
    assert.equal(2, delay(0, 1))
  end)

  it("adds jitter to a Retry-After, and never shortens it", function()
    local policy = retry.policy {}
    local function delay(retry_after, draw)
      local report = { outcome = "throttled", retry_after = retry_after }
      return (ask(policy, { report = report, random = always(draw) }))
    end
    assert.equal(100, delay(100, 0))
    assert.equal(105, delay(100, 0.5)) -- a tenth of it
    assert.equal(11, delay(10, 0.5)) -- at least the base
    assert.equal(2.5, delay(1.5, 0.5))
    local strict = retry.policy { cap = 3 }
    local report = { outcome = "throttled", retry_after = 100 }
    assert.equal(101.5, (ask(strict, { report = report, random = always(0.5) }))) -- at most the cap
  end)

  it("stays finite with a Retry-After near the largest number", function()
    local policy = retry.policy { max_retry_after = 1.7e308, cap = 1.7e308 }
    local report = { outcome = "throttled", retry_after = 1.7e308 }
    assert.equal(1.7e308, (ask(policy, { report = report, random = always(1) })))
  end)

  it("gives up if a Retry-After is above the limit", function()
    local function report(retry_after)
      return { report = { outcome = "throttled", retry_after = retry_after } }
    end
    assert.equal(180, (ask(plain, report(180))))
    assert.equal("retry_after", reason(plain, report(180.001)))
    assert.equal("retry_after", reason(plain, report(math.huge)))
    assert.equal("retry_after", reason(retry.policy { max_retry_after = 0 }, report(1)))
  end)

  it("counts from retry_at if the report has only that", function()
    local function delay(report)
      report.outcome = "throttled"
      return (ask(plain, { report = report, now = always(1000) }))
    end
    assert.equal(60, delay { retry_at = 1060 })
    assert.equal(2, delay { retry_at = 900 })
    assert.equal(50, delay { retry_after = 50, retry_at = 1060 })
  end)

  it("ignores an invalid Retry-After", function()
    for _, value in ipairs { -1, 0 / 0, "100", {}, true } do
      assert.equal(2, (ask(plain, { report = { outcome = "throttled", retry_after = value } })))
      assert.equal(2, (ask(plain, { report = { outcome = "throttled", retry_at = value } })))
    end
  end)

  it("does not begin an attempt at or after max_elapsed", function()
    local policy = retry.policy { jitter = "none", max_elapsed = 10 }
    assert.equal(2, (ask(policy, { elapsed = 7.9, report = "unavailable" })))
    assert.equal("deadline", reason(policy, { elapsed = 8, report = "unavailable" }))
    assert.equal("deadline", reason(policy, { elapsed = 8.1, report = "unavailable" }))
    assert.equal("deadline", reason(policy, { elapsed = 1e300, report = "unavailable" }))
    local too_long = { outcome = "throttled", retry_after = 12 }
    assert.equal("deadline", reason(policy, { elapsed = -5, report = too_long }))
    local report = { outcome = "throttled", retry_after = 10 }
    assert.equal("deadline", reason(policy, { report = report }))
  end)

  it("does not begin an attempt at or after the caller's own deadline", function()
    assert.equal(2, (ask(plain, { remaining = 2.1, report = "unavailable" })))
    assert.equal("deadline", reason(plain, { remaining = 2, report = "unavailable" }))
    assert.equal("deadline", reason(plain, { remaining = -3, report = "unavailable" }))
    local policy = retry.policy { jitter = "none", max_elapsed = 10 }
    assert.equal("deadline", reason(policy, { remaining = 1, report = "unavailable" }))
  end)

  it("never misses a deadline only by jitter when the service named the time", function()
    local policy = retry.policy { max_elapsed = 110 }
    local report = { outcome = "throttled", retry_after = 100 }
    assert.equal(105, (ask(policy, { report = report, random = always(1) })))
    assert.equal(101, (ask(policy, { report = report, random = always(1), remaining = 102 })))
    assert.equal("deadline", reason(policy, { report = report, remaining = 100 }))
  end)

  it(
    "asks the budget only when nothing else speaks against the retry, and takes nothing",
    function()
      local budget = retry.budget { capacity = 1, refill = 0 }
      local policy = retry.policy { jitter = "none", budget = budget, attempts = 2 }
      assert.equal("not_retryable", reason(policy, { report = "forbidden" }))
      assert.equal("attempts", reason(policy, { attempt = 2, report = "unavailable" }))
      for _ = 1, 3 do
        assert.equal(2, (ask(policy, { report = "unavailable", clock = always(5) })))
      end
      assert.equal(1, budget:available(5))
      budget:take(5)
      assert.equal("budget", reason(policy, { report = "unavailable", clock = always(5) }))
    end
  )

  it("accepts any object with the two methods as a budget", function()
    local budget = { available = always(0.9), take = always(false) }
    local policy = retry.policy { budget = budget }
    assert.equal(budget, policy.budget)
    assert.equal("budget", reason(policy, { report = "unavailable", clock = always(5) }))
  end)

  it("passes the previous delay to the backoff", function()
    local policy = retry.policy { backoff = "decorrelated", jitter = "none" }
    assert.equal(15, (ask(policy, { report = "unavailable", previous_delay = 5 })))
  end)

  it("draws from math.random if there is neither a source nor the C module", function()
    local loaded, preload = package.loaded["autopilot.core"], package.preload["autopilot.core"]
    package.loaded["autopilot.core"] = nil
    package.preload["autopilot.core"] = never_asked
    local delay = retry.policy():decide { attempt = 1, report = { outcome = "unavailable" } }
    package.loaded["autopilot.core"] = { random = always(0.25) }
    local quarter = retry.policy():decide { attempt = 1, report = { outcome = "unavailable" } }
    package.loaded["autopilot.core"], package.preload["autopilot.core"] = loaded, preload
    assert.is_true(delay >= 0 and delay <= 2)
    assert.equal(0.5, quarter)
  end)

  it("raises at the caller's line for an invalid question", function()
    local line = debug.getinfo(1, "l").currentline + 2
    local _, message = pcall(function()
      local delay = plain:decide { atempt = 1 }
      return delay
    end)
    assert.matches("policy_spec%.lua:" .. line .. ": policy:decide: unknown option", message)
    assert.matches("did you mean 'attempt'", message)
    for _, attempt in ipairs { 0, 1.5, "1" } do
      assert.has_error(function()
        plain:decide { attempt = attempt }
      end)
    end
  end)
end)

describe("a mistake in the options of autopilot.retry.policy", function()
  it("is reported with the option, its rule and the value", function()
    assert.matches(
      "unknown option 'atempts' %(did you mean 'attempts'%?%)$",
      mistake { atempts = 3 }
    )
    assert.matches("option 'attempts' must be at least 1 %(got 0%)$", mistake { attempts = 0 })
    assert.matches("'attempts' must be a whole number", mistake { attempts = 2.5 })
    assert.matches("'base' must be at least 0", mistake { base = -1 })
    assert.matches("'factor' must be at least 1", mistake { factor = 0.5 })
    assert.matches("'cap' must be at least 0", mistake { cap = -1 })
    assert.matches("'max_elapsed' must be at least 0", mistake { max_elapsed = -1 })
    assert.matches("'max_retry_after' must be at least 0", mistake { max_retry_after = -1 })
    assert.matches("'base' must be a number", mistake { base = 0 / 0 })
    assert.matches("'cap' must be a number", mistake { cap = math.huge })
    assert.matches("'backoff' must be one of 'constant'", mistake { backoff = "cubic" })
    assert.matches("'jitter' must be one of 'none'", mistake { jitter = "half" })
    assert.matches("options must be a table %(got string%)$", mistake "patient")
  end)

  it(
    "is told for outcomes that do not exist or are no failures, in a list and in a table",
    function()
      local expected = "unknown option 'on%.trottled' %(did you mean 'on%.throttled'%?%)$"
      assert.matches(expected, mistake { on = { "trottled" } })
      assert.matches(expected, mistake { on = { trottled = true } })
      assert.matches("unknown option 'on%.started'$", mistake { on = { "started" } })
      assert.matches("'on%.throttled' must be a boolean", mistake { on = { throttled = "yes" } })
      assert.matches("unknown option 'on%.429'$", mistake { on = { 429 } })
    end
  )

  it("is raised for an outcome in 'on' that no failure has", function()
    local new_report = require("autopilot.sync.report").new
    for name in pairs(require("autopilot.sync.outcome").all) do
      if new_report({ outcome = name }).ok then
        assert.matches("unknown option 'on%." .. name .. "'", mistake { on = { name } })
      else
        assert.equal(0, (ask(retry.policy { on = { name } }, { report = name })))
      end
    end
  end)

  it("is raised for an 'on' that is ambiguous or empty", function()
    local expected = "option 'on' must be a list of outcomes, or a table {outcome = true or false}"
    assert.matches(expected, mistake { on = { "throttled", interrupted = true } })
    assert.matches(expected, mistake { on = {} })
    assert.matches(
      "'on' must be a table or a function %(got 'throttled'%)$",
      mistake { on = "throttled" }
    )
  end)

  it("is raised for an invalid budget", function()
    assert.matches("'budget' must be made by autopilot%.retry%.budget", mistake { budget = {} })
    assert.matches("'budget' must be a table %(got 5%)$", mistake { budget = 5 })
  end)
end)
