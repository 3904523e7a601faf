-- The emulated service can produce every fault of a request on its way.

local emulated_graph = require "support.emulated_graph"

local events, new_service = emulated_graph.events, emulated_graph.new
local start = emulated_graph.start
local status_request, sync_request = emulated_graph.status_request, emulated_graph.sync_request

describe("autopilot.emulator: faults", function()
  --- What a sync request meets: the answer, and how often it arrived and took effect.
  local function meet(fault, total)
    local service, transport = new_service()
    service:inject(fault)
    local response, network = transport(sync_request(total))
    return response, network, #events(service, "request"), #events(service, "sync"), service
  end

  it("refuse the connection: the request is not sent", function()
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

  it("lose a request on its way, which the client cannot detect", function()
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

  it("answer after the client's timeout, which is all the time it waits", function()
    local response, network, arrived, effects, service =
      meet({ kind = "slow_answer", seconds = 5 }, 2)
    assert.is_nil(response)
    assert.equal("CURLE_OPERATION_TIMEDOUT", network.name)
    assert.is_true(network.timeout)
    assert.equal("unknown", network.delivered)
    assert.same({ 1, 1 }, { arrived, effects })
    assert.equal(start + 2, service:now())
  end)

  it("replace the answer and suppress the effect", function()
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

  it("replace the answer with headers in any case, as HTTP has them", function()
    local headers = { ["Retry-After"] = 7, DATE = "then" }
    local response = meet { kind = "status", status = 503, headers = headers }
    assert.equal("7", response.headers["retry-after"])
    assert.equal("then", response.headers.date)
    assert.is_nil(response.headers["Retry-After"])
    assert.is_nil(response.headers.DATE)
  end)

  it("replace the answer after the effect", function()
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

  it("throttle in the words of the service that was asked", function()
    local service, transport = new_service()
    local token = { method = "POST", url = "/contoso/oauth2/v2.0/token", body = "" }
    local bodies = { [sync_request()] = '"code":"TooManyRequests"', [token] = "^Too Many" }
    for request, body in pairs(bodies) do
      service:inject { kind = "throttle" }
      local response = transport(request)
      assert.equal(429, response.status)
      assert.equal("10", response.headers["retry-after"])
      assert.matches(body, response.body)
    end
    service:inject { kind = "throttle" }
    assert.equal("text/plain", transport(token).headers["content-type"])
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

  it("are used in order, each for the next request that matches", function()
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

  it("come from a function that sees the request, after the injected ones", function()
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

  it("may name another network failure", function()
    local _, network = meet {
      kind = "unsent",
      network = { stage = "resolve", name = "CURLE_COULDNT_RESOLVE_HOST" },
    }
    assert.equal("resolve", network.stage)
    assert.equal("CURLE_COULDNT_RESOLVE_HOST", network.name)
    assert.equal("no", network.delivered)
  end)

  it("are checked", function()
    local wrong = {
      ["unknown option 'secnds' %(did you mean 'seconds'%?%)"] = { kind = "throttle", secnds = 2 },
      ["option 'body' must be a string %(got 5%)"] = { kind = "status", status = 503, body = 5 },
      ["option 'headers' must be a table %(got 'x'%)"] = { kind = "status", headers = "x" },
      ["option 'retry_after' must be a number or a string %(got table%)"] = {
        kind = "throttle",
        retry_after = {},
      },
      ["option 'status' must be at least 200 %(got 199%)"] = { kind = "status", status = 199 },
      ["option 'status' must be at most 599 %(got 600%)"] = { kind = "status", status = 600 },
      ["option 'status' must be a whole number %(got 3.5%)"] = { kind = "status", status = 3.5 },
      ["options must be a table %(got number%)"] = 7,
      ["option 'kind' must be known %(did you mean 'lost_answer'%?%) %(got 'lostanswer'%)"] = {
        kind = "lostanswer",
      },
      ["option 'kind' must be known %(got 'lost'%)"] = { kind = "lost" },
      ["option 'kind' is required"] = {},
      ["option 'on' must be one of 'sync', 'status', 'token', .* %(got 'posts'%)"] = {
        kind = "unsent",
        on = "posts",
      },
      ["a fault of kind 'status' must have status"] = { kind = "status" },
      ["a fault of kind 'slow_answer' must have seconds"] = { kind = "slow_answer" },
      ["option 'seconds' must be at least 0 %(got %-1%)"] = { kind = "slow_sync", seconds = -1 },
    }
    for message, fault in pairs(wrong) do
      local ok, told = pcall(meet, fault)
      assert.is_false(ok)
      assert.matches("faults_spec%.lua:%d+: autopilot%.emulator:inject: " .. message .. "$", told)
    end
    assert.error_matches(function()
      local _, transport = new_service {
        faults = function()
          return { kind = "lost" }
        end,
      }
      transport(status_request)
    end, "autopilot%.emulator: the function faults: option 'kind' must be known %(got 'lost'%)")
  end)
end)
