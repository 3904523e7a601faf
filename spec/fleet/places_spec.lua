-- Places to send from are always freed; the clients and knowledge kept for a tenant are the right ones.

local autopilot = require "autopilot"
local stores = require "autopilot.store"
local world = require "support.fleet_world"

--- What the function returns, if it does so within some million steps.
local function in_time(act)
  local thread = coroutine.create(act)
  debug.sethook(thread, function()
    error("the fleet waits for ever", 0)
  end, "", 5000000)
  local is_fine, result = coroutine.resume(thread)
  debug.sethook(thread) -- LuaJIT has one hook for all coroutines
  assert.is_true(is_fine, tostring(result))
  return result
end

describe("a place in a fleet", function()
  it(
    "that comes free as the deadline passes is freed again by the tenant that waited for it",
    function()
      local w = world.new()
      w.latency = 1
      local fleet = w:fleet {
        tenants = world.names(8),
        concurrency = 8,
        host_concurrency = 2,
        deadline = 2.07,
        sleep = function(seconds)
          w:pass(seconds + 0.02) -- so that both are over when it ends
        end,
      }
      local reports = world.collect(fleet)
      assert.are.same({ started = 4, cancelled = 4 }, world.outcomes(reports))
      for _, report in pairs(reports) do
        assert.are.equal(report.ok and "yes" or "no", report.delivered)
      end
      assert.are.equal(0, fleet:progress().in_flight)
    end
  )

  it("is freed if the HTTP layer raises and the caller survives", function()
    local w = world.new()
    local inner = w:transport()
    local fleet = w:fleet {
      tenants = world.names(6),
      concurrency = 2,
      client = function(tenant)
        return {
          token = function(ask)
            pcall(ask.transport, { method = "GET", url = "https://login.example/" })
            return "token-" .. tenant
          end,
        }
      end,
      transport = function(request)
        if request.url == "https://login.example/" then
          error "the wire is cut"
        end
        return inner(request)
      end,
    }
    local reports = in_time(function()
      return world.collect(fleet)
    end)
    assert.are.same({ started = 6 }, world.outcomes(reports))
    assert.are.equal(0, fleet:progress().in_flight)
  end)

  it("is freed if the HTTP layer raises and the caller waits for another tenant", function()
    local w, has_ended = world.new(), false
    local inner = w:transport()
    local fleet = w:fleet {
      tenants = world.names(2),
      concurrency = 1,
      operation = function(client, tenant)
        if tenant == "t1" then
          assert.is_false(pcall(client.sync, client))
          while not has_ended do
            coroutine.yield(w.time - world.start + 1)
          end
        end
        local report, failure = client:sync()
        has_ended = true
        return report or failure
      end,
      transport = function(request)
        if not has_ended and request.headers["Authorization"] == "Bearer token-t1" then
          error "the wire is cut"
        end
        return inner(request)
      end,
    }
    local reports = in_time(function()
      return world.collect(fleet)
    end)
    assert.are.same({ started = 2 }, world.outcomes(reports))
  end)

  it("is not needed to refuse a request to a host that has not answered for too long", function()
    local w = world.new()
    local fleet = w:fleet {
      tenants = world.names(60),
      concurrency = 10,
      spread = 60,
      client = function(tenant)
        local host = tonumber(tenant:match "%d+") % 2 == 0 and "dead" or "slow"
        return { token = "token-" .. tenant, base_url = ("https://%s.example"):format(host) }
      end,
      transport = function(request)
        local is_dead = request.url:find("dead", 1, true)
        coroutine.yield(w.time - world.start + (is_dead and 1 or 50))
        if is_dead then
          local network = { stage = "connect", name = "CURLE_COULDNT_CONNECT", message = "refused" }
          network.timeout, network.delivered = false, "no"
          return nil, network
        end
        return { status = 204, headers = { ["request-id"] = "1" }, body = "" }
      end,
    }
    local latest = 0
    for _, report in fleet:run() do
      local is_refused = (report.network or {}).name == "CIRCUIT_OPEN"
      latest = is_refused and math.max(latest, report.elapsed) or latest
    end
    assert.is_true(latest > 0 and latest < 75, latest)
  end)
end)

describe("a fleet's HTTP layer", function()
  it("refuses invalid numbers of seconds before it takes a place", function()
    local messages, count = {}, 0
    local fleet = autopilot.fleet {
      tenants = world.names(4),
      concurrency = 2,
      client = function()
        return {
          token = function(ask)
            local _, message = pcall(ask.transport, {
              method = "GET",
              url = "http://127.0.0.1:1/",
              timeout = { connect = "5", total = 5 },
            })
            messages[#messages + 1] = message
            return nil, "none"
          end,
        }
      end,
    }
    in_time(function()
      for _, report in fleet:run() do
        count = count + 1
        assert.are.equal("token_error", report.outcome)
      end
    end)
    assert.are.equal(4, count)
    assert.are.equal(4, #messages)
    for _, message in ipairs(messages) do
      assert.matches("the transport: 'timeout' must have 'connect' and 'total' in seconds", message)
    end
    assert.are.equal(0, fleet:progress().in_flight)
  end)

  it("refuses a timeout of another type for a user's transport, too", function()
    for _, timeout in ipairs { 5, "5", true, { connect = {} }, { total = "5" } } do
      local w, message = world.new(), nil
      local fleet = w:fleet {
        tenants = { "t1" },
        client = function()
          return {
            token = function(ask)
              local request = { method = "GET", url = "https://a.example/", timeout = timeout }
              message = select(2, pcall(ask.transport, request))
              return nil, "none"
            end,
          }
        end,
      }
      world.collect(fleet)
      assert.matches("the transport: 'timeout' must have 'connect' and 'total' in seconds", message)
      assert.are.same({}, w.requests)
    end
  end)
end)

describe("a fleet that is closed while it runs", function()
  local function close_after_one(close)
    local w, fleet = world.new(), nil
    w.latency = function(request)
      if close and request.headers["Authorization"] == "Bearer token-t3" then
        fleet:close() -- by the code of a tenant
      end
      return 1
    end
    fleet = w:fleet { tenants = world.names(9), concurrency = 6, host_concurrency = 2 }
    local count = 0
    for _ in fleet:run() do
      count = count + 1
      if not close then
        fleet:close()
      end
    end
    return w, fleet, count
  end

  it("reports and sends nothing more, and can run again", function()
    local w, fleet, count = close_after_one()
    assert.is_true(count < 9)
    local sent = #w.requests
    assert.is_true(sent < 9)
    assert.are.equal(0, fleet:progress().in_flight)
    assert.are.equal(0, fleet:progress().asleep)
    local reports = world.collect(fleet)
    assert.is_not_nil(reports.t9)
    assert.are.equal(9, fleet.summary.total)
    assert.are.equal(0, fleet:progress().in_flight)
  end)

  it("may be closed by the code of a tenant", function()
    local _, fleet, count = close_after_one(true)
    assert.is_true(count < 9)
    assert.are.equal(0, fleet:progress().in_flight)
  end)
end)

describe("a tenant that has waited for a place", function()
  it("is not kept in memory until a distant deadline", function()
    local w = world.new()
    w.latency = 0.01
    local tokens, kept = setmetatable({}, { __mode = "k" }), 0
    local fleet = w:fleet {
      tenants = world.names(3000),
      concurrency = 8,
      host_concurrency = 2,
      deadline = 86400,
      client = function(tenant)
        local provider = function()
          return "token-" .. tenant
        end
        tokens[provider] = true
        return { token = provider }
      end,
    }
    local summary = fleet:run {
      on_report = function() end,
    }
    assert.are.equal(3000, summary.ok)
    collectgarbage()
    collectgarbage()
    for _ in pairs(tokens) do
      kept = kept + 1
    end
    assert.is_true(kept < 1200, kept .. " tenants are kept")
  end)
end)

describe("a user's own state", function()
  it("that raises for one tenant affects no other, and nothing is sent for that one", function()
    local w = world.new()
    local state = { cooldown = function() end, note = function() end }
    function state.known(_, key)
      if key == "t2" then
        error("the disk is gone", 0)
      end
    end
    local fleet = w:fleet { tenants = world.names(4), state = state }
    local reports = world.collect(fleet)
    assert.are.same({ started = 3, unexpected = 1 }, world.outcomes(reports))
    assert.are.equal("the disk is gone", reports.t2.error.message)
    assert.are.equal("no", reports.t2.delivered)
    assert.are.same({}, w:requests_of "t2")
    assert.are.equal(1, fleet.summary.failed)
  end)

  it("delays no client that has no cooldown or a shorter one", function()
    local w = world.new()
    local state = { known = function() end, note = function() end }
    function state.cooldown()
      return w.time + 500
    end
    local lengths = { t1 = 0, t2 = 60 }
    local fleet = w:fleet {
      tenants = world.names(3),
      state = state,
      client = function(tenant)
        return { token = "token-" .. tenant, cooldown = lengths[tenant] }
      end,
    }
    local reports = world.collect(fleet)
    assert.are.equal("started", reports.t1.outcome)
    assert.are.equal("cooldown", reports.t2.outcome)
    assert.are.equal(world.start + 70, reports.t2.retry_at)
    assert.are.equal(world.start + 500, reports.t3.retry_at)
  end)
end)

describe("an HTTP layer of one tenant only", function()
  it("is released when that tenant is done", function()
    local w = world.new()
    local inner, layers, kept = w:transport(), setmetatable({}, { __mode = "k" }), 0
    local fleet = w:fleet {
      tenants = world.names(100),
      concurrency = 4,
      client = function(tenant)
        local function transport(request)
          return inner(request)
        end
        layers[transport] = true
        return { token = "token-" .. tenant, transport = transport }
      end,
    }
    for _, report in fleet:run() do
      assert.is_true(report.ok)
    end
    collectgarbage()
    collectgarbage()
    for _ in pairs(layers) do
      kept = kept + 1
    end
    assert.is_true(kept <= 8, kept .. " are kept")
  end)
end)

describe("a client for a fleet's next tenant", function()
  it("is not made for a value that is not a tenant, and reports that", function()
    local w = world.new()
    local reports = world.collect(w:fleet {
      tenants = world.names(4),
      concurrency = 1,
      client = function(tenant)
        return { token = "token-" .. tenant, tenant = tenant == "t3" and 5 or nil }
      end,
    })
    assert.are.same({ started = 3, unexpected = 1 }, world.outcomes(reports))
    assert.matches("^autopilot.client: option 'tenant' must be", reports.t3.error.message)
  end)

  it("shares the knowledge of its own tenant only", function()
    local w = world.new()
    local store = stores.memory {
      now = function()
        return w.time
      end,
    }
    local function options(tenant)
      return { token = "token-" .. tenant, store = store }
    end
    local tenants = world.names(5)
    world.collect(w:fleet { tenants = tenants, concurrency = 1, client = options })
    assert.are.equal(5, #w.requests)
    local again = world.collect(w:fleet { tenants = tenants, concurrency = 5, client = options })
    assert.are.equal(5, #w.requests)
    assert.are.same({ cooldown = 5 }, world.outcomes(again))
  end)
end)
