-- Random fleets in virtual time: whatever fails, is slow, is cancelled or too late, each tenant that is
-- read has one report, and what it says is what the service saw.
--
-- FLEET_SEED repeats a run; FLEET_RUNS says how many (default 150, 20 where a tool slows the specs down).

local SeededRandom = require "support.seeded_random"
local world = require "support.fleet_world"

local runs = tonumber(os.getenv "FLEET_RUNS") or os.getenv "SPEC_PATIENCE" and 20 or 150
local random = SeededRandom.new "FLEET_SEED"

local function chance(percent)
  return random:integer(1, 100) <= percent
end

local function random_fault(percent)
  if not chance(percent) then
    return nil
  end
  return random:pick {
    { kind = "unsent" },
    { kind = "lost_request" },
    { kind = "lost_answer" },
    { kind = "slow_answer", seconds = random:pick { 0.5, 5, 70 } },
    { kind = "status", status = random:pick { 500, 502, 503, 504 } },
    { kind = "status", status = 503, after = true },
    { kind = "throttle", retry_after = random:pick { 1, 7, 200 } },
  }
end

--- A fleet with everything chosen at random, and its world.
local function random_fleet()
  local percent = random:pick { 0, 5, 20, 60 }
  local w = world.new {
    duration = random:pick { 0.5, 20, 90 },
    faults = function()
      return random_fault(percent)
    end,
  }
  local count = random:integer(1, 60)
  for _, name in ipairs(world.names(count)) do
    if chance(15) then
      w.service:trigger(name)
    end
  end
  w.time = w.time + random:integer(1, 700)
  w.latency = function()
    return random:integer(0, 20) / 10
  end
  local given = {
    tenants = world.names(count),
    concurrency = random:integer(1, 20),
    host_concurrency = chance(30) and random:integer(1, 5) or nil,
    operation = random:pick { "sync", "ensure", "status", "wait", "sync" },
    spread = chance(30) and random:integer(1, 300) or nil,
    deadline = chance(40) and random:integer(1, 400) or nil,
    client = function(tenant)
      if chance(2) then
        error "no such customer"
      end
      local cooldown = chance(10) and 0 or nil
      return { token = "token-" .. tenant, cooldown = cooldown }
    end,
  }
  if given.operation == "ensure" or given.operation == "wait" then
    given.arguments = { timeout = random:pick { 30, 900, 2000 } }
  end
  return w, w:fleet(given), given, count
end

--- How often a sync of the tenant's was started by a request of ours.
local function syncs_of(w)
  local syncs = {}
  for _, event in ipairs(w.service.log) do
    if event.event == "sync" and event.client_request_id then
      syncs[event.tenant] = (syncs[event.tenant] or 0) + 1
    end
  end
  return syncs
end

-- What a request is not sent for when a run has ended: nothing of the network.
local ends_of_run = { DEADLINE = true, CANCELLED = true, CLOSED = true }

local claims = { sync = { started = true }, ensure = {}, status = {}, wait = {} }

local function check(w, fleet, given, reports, syncs)
  for name, report in pairs(reports) do
    local truth = ("%s: %s of %s, delivered %s, %d syncs"):format(
      tostring(random),
      tostring(report.outcome),
      name,
      tostring(report.delivered),
      syncs[name] or 0
    )
    if claims[given.operation][report.outcome] then
      assert.is_true((syncs[name] or 0) >= 1, "a false claim: " .. truth)
    end
    if report.delivered == "no" and given.operation == "sync" then
      assert.is_nil(syncs[name], "it was delivered: " .. truth)
    end
    local asked = w:requests_of(name)
    if report.outcome == "cancelled" then
      local posted = 0
      for _, request in ipairs(asked) do
        posted = posted + (request.method == "POST" and 1 or 0)
      end
      assert.are.equal(0, given.operation == "sync" and #asked or posted, "it was sent: " .. truth)
      assert.is_nil(report.network, truth)
    elseif report.outcome == "unreachable" then
      assert.are_not.equal("yes", report.delivered, truth)
      local is_end = report.gave_up == "deadline" and ends_of_run[report.network.name]
      assert.is_falsy(is_end, truth)
    end
    if given.operation == "status" or given.operation == "wait" then
      assert.is_nil(syncs[name], truth)
    end
  end
  assert.is_true(w.most_in_flight <= given.concurrency, tostring(random))
  assert.are.equal(0, fleet:progress().in_flight)
  assert.is_nil(next(fleet.tasks))
  for _, item in ipairs(fleet.loop.timers) do
    assert.is_function(item.due, "a tenant still waits: " .. tostring(random))
  end
  assert.are.equal(0, fleet.gates.waiting)
end

describe("a fleet with random events", function()
  it("has one true report for each tenant", function()
    local ok_reports, all_reports = 0, 0
    for _ = 1, runs do
      local w, fleet, given, count = random_fleet()
      local cancel_at = chance(20) and random:integer(1, count) or nil
      local reports, done = {}, 0
      local begun = w.time
      for tenant, report in fleet:run() do
        assert.is_nil(reports[tenant], tostring(random))
        assert.is_boolean(report.ok)
        reports[tenant], done = report, done + 1
        ok_reports = ok_reports + (report.ok and 1 or 0)
        if done == cancel_at then
          fleet:cancel(random:integer(0, 10))
        end
      end
      all_reports = all_reports + done
      if not cancel_at then
        assert.are.equal(count, done, tostring(random))
      end
      if given.deadline then
        assert.is_true(w.time - begun <= given.deadline + 1.01, tostring(random))
      end
      assert.are.equal(done, fleet.summary.total)
      check(w, fleet, given, reports, syncs_of(w))
    end
    -- A run in which nothing succeeds proves little.
    assert.is_true(ok_reports > all_reports / 3, ("%d of %d"):format(ok_reports, all_reports))
  end)
end)
