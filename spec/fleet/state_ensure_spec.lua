-- `ensure` over a run that was killed: a sync that was requested is not requested again.

local autopilot = require "autopilot"
local hostile = require "support.hostile_server"
local state_of_specs = require "support.state_file"
local wire = require "support.wire"
local world = require "support.fleet_world"

describe("a fleet that ensures, resumed after its process was killed,", function()
  local w, file, since, cooldown

  before_each(function()
    w, file, cooldown = world.new { duration = 30 }, state_of_specs.new(), nil
    w.latency = 0.002 -- so that no clock that is told in seconds can tell before from after
  end)

  after_each(function()
    file:close()
  end)

  local function new_fleet(sleep, deadline)
    return w:fleet {
      tenants = { "t1" },
      deadline = deadline,
      client = { token = "token-t1", cooldown = cooldown },
      operation = "ensure",
      arguments = { since = since },
      state = file.path,
      sleep = sleep,
    }
  end

  --- Runs one whose process does not live longer than so many seconds.
  local function run_until(seconds)
    local dies_at = w.time + seconds
    local fleet
    fleet = new_fleet(function(pause)
      w:pass(math.min(pause, dies_at - w.time))
      if w.time >= dies_at then
        fleet:close()
      end
    end)
    assert.is_nil((fleet:run()())) -- no report
  end

  local function posts()
    local count = 0
    for _, request in ipairs(w.requests) do
      count = count + (request.method == "POST" and 1 or 0)
    end
    return count
  end

  it("waits for the sync that it had requested, in the second in which it began", function()
    since = w.time
    run_until(5)
    assert.equal(1, posts())
    local reports = world.collect(new_fleet())
    assert.equal("completed", reports.t1.outcome)
    assert.equal(1, posts())
    assert.is_true(w.time - world.start < 60)
  end)

  it("finds it done if it has completed since", function()
    since = w.time
    run_until(5)
    w:pass(100)
    local reports = world.collect(new_fleet())
    assert.equal("fresh", reports.t1.outcome)
    assert.equal(1, posts())
  end)

  it("does not take a sync that it had seen before its request for its own", function()
    assert(w.service:trigger("t1", { duration = 0 })) -- somebody else's, just before the moment
    w:pass(0.003)
    since, cooldown = w.time, 0 -- so that it asks at once
    run_until(0.05)
    assert.equal(1, posts())
    local reports = world.collect(new_fleet(nil, 20))
    assert.is_false(reports.t1.ok)
  end)

  it("does not take an unseen sync from long before its request for its own", function()
    w = world.new { faults = { { kind = "stale_read", on = "status", seconds = 10 } } }
    assert(w.service:trigger("t1", { duration = 0 }))
    w:pass(5)
    since = w.time
    run_until(3)
    assert.equal(1, posts())
    local reports = world.collect(new_fleet(nil, 20))
    assert.is_false(reports.t1.ok)
  end)

  it("reads no record twice if it had requested nothing", function()
    since = w.time
    local reports = world.collect(new_fleet())
    assert.equal("completed", reports.t1.outcome)
    local first = w.requests[1]
    assert.equal("GET", first.method)
    assert.equal("POST", w.requests[2].method)
  end)
end)

describe("a fleet that ensures with a user's own state", function()
  after_each(wire.close)
  teardown(wire.teardown)

  it("notes each request, and what it had seen, before it is sent over a connection", function()
    local body = '{"syncStatus":"completed","lastManualSyncTriggerDateTime":"2020-01-01T00:00:00Z",'
      .. '"lastSyncDateTime":"2020-01-01T00:00:01Z"}'
    local head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    local record = head:format(#body) .. body
    local posts, noted = 0, {}
    local server = hostile.listen(function(connection)
      while true do
        local request = connection:read_head()
        connection:read_body()
        if request.method == "POST" then
          posts = posts + 1
          connection:send "HTTP/1.1 204 No Content\r\n\r\n"
        else
          connection:send(record)
        end
      end
    end)
    local function nothing() end
    local state = { known = nothing, cooldown = nothing, note = nothing, posted = nothing }
    function state.note_posting(_, key, seen)
      noted[#noted + 1] = { key, seen, posts }
    end
    local fleet = autopilot.fleet {
      tenants = { "t1" },
      operation = "ensure",
      arguments = { wait = false, max_age = 60 },
      state = state,
      client = { token = "token", base_url = server:url "" },
      wait = function(set)
        hostile.step()
        set:step(0.001)
      end,
    }
    assert.equal(1, fleet:run({ on_report = nothing }).ok)
    assert.equal(1, posts)
    assert.same({ { "t1", 1577836800, 0 } }, noted)
  end)
end)
