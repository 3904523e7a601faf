-- The emulator's log has what happened at the service, independent of what its clients were told.

local emulated_graph = require "support.emulated_graph"

local events, new_service = emulated_graph.events, emulated_graph.new
local settings_url, start = emulated_graph.settings_url, emulated_graph.start
local sync_request = emulated_graph.sync_request
local unpack = unpack or table.unpack -- luacheck: compat

describe("autopilot.emulator: the log of what happened", function()
  it("has every request that arrived, and every sync that started", function()
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
      { sync = 2, status = 1, token = 0, device_code = 0, identity = 0, discovery = 0, other = 0 },
      service.requests
    )
  end)

  it("is complemented by the true record, independent of what a client is served", function()
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

  it("keeps at least the latest events, and is bounded", function()
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

  it("is not kept on request", function()
    local service, transport = new_service { log_limit = 0 }
    transport(sync_request())
    assert.same({}, service.log)
    assert.equal(1, service.requests.sync)
  end)

  it("costs no memory for a tenant whose record was only read", function()
    local service = new_service()
    for index = 1, 100 do
      service:record("tenant" .. index)
    end
    assert.is_nil(next(service.syncs.states))
  end)
end)
