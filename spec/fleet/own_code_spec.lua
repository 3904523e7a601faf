-- A user's own code in a fleet: what it may be, and how much of the fleet's time it gets.

local world = require "support.fleet_world"

describe("a user's own operation in a fleet", function()
  it("that sleeps for too long wakes at the deadline, and returns its own report", function()
    local w = world.new()
    local fleet = w:fleet {
      tenants = { "t1", "t2" },
      deadline = 10,
      operation = function(client)
        client.options.sleep(1000)
        return { ok = false, outcome = "timed_out", at = w.time - world.start }
      end,
    }
    local reports = world.collect(fleet)
    for _, name in ipairs { "t1", "t2" } do
      assert.equal("timed_out", reports[name].outcome)
      assert.equal(10, reports[name].at)
    end
  end)

  it("that continues after the tenant's deadline is abandoned", function()
    local w = world.new()
    local reports = world.collect(w:fleet {
      tenants = { "t1" },
      arguments = { deadline = 5 },
      client = {
        token = function(ask)
          for _ = 1, 20000 do
            ask.sleep(1)
          end
        end,
      },
    })
    assert.equal("cancelled", reports.t1.outcome)
    assert.equal("no", reports.t1.delivered)
    assert.near(6, w.time - world.start, 1.1)
  end)

  it("that raises a text with the token does not leak it into the report", function()
    for _, is_text in ipairs { true, false } do
      local token = "opaque-token-of-t1-0123456789"
      local w = world.new()
      local reports = world.collect(w:fleet {
        tenants = { "t1" },
        client = {
          token = is_text and token or function()
            return token
          end,
        },
        operation = function(client)
          client:status()
          error("what was sent is " .. token)
        end,
      })
      assert.matches("what was sent is", reports.t1.error.message)
      assert.is_nil(tostring(reports.t1):find("0123456789", 1, true))
    end
  end)

  it("has ten seconds when the run is cancelled, by default", function()
    for _, grace in ipairs { false, 3 } do
      local w, fleet = world.new(), nil
      w.latency = function()
        fleet:cancel(grace or nil)
        return 1000
      end
      fleet = w:fleet { tenants = { "t1" } }
      local reports = world.collect(fleet)
      assert.equal("unknown", reports.t1.delivered)
      assert.near(grace or 10, w.time - world.start, 0.01)
    end
  end)
end)

describe("a user's own code in a fleet", function()
  it("may yield any value: it goes on, and so do the others", function()
    local w = world.new()
    local odd = { "text", {}, true, -5, 0 / 0, function() end }
    local fleet = w:fleet {
      tenants = world.names(20),
      concurrency = 5,
      operation = function(client, tenant)
        if tonumber(tenant:match "%d+") % 4 == 0 then
          coroutine.yield()
          for _, value in ipairs(odd) do
            coroutine.yield(value)
          end
          client.options.sleep(0 / 0)
        end
        local report, failure = client:status()
        return report, failure
      end,
      sleep = function(seconds)
        assert(w.time - world.start < 60, "it never ends")
        w:pass(seconds)
      end,
    }
    world.collect(fleet)
    assert.equal(20, fleet.summary.ok)
    assert.equal(0, fleet:progress().asleep)
  end)

  it("does not block the others when it yields a time in the past", function()
    local w, is_done, yields = world.new(), false, 0
    local reports = world.collect(w:fleet {
      tenants = { "t1", "t2" },
      operation = function(client, tenant)
        while tenant == "t1" and not is_done do
          yields = yields + 1
          assert(yields < 10000, "it never ends")
          coroutine.yield(0)
        end
        local report, failure = client:status()
        is_done = true
        return report, failure
      end,
    })
    assert.is_true(reports.t1.ok and reports.t2.ok)
  end)
end)

describe("the options of a fleet's clients", function()
  local function started(client)
    local w = world.new()
    local reports = world.collect(w:fleet { tenants = { "t1" }, client = client })
    return reports.t1.outcome, reports.t1.error and reports.t1.error.message
  end

  it("may be a callable table", function()
    local calls = setmetatable({}, {
      __call = function(_, tenant)
        return { token = "token-" .. tenant }
      end,
    })
    assert.equal("started", (started(calls)))
  end)

  it("may be a table with a metatable without __call", function()
    assert.equal("started", (started(setmetatable({ token = "token-t1" }, {}))))
    local locked = setmetatable({ token = "token-t1" }, { __metatable = "locked" })
    assert.equal("started", (started(locked)))
  end)

  it("must be a table or give one, for each tenant", function()
    local outcome, message = started(function()
      return "token-t1"
    end)
    assert.equal("unexpected", outcome)
    assert.equal("the function 'client' must return a table of options", message)
  end)
end)

describe("the hosts of a fleet's token endpoints", function()
  it("have at most the given number of requests at a time, like any other host", function()
    local w = world.new()
    local inner, now, most = w:transport(), 0, 0
    local fleet = w:fleet {
      tenants = world.names(40),
      concurrency = 20,
      host_concurrency = 3,
      transport = function(request)
        if not request.url:find "^https://login%.example/" then
          return inner(request)
        end
        now = now + 1
        most = math.max(most, now)
        coroutine.yield(w.time - world.start + 0.2)
        now = now - 1
        return { status = 200, headers = {}, body = request.url:match "[^/]*$" }
      end,
      client = function(tenant)
        return {
          token = function(ask)
            local response = ask.transport {
              method = "GET",
              url = "https://login.example/" .. tenant,
              headers = {},
            }
            return response and "token-" .. response.body or nil, "refused"
          end,
        }
      end,
    }
    world.collect(fleet)
    assert.equal(40, fleet.summary.ok)
    assert.equal(3, most)
    assert.equal(3, w.most_in_flight)
  end)
end)
