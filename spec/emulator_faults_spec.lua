local emulator = require "autopilot.emulator"

local unpack = unpack or table.unpack -- luacheck: compat

local settings_url = "https://graph.microsoft.com/beta/deviceManagement/windowsAutopilotSettings"
local start = 1767225600 -- 2026-01-01T00:00:00Z

local function new_service(given)
  given = given or {}
  given.tokens = { good = { tenant = "contoso", client_id = "app" } }
  local service = emulator.new(given)
  return service, service:transport()
end

local function sync_request(total, id)
  return {
    method = "POST",
    url = settings_url .. "/sync",
    headers = { Authorization = "Bearer good", ["client-request-id"] = id },
    timeout = { connect = 10, total = total or 60 },
  }
end

local status_request = {
  method = "GET",
  url = settings_url,
  headers = { Authorization = "Bearer good" },
}

--- The events of one kind.
local function events(service, name)
  local found = {}
  for _, event in ipairs(service.log) do
    if event.event == name then
      found[#found + 1] = event
    end
  end
  return found
end

describe("autopilot.emulator: faults", function()
  --- What a sync request meets: the answer, and how often it arrived and took effect.
  local function meet(fault, total)
    local service, transport = new_service()
    service:inject(fault)
    local response, network = transport(sync_request(total))
    return response, network, #events(service, "request"), #events(service, "sync"), service
  end

  it("refuse the connection: surely nothing was sent", function()
    local response, network, arrived, effects = meet { kind = "unsent" }
    assert.is_nil(response)
    assert.same({
      stage = "connect",
      name = "CURLE_COULDNT_CONNECT",
      message = "Connection refused",
      timeout = false,
      delivered = "no",
    }, network)
    assert.same({ 0, 0 }, { arrived, effects })
  end)

  it("lose a request on its way, which the client cannot know", function()
    local response, network, arrived, effects = meet { kind = "lost_request" }
    assert.is_nil(response)
    assert.equal("unknown", network.delivered)
    assert.equal("receive", network.stage)
    assert.same({ 0, 0 }, { arrived, effects })
  end)

  it("lose an answer after the effect", function()
    local response, network, arrived, effects = meet { kind = "lost_answer" }
    assert.is_nil(response)
    assert.equal("unknown", network.delivered)
    assert.same({ 1, 1 }, { arrived, effects })
  end)

  it("deliver a request twice and give the second answer", function()
    local response, _, arrived, effects, service = meet { kind = "duplicated" }
    assert.equal(409, response.status)
    assert.same({ 2, 1 }, { arrived, effects })
    local requests = events(service, "request")
    assert.same({ 204, 409 }, { requests[1].status, requests[2].status })
  end)

  it("answer late, within the client's timeout", function()
    local response, network, arrived, effects, service =
      meet({ kind = "slow_answer", seconds = 5 }, 6)
    assert.equal(204, response.status)
    assert.is_nil(network)
    assert.same({ 1, 1 }, { arrived, effects })
    assert.equal(start + 5, service:now())
    assert.equal(start, events(service, "sync")[1].time)
  end)

  it("answer too late for the client's timeout, which is all the time it waits", function()
    local response, network, arrived, effects, service =
      meet({ kind = "slow_answer", seconds = 5 }, 2)
    assert.is_nil(response)
    assert.equal("CURLE_OPERATION_TIMEDOUT", network.name)
    assert.is_true(network.timeout)
    assert.equal("unknown", network.delivered)
    assert.same({ 1, 1 }, { arrived, effects })
    assert.equal(start + 2, service:now())
  end)

  it("answer anything instead of the service, before the effect", function()
    local fault = {
      kind = "status",
      status = 503,
      headers = { ["content-type"] = "text/html", ["retry-after"] = "7" },
      body = "<html>",
    }
    local response, _, arrived, effects = meet(fault)
    assert.equal(503, response.status)
    assert.equal("<html>", response.body)
    assert.equal("text/html", response.headers["content-type"])
    assert.equal("6", response.headers["content-length"])
    assert.equal("7", response.headers["retry-after"])
    assert.matches("GMT$", response.headers.date)
    assert.same({ 1, 0 }, { arrived, effects })
  end)

  it("answer anything instead of the service, after the effect", function()
    local response, _, arrived, effects, service =
      meet { kind = "status", status = 502, after = true }
    assert.equal(502, response.status)
    assert.equal("", response.body)
    assert.equal("0", response.headers["content-length"])
    assert.same({ 1, 1 }, { arrived, effects })
    assert.equal(204, events(service, "request")[1].status)
  end)

  it("throttle with a Retry-After", function()
    local response, _, arrived, effects = meet { kind = "throttle" }
    assert.equal(429, response.status)
    assert.equal("10", response.headers["retry-after"])
    assert.same({ 1, 0 }, { arrived, effects })
    assert.equal("2.128", meet({ kind = "throttle", retry_after = "2.128" }).headers["retry-after"])
  end)

  it("serve an older record", function()
    local service, transport = new_service { duration = 30, cooldown = 0 }
    transport(sync_request())
    service:advance(100)
    transport(sync_request())
    local function status_of(fault)
      if fault then
        service:inject(fault)
      end
      return transport(status_request).body:match '"syncStatus":"(%w+)"'
    end
    assert.equal("inProgress", status_of())
    assert.equal("completed", status_of { kind = "stale_read", seconds = 1 })
    assert.equal("inProgress", status_of { kind = "stale_read", seconds = 90 })
    assert.equal("unknown", status_of { kind = "stale_read", seconds = 101 })
    assert.equal("inProgress", status_of())
  end)

  it("make a sync slow, or fail", function()
    local _, _, _, _, service = meet { kind = "slow_sync", seconds = 300 }
    assert.equal(start + 300, events(service, "sync")[1].completes)
    _, _, _, _, service = meet { kind = "failed_sync" }
    assert.is_true(events(service, "sync")[1].failed)
    service:advance(1)
    assert.equal("failed", service:record("contoso").status)
  end)

  it("are met in order, each by the next request that it is for", function()
    local service, transport = new_service {
      cooldown = 0,
      duration = 0,
      faults = {
        { kind = "status", status = 500, on = "sync" },
        { kind = "status", status = 501 },
        { kind = "status", status = 502, on = "sync" },
        { kind = "status", status = 503, on = "other" },
      },
    }
    assert.equal(501, transport(status_request).status)
    assert.equal(200, transport(status_request).status)
    assert.equal(500, transport(sync_request()).status)
    service:inject { kind = "status", status = 504, on = "sync" }
    assert.equal(502, transport(sync_request()).status)
    assert.equal(504, transport(sync_request()).status)
    assert.equal(204, transport(sync_request()).status)
    assert.equal(503, transport({ method = "GET", url = "/" }).status)
  end)

  it("come from a function that sees the request, after those that were injected", function()
    local seen = {}
    local service, transport = new_service {
      faults = function(operation, request)
        seen[#seen + 1] = operation .. " " .. request.method
        return #seen == 2 and { kind = "lost_request" } or nil
      end,
    }
    service:inject { kind = "unsent" }
    assert.equal("no", select(2, transport(sync_request())).delivered)
    assert.equal(200, transport(status_request).status)
    assert.equal("unknown", select(2, transport(status_request)).delivered)
    transport { method = "POST", url = "https://login/t/oauth2/v2.0/token" }
    assert.same({ "status GET", "status GET", "token POST" }, seen)
  end)

  it("may name another failure of the network", function()
    local _, network = meet {
      kind = "unsent",
      network = { stage = "resolve", name = "CURLE_COULDNT_RESOLVE_HOST" },
    }
    assert.equal("resolve", network.stage)
    assert.equal("CURLE_COULDNT_RESOLVE_HOST", network.name)
    assert.equal("no", network.delivered)
  end)

  it("are refused when they are not right", function()
    local wrong = {
      ["a fault must be a table"] = 7,
      ["a fault must have a known kind"] = { kind = "lost" },
      ["a fault must be on sync, status, token, device_code, identity or other"] = {
        kind = "unsent",
        on = "posts",
      },
      ["a fault of kind status must have a status"] = { kind = "status" },
      ["a fault of kind slow_answer must have seconds"] = { kind = "slow_answer" },
      ["a fault must have seconds that are a number, at least 0"] = {
        kind = "slow_sync",
        seconds = -1,
      },
    }
    for message, fault in pairs(wrong) do
      local ok, told = pcall(meet, fault)
      assert.is_false(ok)
      assert.matches("emulator_faults_spec%.lua:%d+: autopilot%.emulator: " .. message .. "$", told)
    end
    assert.has_error(function()
      local _, transport = new_service {
        faults = function()
          return { kind = "lost" }
        end,
      }
      transport(status_request)
    end, "autopilot.emulator: the function faults gave a fault that must have a known kind")
  end)
end)

describe("autopilot.emulator: what truly happened", function()
  it("is told by the log: every request that arrived, every sync that started", function()
    local service, transport = new_service { duration = 30 }
    transport(sync_request(60, "first"))
    service:advance(40)
    service:inject { kind = "lost_answer" }
    transport(sync_request(60, "second"))
    transport { method = "GET", url = settings_url .. "?x=1" }
    local sync_path = "/beta/deviceManagement/windowsAutopilotSettings/sync"
    local first, started, second, refused = unpack(service.log, 1, 4)
    assert.same({
      event = "request",
      time = start,
      operation = "sync",
      method = "POST",
      path = sync_path,
      tenant = "contoso",
      client_request_id = "first",
      status = 204,
    }, first)
    assert.same({
      event = "sync",
      time = start,
      tenant = "contoso",
      by = "app",
      client_request_id = "first",
      automatic = false,
      completes = start + 30,
      failed = false,
    }, started)
    assert.equal(429, second.status)
    assert.equal("lost_answer", second.fault)
    assert.equal(start + 40, second.time)
    assert.equal(401, refused.status)
    assert.is_nil(refused.tenant)
    assert.is_nil(service.log[5])
    assert.same(
      { sync = 2, status = 1, token = 0, device_code = 0, identity = 0, other = 0 },
      service.requests
    )
  end)

  it("is told by the true record, whatever a client is served", function()
    local service = new_service { duration = 30 }
    assert.same({ status = "unknown" }, service:record "contoso")
    service:trigger "contoso"
    service:advance(31)
    assert.same(
      { status = "completed", last_sync = start + 30, last_manual_trigger = start },
      service:record "contoso"
    )
    assert.same({}, events(service, "request"))
  end)

  it("holds at least the latest events, and not many more", function()
    local service, transport = new_service { log_limit = 10 }
    for index = 1, 95 do
      transport(sync_request(60, "id" .. index))
      assert.is_true(#service.log < 20)
      assert.is_true(#service.log >= math.min(index, 10))
    end
    local count = #service.log
    for back = 0, 9 do
      assert.equal("id" .. 95 - back, service.log[count - back].client_request_id)
    end
  end)

  it("is not kept where that is asked for", function()
    local service, transport = new_service { log_limit = 0 }
    transport(sync_request())
    assert.same({}, service.log)
    assert.equal(1, service.requests.sync)
  end)

  it("costs no memory for a tenant that was only looked at", function()
    local service = new_service()
    for index = 1, 100 do
      service:record("tenant" .. index)
    end
    assert.is_nil(next(service.service.syncs.states))
  end)
end)

describe("autopilot.emulator: somebody else's sync", function()
  it("obeys the service's rules and starts the cooldown for everybody", function()
    local service, transport = new_service { duration = 30 }
    assert.is_true(service:trigger("contoso", { by = "portal" }))
    assert.equal("portal", service.log[1].by)
    assert.equal(409, transport(sync_request()).status)
    assert.same({ nil, "in_progress" }, { service:trigger "contoso" })
    service:advance(30)
    assert.same({ nil, "cooldown" }, { service:trigger "contoso" })
    assert.is_true(service:trigger "fabrikam")
  end)

  it("leaves no manual trigger stamp when the service started it by itself", function()
    local service = new_service { duration = 30 }
    service:trigger "contoso"
    service:advance(29)
    assert.same({ nil, "in_progress" }, { service:trigger("contoso", { automatic = true }) })
    service:advance(11)
    assert.is_true(service:trigger("contoso", { automatic = true, duration = 5, failed = true }))
    local running = service:record "contoso"
    assert.equal("inProgress", running.status)
    assert.equal(start, running.last_manual_trigger)
    service:advance(5)
    assert.same(
      { status = "failed", last_sync = start + 30, last_manual_trigger = start },
      service:record "contoso"
    )
  end)
end)

describe("autopilot.emulator: its clock", function()
  it("stands still until it is moved on", function()
    local service = emulator.new { start = 1000.5 }
    assert.equal(1000.5, service:now())
    service:advance(0.25)
    assert.equal(1000.75, service:now())
    for _, seconds in ipairs { -1, 0 / 0, math.huge, "1" } do
      assert.has_error(function()
        service:advance(seconds)
      end)
    end
    assert.equal(1000.75, service:now())
  end)

  it("may be somebody else's, and a late answer may wait in somebody else's way", function()
    local time, slept = 5000, {}
    local service, transport = new_service {
      now = function()
        return time
      end,
      sleep = function(seconds)
        slept[#slept + 1] = seconds
      end,
    }
    service:advance(10)
    time = 5001
    assert.equal(5011, service:now())
    service:inject { kind = "slow_answer", seconds = 3 }
    assert.equal(204, transport(sync_request()).status)
    assert.same({ 3 }, slept)
    assert.equal(5011, service:now())
  end)
end)

describe("autopilot.emulator: mistakes", function()
  it("in an option raise at the caller's line and name it", function()
    local wrong = {
      ["unknown option 'cooldwn' %(did you mean 'cooldown'%?%)"] = { cooldwn = 1 },
      ["option 'cooldown' must be at least 0"] = { cooldown = -1 },
      ["option 'duration' must be at least 0"] = { duration = -1 },
      ["option 'zone' must be 'Z' or an offset such as '%-08:00'"] = { zone = "PST" },
      ["option 'cooldown_from' must be one of"] = { cooldown_from = "start" },
      ["option 'retry_after' must be one of"] = { retry_after = "both" },
      ["option 'tokens' must be a map with a right token"] = { tokens = { t = {} } },
      ["option 'clients' must be a map with a right client"] = { clients = { app = "secret" } },
      ["option 'tenants' must be a map with a right tenant"] = { tenants = { "contoso" } },
      ["option 'faults' has a fault that must have a known kind"] = { faults = { {} } },
    }
    for message, given in pairs(wrong) do
      local ok, told = pcall(function()
        local made = emulator.new(given)
        return made
      end)
      assert.is_false(ok)
      assert.matches("emulator_faults_spec%.lua:%d+: autopilot%.emulator%.new: " .. message, told)
      assert.is_nil(told:find("secret", 1, true))
    end
  end)

  it("in a request raise as well", function()
    local service = emulator.new()
    for _, request in ipairs { 7, {}, { method = "GET" }, { url = "/" } } do
      assert.has_error(function()
        service:handle(request)
      end)
    end
  end)
end)
