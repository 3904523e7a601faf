-- The emulated service handles a sync, its record and every answer as the real one does.

local cjson = require "cjson.safe"
local emulated_graph = require "support.emulated_graph"

local error_of, new_service = emulated_graph.error_of, emulated_graph.asked
local settings_url, start = emulated_graph.settings_url, emulated_graph.start

local never = "0001-01-01T00:00:00Z"

describe("autopilot.emulator: the sync action", function()
  it("starts a sync with 204 and no body", function()
    local response = new_service().sync()
    assert.equal(204, response.status)
    assert.equal("", response.body)
    assert.is_nil(response.headers["content-length"])
    assert.is_nil(response.headers["content-type"])
  end)

  it("answers 409 while a sync is in progress, then 429 until the cooldown has passed", function()
    local service = new_service { duration = 30, cooldown = 600 }
    assert.equal(204, service.sync().status)
    assert.equal(409, service.sync().status)
    service.emulator:advance(29.9)
    assert.equal(409, service.sync().status)
    service.emulator:advance(0.1)
    assert.equal(429, service.sync().status)
    service.emulator:advance(569.9)
    assert.equal(429, service.sync().status)
    service.emulator:advance(0.125)
    assert.equal(204, service.sync().status)
  end)

  it("has no cooldown with cooldown = 0", function()
    local service = new_service { duration = 0, cooldown = 0 }
    assert.equal(204, service.sync().status)
    assert.equal(204, service.sync().status)
  end)

  it("counts the cooldown from the sync's end on request", function()
    local service = new_service { duration = 30, cooldown_from = "completion" }
    service.sync()
    service.emulator:advance(629)
    assert.equal(429, service.sync().status)
    service.emulator:advance(1)
    assert.equal(204, service.sync().status)
  end)

  it("restarts the cooldown at a refusal only on request", function()
    for extend, status in pairs { [true] = 429, [false] = 204 } do
      local service = new_service { duration = 0, extend_cooldown = extend }
      service.sync()
      service.emulator:advance(400)
      assert.equal(429, service.sync().status)
      service.emulator:advance(200)
      assert.equal(status, service.sync().status)
    end
  end)

  it("never says how long the cooldown still lasts", function()
    local null = cjson.null
    local expected = {
      absent = { body = null },
      header = { header = "500", body = null },
      body = { body = 500 },
    }
    for where, told in pairs(expected) do
      local service = new_service { duration = 0, retry_after = where }
      service.sync()
      service.emulator:advance(100.5)
      local refused = service.sync()
      assert.equal(told.header, refused.headers["retry-after"])
      assert.equal(told.body, select(2, error_of(refused)).RetryAfter)
    end
  end)

  it("takes the time of a sync from a function of tenant and count", function()
    local seen = {}
    local service = new_service {
      cooldown = 0,
      duration = function(tenant, count)
        seen[count] = tenant
        return count * 10
      end,
    }
    service.sync()
    service.emulator:advance(10)
    assert.equal(204, service.sync().status)
    service.emulator:advance(19)
    assert.equal(409, service.sync().status)
    assert.same({ "contoso", "contoso" }, seen)
  end)

  it("keeps the tenants' states separate", function()
    local service = new_service { tokens = { a = { tenant = "a" }, b = { tenant = "b" } } }
    assert.equal(204, service.sync("a").status)
    assert.equal(204, service.sync("b").status)
    assert.equal(409, service.sync("a").status)
  end)
end)

describe("autopilot.emulator: the record", function()
  it("knows a tenant in any case, also without the option tenants", function()
    local service = new_service {
      tokens = { good = { tenant = "Contoso.Test" }, other = { tenant = "contoso.test" } },
    }
    assert.equal(204, service.sync("good").status)
    assert.equal(409, service.sync("other").status)
    assert.equal("inProgress", service.emulator:record("CONTOSO.test").status)
  end)

  it("shows a tenant that has never been synced", function()
    local response = new_service().status()
    assert.equal(200, response.status)
    assert.equal("application/json", response.headers["content-type"])
    assert.equal(("%d"):format(#response.body), response.headers["content-length"])
    local record = cjson.decode(response.body)
    assert.equal("unknown", record.syncStatus)
    assert.equal(never, record.lastSyncDateTime)
    assert.equal(never, record.lastManualSyncTriggerDateTime)
    local context = "https://graph.microsoft.com/beta/$metadata#"
      .. "deviceManagement/windowsAutopilotSettings/$entity"
    assert.equal(context, record["@odata.context"])
  end)

  it("shows a sync in progress and its end with seven fractional digits", function()
    local service = new_service { duration = 30.5, start = start + 0.25 }
    service.sync()
    local running = service.record()
    assert.equal("inProgress", running.syncStatus)
    assert.equal("2026-01-01T00:00:00.2500000Z", running.lastManualSyncTriggerDateTime)
    assert.equal(never, running.lastSyncDateTime)
    service.emulator:advance(30.5)
    local ended = service.record()
    assert.equal("completed", ended.syncStatus)
    assert.equal("2026-01-01T00:00:00.2500000Z", ended.lastManualSyncTriggerDateTime)
    assert.equal("2026-01-01T00:00:30.7500000Z", ended.lastSyncDateTime)
  end)

  it("writes stamps with an offset on request", function()
    local service = new_service { zone = "-08:00" }
    service.sync()
    local record = service.record()
    assert.equal("2025-12-31T16:00:00.0000000-08:00", record.lastManualSyncTriggerDateTime)
    assert.equal(never, record.lastSyncDateTime)
  end)

  it("is wrapped in value on request", function()
    local answer = new_service({ wrapped = true }).record()
    assert.equal("unknown", answer.value.syncStatus)
    assert.is_nil(answer.value["@odata.context"]) -- an annotation of the whole answer, never of the part
  end)

  it("keeps the last completed sync when a later one fails", function()
    local service = new_service { duration = 10 }
    service.sync()
    service.emulator:advance(600)
    service.emulator:inject { kind = "failed_sync" }
    assert.equal(204, service.sync().status)
    assert.equal("inProgress", service.record().syncStatus)
    service.emulator:advance(10)
    local record = service.record()
    assert.equal("failed", record.syncStatus)
    assert.equal("2026-01-01T00:00:10.0000000Z", record.lastSyncDateTime)
    assert.equal("2026-01-01T00:10:00.0000000Z", record.lastManualSyncTriggerDateTime)
  end)

  it("never loses a stamp, after any number of automatic syncs", function()
    local service = new_service { duration = 1 }
    service.sync()
    for _ = 1, 220 do
      service.emulator:advance(1)
      assert.is_true(service.emulator:trigger("contoso", { automatic = true }))
    end
    service.emulator:advance(1)
    local record = service.record()
    assert.equal("2026-01-01T00:00:00.0000000Z", record.lastManualSyncTriggerDateTime)
    assert.equal("2026-01-01T00:03:41.0000000Z", record.lastSyncDateTime)
  end)
end)

describe("autopilot.emulator: another client's sync", function()
  it("obeys the service's rules and starts the cooldown for all clients", function()
    local service = new_service { duration = 30 }
    assert.is_true(service.emulator:trigger("contoso", { by = "portal" }))
    assert.equal("portal", service.emulator.log[1].by)
    assert.equal(409, service.sync().status)
    assert.same({ nil, "in_progress" }, { service.emulator:trigger "contoso" })
    service.emulator:advance(30)
    assert.same({ nil, "cooldown" }, { service.emulator:trigger "contoso" })
    assert.is_true(service.emulator:trigger "fabrikam")
  end)

  it("leaves no manual trigger stamp when the service started it itself", function()
    local service = new_service { duration = 30 }
    service.emulator:trigger "contoso"
    service.emulator:advance(29)
    assert.same(
      { nil, "in_progress" },
      { service.emulator:trigger("contoso", { automatic = true }) }
    )
    service.emulator:advance(11)
    assert.is_true(
      service.emulator:trigger("contoso", { automatic = true, duration = 5, failed = true })
    )
    local running = service.emulator:record "contoso"
    assert.equal("inProgress", running.status)
    assert.equal(start, running.last_manual_trigger)
    service.emulator:advance(5)
    assert.same(
      { status = "failed", last_sync = start + 30, last_manual_trigger = start },
      service.emulator:record "contoso"
    )
  end)
end)

describe("autopilot.emulator: every answer", function()
  it("has the service's date and ids, and repeats the caller's id", function()
    local service = new_service { start = 784111777.9 }
    local ids = {}
    local responses = {
      service.sync(),
      service.sync(),
      service.status(),
      service.sync "bad",
      service.ask("GET", "https://host/", "good"),
      service.ask("GET", "https://host/t/oauth2/v2.0/token"),
    }
    assert.equal(6, #responses)
    for _, response in ipairs(responses) do
      assert.equal("Sun, 06 Nov 1994 08:49:37 GMT", response.headers.date)
      local id = response.headers["request-id"]
      assert.matches("^%x+%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x+$", id)
      assert.equal(36, #id)
      assert.is_nil(ids[id])
      ids[id] = true
      assert.equal(id, response.headers["client-request-id"])
      assert.truthy(cjson.decode(response.headers["x-ms-ags-diagnostic"]).ServerInfo)
      assert.equal("string", type(response.http_version))
    end
    local mine = service.ask("GET", settings_url, "good", { ["client-request-id"] = "mine" })
    assert.equal("mine", mine.headers["client-request-id"])
  end)

  it("has a right date in any year", function()
    for seconds, date in pairs {
      [1709251200 - 1] = "Thu, 29 Feb 2024 23:59:59 GMT",
      [1709251200] = "Fri, 01 Mar 2024 00:00:00 GMT",
      [-1] = "Wed, 31 Dec 1969 23:59:59 GMT",
    } do
      assert.equal(date, new_service({ start = seconds }).status().headers.date)
    end
  end)

  it("has right stamps in any year and zone", function()
    local day = 86400
    for _, case in ipairs {
      { "2000-02-29T00:00:00.0000000Z", 11016 * day },
      { "2100-03-01T00:00:00.0000000Z", 47541 * day },
      { "1600-03-01T00:00:00.0000000Z", -135080 * day },
      { "1970-01-02T00:00:00.0000000Z", day - 1e-9 },
      { "1970-01-01T05:30:00.5000000+05:30", 0.5, "+05:30" },
    } do
      local service = new_service { start = case[2], zone = case[3] }
      service.sync()
      assert.equal(case[1], service.record().lastManualSyncTriggerDateTime)
    end
  end)
end)
