-- The rate of requests: a service that throttles is asked less and recovers, an unreachable one is
-- hardly asked at all, and retries never become a storm.

local Circuit = require "autopilot.fleet.circuit"
local Pace = require "autopilot.fleet.pace"
local autopilot = require "autopilot"
local world = require "support.fleet_world"

describe("a host's pace", function()
  --- So many tenants, t1 and further, that are all throttled by what they asked at one moment; whether the
  -- last one slowed the pace.
  local function throttle_all(pace, count, asked, answered, retry_after)
    local is_slowed
    for index = 1, count do
      is_slowed = pace:throttle("t" .. index, asked, answered, retry_after)
    end
    return is_slowed
  end

  it("is not reduced for one tenant, however often it is throttled", function()
    local pace = Pace.new(64)
    for second = 1, 9 do
      assert.is_false(pace:throttle("t1", second, second + 0.2, 10))
    end
    assert.are.equal(64, pace.limit)
  end)

  it("is halved when several tenants are throttled, and pauses for their Retry-After", function()
    local pace = Pace.new(64)
    assert.is_false(throttle_all(pace, 5, 1, 1.1, 30))
    assert.is_true(pace:throttle("t6", 1, 1.3, 30))
    assert.are.equal(32, pace.limit)
    assert.near(31.3, pace.resume_at, 1e-9)
  end)

  it("is not reduced for a few throttled tenants in a hundred", function()
    local pace = Pace.new(64)
    for number = 1, 5000 do
      if number % 20 == 0 then
        assert.is_false(pace:throttle("t" .. number, number / 100, number / 100 + 0.1, 5))
      else
        pace:succeeded(number / 100)
      end
    end
    assert.are.equal(64, pace.limit)
  end)

  it("is not halved again by requests that were under way", function()
    local pace = Pace.new(64)
    for index = 1, 40 do
      pace:throttle("t" .. index, 1, 1 + index / 100, 30)
    end
    assert.are.equal(32, pace.limit)
  end)

  it("grows by one for each round of answers", function()
    local pace = Pace.new(64)
    throttle_all(pace, 6, 1, 1.1, 1)
    for _ = 1, 33 do
      pace:succeeded(5)
    end
    assert.is_true(pace.limit > 32.9 and pace.limit < 33.1)
    for _ = 1, 5000 do
      pace:succeeded(5)
    end
    assert.are.equal(64, pace.limit)
  end)

  it("is at least one request at a time", function()
    local pace = Pace.new(2)
    for round = 1, 9 do
      throttle_all(pace, 6, round * 100, round * 100 + 1)
    end
    assert.are.equal(1, pace.limit)
  end)

  it("ignores a tenant's own cooldown", function()
    assert.is_false(Pace.is_throttling(429, nil))
    assert.is_true(Pace.is_throttling(429, 5))
    assert.is_true(Pace.is_throttling(503, nil))
    assert.is_false(Pace.is_throttling(500, nil))
  end)
end)

describe("a circuit", function()
  it("opens after failures in a row, allows one trial, and closes when that succeeds", function()
    local circuit = Circuit.new(3, 10, 25)
    circuit:failed(1)
    circuit:failed(2)
    circuit:succeeded()
    assert.is_false(circuit:failed(3))
    assert.is_false(circuit:failed(4))
    assert.is_true(circuit:failed(5))
    assert.equal(15, circuit.retry_at)
    circuit:failed(15)
    assert.equal(35, circuit.retry_at)
    circuit:failed(35)
    assert.equal(60, circuit.retry_at)
    circuit:succeeded()
    assert.equal(-math.huge, circuit.retry_at)
  end)
end)

describe("a fleet whose service throttles all tenants", function()
  --- A world whose service is unavailable, and a fleet in it that reads no record.
  local function unavailable(given)
    local w = world.new()
    w.serve = function()
      return { status = 503, headers = {}, body = "" }
    end
    given.client = function(tenant)
      return { token = "token-" .. tenant, recover = false }
    end
    return w, w:fleet(given)
  end

  it("is slowed as a whole, loses no tenant, and recovers", function()
    local w = world.new()
    local serve, calm_at = w.serve, world.start + 20
    w.serve = function(request)
      if w.time < calm_at then
        return { status = 429, headers = { ["retry-after"] = "8" }, body = "{}" }
      end
      return serve(request)
    end
    local fleet = w:fleet { tenants = world.names(300), concurrency = 32 }
    local reports = world.collect(fleet)
    for name, report in pairs(reports) do
      assert.are.equal("started", report.outcome, name)
    end
    assert.is_true(#w:events_of "slowed_down" >= 2)
    local in_trouble = 0
    for _, request in ipairs(w.requests) do
      in_trouble = in_trouble + (request.at < calm_at - 0.2 and 1 or 0)
    end
    -- Unslowed it would have been 32 requests in each 0.2 s of 20 s.
    assert.is_true(in_trouble < 120, in_trouble)
    assert.is_true(w.time - calm_at < 60)
  end)

  it("makes few retries for each tenant, for any answer", function()
    local w, fleet = unavailable { tenants = world.names(400), concurrency = 16 }
    local reports = world.collect(fleet)
    local gave_up = 0
    for _, report in pairs(reports) do
      assert.are.equal("unavailable", report.outcome)
      gave_up = gave_up + (report.gave_up == "budget" and 1 or 0)
    end
    assert.is_true(gave_up > 200, gave_up)
    assert.is_true(#w.requests < 600, #w.requests)
  end)

  it("may have its own retry budget", function()
    local w, fleet = unavailable {
      tenants = world.names(50),
      retry_budget = autopilot.retry.budget { capacity = 5, refill = 0 },
    }
    world.collect(fleet)
    assert.are.equal(55, #w.requests)
  end)
end)

describe("a fleet with an unreachable authority", function()
  local function dead_for(host_part)
    local w = world.new()
    local inner, asked = w:transport(), 0
    local function transport(request)
      if request.url:find(host_part, 1, true) then
        asked = asked + 1
        local moment = w.time - world.start + 10
        coroutine.yield(moment)
        local failure =
          { stage = "connect", name = "CURLE_OPERATION_TIMEDOUT", message = "timeout" }
        failure.timeout, failure.delivered = true, "no"
        return nil, failure
      end
      local response, network = inner(request)
      return response, network
    end
    return w, transport, function()
      return asked
    end
  end

  it("asks it seldom, reports its tenants, and finishes the others soon", function()
    local w, transport, asked = dead_for "microsoftgraph.chinacloudapi.cn"
    local fleet = w:fleet {
      tenants = world.names(300),
      concurrency = 16,
      transport = transport,
      client = function(tenant)
        local is_dead = tonumber(tenant:match "%d+") % 3 == 0
        return { token = "token-" .. tenant, cloud = is_dead and "china" or "global" }
      end,
    }
    local last_good = 0
    local good, dead = 0, 0
    for _, report in fleet:run() do
      if report.ok then
        good, last_good = good + 1, w.time - world.start
      else
        dead = dead + 1
        assert.are.equal("unreachable", report.outcome)
        assert.are.equal("no", report.delivered)
      end
    end
    assert.are.equal(200, good)
    assert.are.equal(100, dead)
    assert.is_true(asked() < 100, asked()) -- each alone would have asked four times
    assert.is_true(last_good < 120, last_good)
    assert.is_true(w.time - world.start < 300)
    assert.is_true(#w:events_of "circuit_opened" >= 1)
  end)

  it("uses it again when it is reachable again", function()
    local w, transport = dead_for "graph.microsoft.com"
    local inner = w:transport()
    local back_at = w.time + 30
    local fleet = w:fleet {
      tenants = world.names(60),
      concurrency = 16,
      transport = function(request)
        local response, network = (w.time < back_at and transport or inner)(request)
        return response, network
      end,
    }
    local reports = world.collect(fleet)
    for name, report in pairs(reports) do
      assert.are.equal("started", report.outcome, name)
    end
  end)

  it("asks less often for a tenant whose requests all fail, and reports the answer", function()
    local w, asked_at = world.new(), {}
    w.serve = function()
      asked_at[#asked_at + 1] = w.time
      return { status = 500, headers = { ["request-id"] = "r" .. #asked_at }, body = "" }
    end
    local retry = autopilot.retry.policy { attempts = 8, jitter = "none" }
    local client = { token = "token-t1", retry = retry }
    local fleet = w:fleet { tenants = { "t1" }, client = client }
    local report = world.collect(fleet).t1
    assert.are.same({ "unavailable", 500, "r8", "attempts" }, {
      report.outcome,
      report.status,
      report.request_id,
      report.gave_up,
    })
    assert.are.equal(8, #asked_at)
    for number = 6, 8 do
      assert.is_true(asked_at[number] - asked_at[number - 1] >= 30)
    end
  end)

  it("stops asking for a tenant whose requests all fail", function()
    local w = world.new()
    local serve, asked = w.serve, 0
    w.serve = function(request)
      if request.headers["Authorization"]:find("token-t2", 1, true) then
        asked = asked + 1
        return { status = 500, headers = {}, body = "" }
      end
      return serve(request)
    end
    local fleet = w:fleet {
      tenants = world.names(3),
      operation = "wait",
      arguments = { timeout = 3000 },
    }
    for _, name in ipairs(world.names(3)) do
      assert(w.service:trigger(name))
    end
    local reports = world.collect(fleet)
    assert.are.equal("completed", reports.t1.outcome)
    assert.is_false(reports.t2.ok)
    assert.is_true(asked < 40, asked)
  end)
end)
