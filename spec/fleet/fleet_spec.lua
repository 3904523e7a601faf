-- A fleet: every tenant has its report, independent of the others, and waiting tenants delay no other.

local autopilot = require "autopilot"
local mistakes = require "support.mistakes"
local world = require "support.fleet_world"

local function outcomes(reports)
  local found = {}
  for name, report in pairs(reports) do
    found[name] = report.outcome
  end
  return found
end

local function all_started(count)
  local expected = {}
  for _, name in ipairs(world.names(count)) do
    expected[name] = "started"
  end
  return expected
end

describe("a fleet's tenants", function()
  it("come from a list, and each has one report", function()
    local w = world.new()
    local fleet = w:fleet { tenants = world.names(50), concurrency = 7 }
    assert.are.same(all_started(50), outcomes(world.collect(fleet)))
    assert.are.equal(50, fleet.summary.total)
    assert.are.equal(50, fleet.summary.ok)
    assert.are.same({ started = 50 }, fleet.summary.by_outcome)
    assert.are.equal(50, #w.requests)
  end)

  it("come from an iterator that is read only as far as needed", function()
    local w, read, most_ahead = world.new(), 0, 0
    local fleet
    fleet = w:fleet {
      tenants = function()
        read = read + 1
        most_ahead = math.max(most_ahead, read - (fleet:progress().done + w.in_flight))
        return read <= 200 and "t" .. read or nil
      end,
      concurrency = 10,
    }
    assert.is_nil(fleet:progress().total)
    local reports = world.collect(fleet)
    assert.are.same(all_started(200), outcomes(reports))
    assert.is_true(most_ahead <= 1)
  end)

  it("come from a function that makes an iterator or a list", function()
    for _, make in ipairs {
      function()
        local index = 0
        return function()
          index = index + 1
          return world.names(3)[index]
        end
      end,
      function()
        return world.names(3)
      end,
    } do
      local w = world.new()
      assert.are.same(all_started(3), outcomes(world.collect(w:fleet { tenants = make })))
    end
  end)

  it("are passed unchanged to the callbacks", function()
    local w = world.new()
    local tenants = { { tenant = "t1", note = 1 }, { tenant = "t2", note = 2 } }
    local seen = {}
    for tenant, report in w:fleet({ tenants = tenants }):run() do
      seen[tenant] = report.tenant
    end
    assert.are.same({ [tenants[1]] = "t1", [tenants[2]] = "t2" }, seen)
  end)

  it("may be an empty list", function()
    local w = world.new()
    local summary = w:fleet({ tenants = {} }):run { on_report = error }
    assert.are.equal(0, summary.total)
  end)

  it("may include values that are not tenants: these are reported, and the others go on", function()
    local w = world.new()
    local reports = {}
    for tenant, report in w:fleet({ tenants = { "t1", 7, {}, "", "t2" } }):run() do
      reports[#reports + 1] = { tenant, report.outcome, report.delivered }
    end
    assert.are.equal(5, #reports)
    local wrong = 0
    for _, entry in ipairs(reports) do
      if entry[2] == "unexpected" then
        wrong = wrong + 1
        assert.are.equal("no", entry[3])
      end
    end
    assert.are.equal(3, wrong)
  end)

  it("that came before the source raised have their reports before the error is raised", function()
    local w, read = world.new(), 0
    local fleet = w:fleet {
      tenants = function()
        read = read + 1
        if read > 5 then
          error("the list ends in the middle", 0)
        end
        return "t" .. read
      end,
    }
    local count = 0
    local ok, message = pcall(function()
      for _ in fleet:run() do
        count = count + 1
      end
    end)
    assert.is_false(ok)
    assert.are.equal("the list ends in the middle", message)
    assert.are.equal(5, count)
  end)
end)

describe("a fleet", function()
  it("says what to write instead, at the caller's line", function()
    local fleet = world.new():fleet { tenants = {} }
    local given = { tenants = {}, client = { token = "t" } }
    for told, wrong in pairs {
      ["fleet.run: was called with a full stop: write a colon, as in fleet:run {}"] = fleet.run,
      ["fleet.cancel: was called with a full stop: "] = fleet.cancel,
      ["fleet.progress: was called with a full stop: "] = fleet.progress,
      ["fleet.close: was called with a full stop: "] = fleet.close,
      ["autopilot.fleet: was called with a colon: write a full stop in its place"] = function()
        autopilot:fleet(given)
      end,
      ["autopilot.client: unknown option 'tokn' (did you mean 'token'?)"] = function()
        local made = autopilot.fleet { tenants = { "t" }, client = { tokn = "t" } }
        return made
      end,
      ["autopilot.client: option 'token' must be what autopilot.token.azure_cli(…)"] = function()
        local made =
          autopilot.fleet { tenants = {}, client = { token = autopilot.token.azure_cli } }
        return made
      end,
    } do
      local message = mistakes.raised(function()
        wrong { deadline = 5 }
      end)
      assert.matches("^spec/fleet/fleet_spec%.lua:%d+: ", message)
      assert.truthy(message:find(told, 1, true), message)
    end
  end)

  it("takes client options that go with its own transport only", function()
    local given = {
      tenants = { "t" },
      client = {
        token = function() end,
        base_url = "http://127.0.0.1:1",
        http = { proxy = "http://proxy:3128" },
      },
    }
    local message = mistakes.raised(function()
      autopilot.fleet(given)
    end)
    assert.matches("option 'http.proxy' cannot be used with an http base_url", message)
    given.transport = autopilot.transport.scripted {}
    assert.truthy(autopilot.fleet(given))
  end)

  it("has at most the given number of requests under way", function()
    local w = world.new()
    world.collect(w:fleet { tenants = world.names(100), concurrency = 10 })
    assert.are.equal(10, w.most_in_flight)
    assert.is_true(w.time - world.start <= 10 * 0.2 + 0.01)
  end)

  it("has at most the given number for each host", function()
    local w, now_at, most = world.new(), {}, 0
    w.latency = function(request)
      local host = request.url:match "^%a+://([^/]*)"
      now_at[host] = (now_at[host] or 0) + 1
      most = math.max(most, now_at[host])
      return 0.2
    end
    local inner = w:transport()
    local fleet = w:fleet {
      tenants = world.names(40),
      concurrency = 10,
      host_concurrency = 3,
      client = function(tenant)
        local cloud = tonumber(tenant:match "%d+") % 2 == 0 and "global" or "china"
        return { token = "token-" .. tenant, cloud = cloud }
      end,
      transport = function(request)
        local response, network = inner(request)
        local host = request.url:match "^%a+://([^/]*)"
        now_at[host] = now_at[host] - 1
        return response, network
      end,
    }
    world.collect(fleet)
    assert.are.equal(3, most)
    assert.are.equal(6, w.most_in_flight)
  end)

  it("lets a sleeping tenant hold no place", function()
    local w = world.new()
    for _, name in ipairs(world.names(20)) do
      assert(w.service:trigger(name))
    end
    w.time = w.time + 1
    -- Twenty wait for nearly ten minutes each; one place is enough for all who need not.
    local fleet = w:fleet {
      tenants = world.names(60),
      concurrency = 1,
      operation = "ensure",
      arguments = { wait = false },
    }
    local waiting = w:fleet {
      tenants = world.names(60),
      concurrency = 2,
      operation = "ensure",
      arguments = { timeout = 1000 },
    }
    local reports, order = world.collect(waiting)
    for index = 1, 40 do
      assert.is_true(tonumber(order[index]:match "%d+") > 20)
    end
    for _, report in pairs(reports) do
      assert.are.equal("completed", report.outcome)
    end
    assert.is_true(w.time - world.start < 700)
    assert.are.equal(60, fleet:run({ on_report = function() end }).total)
  end)

  it("counts its progress", function()
    local w, fleet, most_asleep = world.new(), nil, 0
    for _, name in ipairs(world.names(5)) do
      assert(w.service:trigger(name))
    end
    w.time = w.time + 1
    fleet = w:fleet {
      tenants = world.names(10),
      operation = "ensure",
      on_event = function()
        most_asleep = math.max(most_asleep, fleet:progress().asleep)
      end,
    }
    local done = 0
    for _ in fleet:run() do
      local progress = fleet:progress()
      done = done + 1
      assert.are.equal(10, progress.total)
      assert.is_true(progress.done >= done and progress.failed == 0)
    end
    assert.are.equal(0, fleet:progress().in_flight)
    assert.are.equal(0, fleet:progress().asleep)
    assert.is_true(most_asleep >= 5)
  end)

  it("runs a function for each tenant, with its arguments", function()
    local w, seen = world.new(), {}
    local fleet = w:fleet {
      tenants = world.names(3),
      operation = function(client, tenant, arguments)
        seen[tenant] = arguments.number
        local report, failure = client:status()
        return report, failure
      end,
      arguments = function(tenant)
        return { number = tonumber(tenant:match "%d+") }
      end,
    }
    local reports = world.collect(fleet)
    assert.are.same({ t1 = 1, t2 = 2, t3 = 3 }, seen)
    assert.is_true(reports.t1.ok and reports.t1.operation == "status")
  end)

  it("shares options between clients that differ only in token and name", function()
    local w = world.new()
    local fleet = w:fleet {
      tenants = world.names(6),
      client = function(tenant)
        local number = tonumber(tenant:match "%d+")
        local cloud = number > 3 and "us_gov" or "global"
        return {
          token = "token-" .. tenant,
          cloud = cloud,
          timeout = { total = number > 4 and 7 or 60 },
        }
      end,
      concurrency = 1,
    }
    world.collect(fleet)
    local hosts, totals = {}, {}
    for index, request in ipairs(w.requests) do
      hosts[index], totals[index] = request.host, request.timeout.total
    end
    local global, gov = "graph.microsoft.com", "graph.microsoft.us"
    assert.are.same({ global, global, global, gov, gov, gov }, hosts)
    assert.are.same({ 60, 60, 60, 60, 7, 7 }, totals)
  end)

  it("can be run again, and not twice at a time", function()
    local w = world.new()
    local fleet = w:fleet { tenants = world.names(3), operation = "status" }
    local next_report = fleet:run()
    next_report()
    assert.has_error(function()
      fleet:run()
    end, "fleet:run: it is running already")
    while next_report() do
    end
    assert.are.equal(3, fleet.summary.total)
    world.collect(fleet)
    assert.are.equal(3, fleet.summary.total)
  end)

  it("raises a caller's mistake at the caller's line", function()
    local ok, message = pcall(function()
      autopilot.fleet { tenants = {}, client = {}, concurency = 3 }
    end)
    assert.is_false(ok)
    assert.matches(
      "^spec/fleet/fleet_spec.lua:%d+: autopilot.fleet: unknown option 'concurency'",
      message
    )
    assert.matches("did you mean 'concurrency'", message)
    message = select(2, pcall(autopilot.fleet, { tenants = {}, base_url = "https://host" }))
    local told = "autopilot.fleet: unknown option 'base_url' (write client = { token = … })"
    assert.truthy(message:find(told, 1, true), message)
    local function nothing() end
    for _, given in ipairs {
      { retry_budget = true },
      { retry_budget = {} },
      { state = {} },
      { state = { path = 5 } },
      { state = { note = nothing, known = nothing } },
    } do
      given.tenants, given.client = {}, {}
      message = select(
        2,
        pcall(function()
          autopilot.fleet(given)
        end)
      )
      assert.matches(
        "^spec/fleet/fleet_spec.lua:%d+: autopilot.fleet: option '[%w_]+' must",
        message
      )
    end
  end)

  it("raises a wrong argument of cancel at the caller's line", function()
    local w = world.new()
    local fleet = w:fleet { tenants = world.names(1) }
    fleet:run()
    local message = select(
      2,
      pcall(function()
        fleet:cancel "soon"
      end)
    )
    assert.matches("^spec/fleet/fleet_spec.lua:%d+: fleet:cancel: 'grace' must be a", message)
    fleet:cancel(0)
  end)

  it("needs few bytes for a sleeping tenant", function()
    local w = world.new()
    local before, taken
    local fleet = w:fleet {
      tenants = world.names(2000),
      retry_budget = false,
      concurrency = 4,
      operation = function(client)
        client.options.sleep(1000)
        return { ok = true, outcome = "fresh" }
      end,
      sleep = function(seconds)
        collectgarbage()
        collectgarbage()
        taken = taken or (collectgarbage "count" - before) * 1024 / 2000
        w.time = w.time + seconds
      end,
    }
    collectgarbage()
    collectgarbage()
    before = collectgarbage "count"
    world.collect(fleet)
    assert.is_true(taken < 6144, taken .. " bytes")
  end)
end)
