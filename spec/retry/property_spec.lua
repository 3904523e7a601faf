-- Random policies and random answers. A failing case names its seed; RETRY_SEED repeats it.
local policies = require "autopilot.retry.policy"
local retry = require "autopilot.retry"

local seed = tonumber(os.getenv "RETRY_SEED") or os.time() % 2147483646 + 1

--- A generator of our own (minimal standard), so that a seed means the same cases in every Lua.
local function generator(start)
  local state = start % 2147483647
  state = state == 0 and 1 or state
  local random = {}
  function random.unit()
    state = state * 16807 % 2147483647
    return (state - 1) / 2147483646
  end
  function random.chance(probability)
    return random.unit() < probability
  end
  function random.integer(low, high)
    return low + math.floor(random.unit() * (high - low + 1))
  end
  function random.pick(list)
    return list[random.integer(1, #list)]
  end
  --- Mostly plain, sometimes absurd.
  function random.size()
    return random.pick {
      0,
      random.unit(),
      random.integer(1, 100),
      1e9 * random.unit(),
      1e308,
      5e-324,
    }
  end
  return random
end

local outcomes =
  { "unreachable", "unavailable", "throttled", "cooldown", "interrupted", "forbidden" }
local reasons =
  { not_retryable = true, attempts = true, retry_after = true, deadline = true, budget = true }

local function random_options(random)
  local given = {
    attempts = random.pick { 1, 2, random.integer(1, 30), 1000000000 },
    backoff = random.pick(policies.backoffs),
    jitter = random.pick(policies.jitters),
    base = random.size(),
    cap = random.chance(0.8) and random.size() or nil,
    factor = random.pick { 1, 1 + random.unit(), 2, 3, 1e9, 1e308 },
    max_retry_after = random.chance(0.5) and random.size() or nil,
    max_elapsed = random.chance(0.5) and random.size() or nil,
    on = random.chance(0.5) and { interrupted = true, cooldown = true } or nil,
  }
  return given
end

local function random_report(random)
  local report = { outcome = random.pick(outcomes) }
  if random.chance(0.4) then
    report.retry_after = random.pick { random.size(), -1, 0 / 0, math.huge, "5" }
  end
  return report
end

local function is_asked_wait(value)
  return type(value) == "number" and value >= 0
end

--- Every field that can be read, and an answer: what must not change by being asked.
local function snapshot(policy)
  return ("%s %s %s %s"):format(
    tostring(policy),
    policy.factor,
    policy.max_retry_after,
    tostring(policy.max_elapsed)
  )
end

local function check_delay(policy, question, delay)
  local asked = question.report.retry_after
  assert(delay >= 0 and delay < math.huge, "not a finite delay")
  assert(question.attempt < policy.attempts, "an attempt too many")
  if is_asked_wait(asked) then
    assert(delay >= asked, "a Retry-After was shortened")
    assert(asked <= policy.max_retry_after, "a Retry-After above the limit was waited for")
    assert(delay <= math.max(policy.cap, asked + policy.cap), "more than the cap was added")
    assert(
      policy.jitter ~= "none" or delay == asked or delay <= policy.cap,
      "jitter without jitter"
    )
  else
    assert(delay <= policy.cap, "above the cap")
  end
  if policy.max_elapsed then
    assert(question.elapsed + delay <= policy.max_elapsed, "past max_elapsed")
  end
  if question.remaining then
    assert(delay < question.remaining, "past the deadline")
  end
end

local function check_decision(case_seed)
  local random = generator(case_seed)
  local policy = retry.policy(random_options(random))
  local question = {
    attempt = random.pick { 1, 2, random.integer(1, 40), 999999999, 1000000000 },
    elapsed = random.size(),
    previous_delay = random.chance(0.7) and random.size() or nil,
    remaining = random.chance(0.5) and random.size() or nil,
    report = random_report(random),
  }
  local draws_from = random.integer(1, 1000000)
  local function decide()
    question.random = generator(draws_from).unit
    return policy:decide(question)
  end
  local before = snapshot(policy)
  local delay, reason = decide()
  local again, reason_again = decide()
  assert(delay == again and reason == reason_again, "two answers to one question")
  assert(before == snapshot(policy), "the policy changed")
  if delay then
    assert(reason == nil, "a delay and a reason against it")
    check_delay(policy, question, delay)
  else
    assert(reasons[reason], "no reason was given")
  end
end

local function check_run(case_seed)
  local random = generator(case_seed)
  local given = random_options(random)
  given.attempts = random.integer(1, 30)
  local budget = random.chance(0.3) and retry.budget { capacity = 3, refill = random.unit() } or nil
  given.budget = budget
  local policy = retry.policy(given)
  local deadline = random.chance(0.7) and random.integer(1, 1000) or nil
  local time, slept, calls, budget_spent = 0, 0, 0, 0
  local _, report, reason = retry.run(policy, function()
    calls = calls + 1
    assert(calls == 1 or not deadline or time < deadline, "an attempt after the deadline")
    assert(calls == 1 or not policy.max_elapsed or time <= policy.max_elapsed, "after max_elapsed")
    if random.chance(0.3) then
      time = time + random.unit() * 10
    end
    return nil, random_report(random)
  end, {
    deadline = deadline,
    random = random.unit,
    clock = function()
      return time
    end,
    sleep = function(seconds)
      slept, time = slept + seconds, time + seconds
      budget_spent = budget_spent + 1
    end,
  })
  assert(calls <= policy.attempts, "an attempt too many")
  assert(reasons[reason] and report, "no reason was given")
  assert(not deadline or slept < deadline, "slept past the deadline")
  local granted = budget and 3 + math.floor(budget.refill * time + 1e-6)
  assert(not budget or budget_spent <= granted, "more retries than the budget has")
end

--- Runs the check with many seeds, and names the one that fails.
local function hold(check, count)
  local seeds = generator(seed)
  for case = 1, count do
    local case_seed = seeds.integer(1, 2147483646)
    local ok, failure = pcall(check, case_seed)
    if not ok then
      error(("RETRY_SEED=%d, case %d: %s"):format(seed, case, tostring(failure)), 0)
    end
  end
end

describe(("autopilot.retry with random policies and answers (seed %d)"):format(seed), function()
  it(
    "decides on delays that are finite, bounded, never less than asked, and always the same",
    function()
      hold(check_decision, 5000)
    end
  )

  it("runs that end, within their attempts, their deadline and their budget", function()
    hold(check_run, 2000)
  end)

  it(
    "spreads full jitter evenly around half of the delay, and equal jitter around three quarters",
    function()
      for jitter, share in pairs { full = 1 / 2, equal = 3 / 4 } do
        local random = generator(seed)
        local policy = retry.policy { jitter = jitter, base = 10 }
        local sum, count = 0, 10000
        for _ = 1, count do
          sum = sum
            + policy:decide {
              attempt = 1,
              report = { outcome = "unavailable" },
              random = random.unit,
            }
        end
        assert.near(10 * share, sum / count, 0.2) -- nearly seven standard errors
      end
    end
  )
end)
