-- A tenant's own deadline that cuts a request short proves nothing about the host, or the tenant.

local new_fleet = require "autopilot.fleet"
local socket = require "socket"
local world = require "support.fleet_world"

--- The HTTP layer of a world whose host needs so many seconds to be connected to, and to answer; it keeps
-- to the timeouts that it is given.
local function slow_host(w, to_connect, to_answer)
  return function(request)
    local began, timeout = w.time - world.start, request.timeout
    local allowed = math.min(timeout.connect, timeout.total)
    if to_connect > allowed then
      coroutine.yield(began + allowed)
      local name = "CURLE_OPERATION_TIMEDOUT"
      return nil, { stage = "connect", name = name, message = "", timeout = true, delivered = "no" }
    elseif to_connect + to_answer > timeout.total then
      coroutine.yield(began + timeout.total)
      local name = "CURLE_OPERATION_TIMEDOUT"
      return nil,
        { stage = "receive", name = name, message = "", timeout = true, delivered = "unknown" }
    end
    coroutine.yield(began + to_connect + to_answer)
    local response, network = w.serve(request)
    return response, network
  end
end

--- So many tenants with so little time, then ten that have enough; who has enough, and the events.
local function run(to_connect, to_answer, seconds, given)
  local w = world.new()
  local options = {
    tenants = world.names(40),
    concurrency = 8,
    transport = slow_host(w, to_connect, to_answer),
    arguments = function(tenant)
      return tonumber(tenant:match "%d+") <= 30 and { deadline = seconds } or nil
    end,
  }
  for name, value in pairs(given or {}) do
    options[name] = value
  end
  local reports, patient = world.collect(w:fleet(options)), {}
  for index = 31, 40 do
    patient[index] = reports["t" .. index]
  end
  return patient, w, reports
end

describe("tenants of a fleet with short deadlines", function()
  for what, host in pairs { ["to connect to"] = { 3, 0.1 }, ["to answer"] = { 0.1, 3 } } do
    it("do not block other tenants of a slow host " .. what, function()
      local patient, w, reports = run(host[1], host[2], 1)
      assert.are.same({ started = 10 }, world.outcomes(patient))
      assert.are.same({}, w:events_of "circuit_opened")
      assert.is_false(reports.t1.ok)
      assert.is_true(w.time - world.start < 30)
    end)
  end

  it("do not block them if a user's own operation sets the deadline", function()
    local patient, w = run(0.1, 3, 1, {
      operation = function(client, tenant)
        local is_hasty = tonumber(tenant:match "%d+") <= 30
        return client:sync { deadline = is_hasty and 1 or nil }
      end,
    })
    assert.are.same({ started = 10 }, world.outcomes(patient))
    assert.are.same({}, w:events_of "circuit_opened")
  end)

  it("do not block them if the time is too short for a token", function()
    local w = world.new()
    local authority = slow_host(w, 3, 0.1)
    local function transport(request)
      if request.url:find("login", 1, true) then
        local response, network = authority(request)
        return response, network
      end
      return { status = 204, headers = {} }
    end
    w:fleet({
      tenants = world.names(20),
      concurrency = 4,
      transport = transport,
      arguments = { deadline = 1 },
      client = {
        token = require("autopilot.token").cached(function(ask)
          ask.transport {
            method = "POST",
            url = "https://login.example/token",
            headers = {},
            timeout = { connect = 10, total = 30 },
          }
          return nil, "no answer"
        end),
      },
    }):run { on_report = function() end }
    assert.are.same({}, w:events_of "circuit_opened")
  end)

  it("still reveal an unreachable host if they had a fair part of the usual time", function()
    local _, w = run(1e6, 0, 6)
    assert.are.equal(1, #w:events_of "circuit_opened")
  end)

  it("do not count as successes while a host is on trial", function()
    local w = world.new()
    local asked = 0
    local dead = slow_host(w, 1e6, 0)
    w:fleet({
      tenants = world.names(60),
      concurrency = 8,
      transport = function(request)
        asked = asked + 1
        local response, network = dead(request)
        return response, network
      end,
      arguments = function(tenant)
        return tonumber(tenant:match "%d+") > 8 and { deadline = 1 } or nil
      end,
      client = {
        token = function()
          return "token-t1"
        end,
        retry = false,
      },
    }):run { on_report = function() end }
    assert.are.equal(1, #w:events_of "circuit_opened")
    assert.is_true(asked < 12, asked)
  end)

  it("leave their own circuit closed", function()
    local tries = 0
    local _, w, reports = run(0.1, 3, 1, {
      tenants = { "t1" },
      operation = function(client)
        for _ = 1, 8 do
          tries = tries + 1
          client:sync { deadline = 1 }
        end
        local report, failure = client:sync()
        return report, failure
      end,
    })
    assert.are.equal(8, tries)
    assert.are.equal("started", reports.t1.outcome)
    assert.are.same({}, w:events_of "circuit_opened")
  end)

  it("do not block others over a real connection", function()
    local listener = assert(socket.bind("127.0.0.1", 0)) -- never accepts
    local _, port = listener:getsockname()
    local opened = 0
    local outcomes = {}
    local fleet = new_fleet {
      tenants = world.names(20),
      concurrency = 20,
      client = {
        token = function()
          return "t"
        end,
        base_url = ("http://127.0.0.1:%d"):format(port),
        retry = false,
        recover = false,
      },
      arguments = { deadline = 0.05 },
      on_event = function(event)
        opened = opened + (event.type == "circuit_opened" and 1 or 0)
      end,
    }
    for _, report in fleet:run() do
      outcomes[report.outcome] = (outcomes[report.outcome] or 0) + 1
    end
    fleet:close()
    listener:close()
    assert.is_true((outcomes.interrupted or 0) + (outcomes.unreachable or 0) == 20)
    assert.are.equal(0, opened)
  end)
end)
