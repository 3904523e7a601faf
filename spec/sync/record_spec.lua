local cjson = require "cjson"
local settings = require "autopilot.sync.record"

-- As the live service gave it.
local live = '{"lastSyncDateTime":"2026-07-23T11:23:15.0768271Z",'
  .. '"lastManualSyncTriggerDateTime":"2026-07-23T11:23:14.5754524Z","syncStatus":"completed"}'
local live_sync, live_trigger = 1784805795.0768271, 1784805794.5754524

local function parse(members)
  return assert(settings.parse(cjson.encode(members)))
end

local function near(expected, given)
  assert.is_number(given)
  assert.is_true(math.abs(expected - given) < 1e-6, ("%.7f"):format(given))
end

describe("autopilot.sync.record.parse", function()
  it("reads the record of the live service, with fractions", function()
    local record = assert(settings.parse(live))
    assert.equal("completed", record.sync_status)
    near(live_sync, record.last_sync)
    near(live_trigger, record.last_manual_trigger)
    assert.is_true(record.trigger_known)
  end)

  it("reads the record inside value, as an object or a list of one", function()
    local plain = assert(settings.parse(live))
    assert.same(plain, (settings.parse('{"@odata.context":"x","value":' .. live .. "}")))
    assert.same(plain, (settings.parse('{"value":[' .. live .. "]}")))
    assert.same(plain, (settings.parse(" \r\n" .. live .. "\n")))
  end)

  it("reads offsets", function()
    local record = parse {
      value = {
        ["@odata.type"] = "#microsoft.graph.windowsAutopilotSettings",
        id = "08c16770-6770-08c1-7067-c1087067c108",
        lastSyncDateTime = "2017-01-01T00:02:49.3205976-08:00",
        lastManualSyncTriggerDateTime = "2016-12-31T23:57:54.7364636-08:00",
        syncStatus = "inProgress",
      },
    }
    assert.equal("in_progress", record.sync_status)
    near(1483257769.3205976, record.last_sync)
    near(1483257474.7364636, record.last_manual_trigger)
  end)

  it("takes zero dates and null for never", function()
    local never = {
      '"0001-01-01T00:00:00Z"',
      '"0001-01-01T00:00:00-08:00"',
      '"0001-01-01T00:00:00.0000000+14:00"',
      '"1601-01-01T00:00:00Z"',
      '"1970-01-01T00:00:00Z"',
      '"1970-01-01T00:00:00-08:00"',
      "null",
    }
    for _, stamp in ipairs(never) do
      local body =
        '{"syncStatus":"unknown","lastSyncDateTime":%s,"lastManualSyncTriggerDateTime":%s}'
      local record = assert(settings.parse(body:format(stamp, stamp)))
      assert.same({ sync_status = "unknown", trigger_known = true }, record, stamp)
    end
  end)

  it("distinguishes a missing trigger from an unreadable one", function()
    assert.is_true(parse({ lastManualSyncTriggerDateTime = cjson.null }).trigger_known)
    local unreadable =
      { "yesterday", "", "2026-07-23T11:23:14", 1784805794, true, {}, "9999-12-31T23:59:59Z" }
    for _, value in ipairs(unreadable) do
      local record = parse { syncStatus = "completed", lastManualSyncTriggerDateTime = value }
      assert.same({ sync_status = "completed", trigger_known = false }, record)
    end
    assert.is_false(parse({ syncStatus = "completed" }).trigger_known)
  end)

  it(
    "leaves a member out that is missing, null or of a wrong type, and keeps the others",
    function()
      local wrong = { cjson.null, 7, true, {}, { "completed" }, "not a state", "", "a\nb" }
      for _, value in ipairs(wrong) do
        local record = parse { syncStatus = value, lastSyncDateTime = "2026-01-01T00:00:00Z" }
        assert.same({ last_sync = 1767225600, trigger_known = false }, record)
      end
      local record = parse { syncStatus = "failed", lastSyncDateTime = {} }
      assert.same({ sync_status = "failed", trigger_known = false }, record)
    end
  )

  it("names every state of the enumeration, and keeps an unknown state", function()
    local names = {
      unknown = "unknown",
      inProgress = "in_progress",
      InProgress = "in_progress",
      completed = "completed",
      failed = "failed",
      unknownFutureValue = "unknownFutureValue",
      partiallyCompleted = "partiallyCompleted",
    }
    for theirs, ours in pairs(names) do
      assert.equal(ours, parse({ syncStatus = theirs }).sync_status)
    end
    local long = { syncStatus = ("x"):rep(65), lastSyncDateTime = "2026-01-01T00:00:00Z" }
    assert.is_nil(parse(long).sync_status)
  end)

  it("refuses other bodies, in one sentence that does not quote them", function()
    local bodies = {
      "",
      " \r\n",
      "SECRET",
      "<html><title>SECRET</title></html>",
      '{"error":{"code":"SECRET"}}',
      '{"value":[]}',
      '{"value":null}',
      '{"value":"SECRET"}',
      '{"value":{"id":"SECRET"}}',
      '{"value":[{"id":"SECRET"}]}',
      '{"value":[' .. live .. "," .. live .. "]}",
      "[" .. live .. "]",
      "[]",
      "{}",
      "null",
      "7",
      '"SECRET"',
      '{"syncStatus":"SECRET"',
      '{"syncStatus":17,"lastSyncDateTime":"SECRET","lastManualSyncTriggerDateTime":{}}',
      live .. "<html>",
      ("["):rep(1048576),
      '{"value":' .. ("["):rep(100) .. ("]"):rep(100) .. "}",
    }
    for _, body in ipairs(bodies) do
      local record, message = settings.parse(body)
      assert.is_nil(record, body:sub(1, 40))
      assert.matches("^the status answer is [%a ]+$", message)
      assert.is_nil(message:find "SECRET")
    end
    assert.matches("is empty$", (select(2, settings.parse " \r\n")))
    assert.matches("is not JSON$", (select(2, settings.parse(live .. "<html>"))))
    for _, body in pairs { 7, true, {} } do
      assert.is_nil((settings.parse(body)))
    end
    assert.is_nil((settings.parse(nil)))
  end)
end)

local function record_of(status, last_sync, last_manual_trigger)
  return { sync_status = status, last_sync = last_sync, last_manual_trigger = last_manual_trigger }
end

describe("autopilot.sync.record.latest_stamp", function()
  it("is the later of the two stamps", function()
    assert.equal(1000, settings.latest_stamp(record_of("completed", 1000, 990)))
    assert.equal(1000, settings.latest_stamp(record_of("in_progress", 400, 1000)))
    assert.equal(1000, settings.latest_stamp(record_of("completed", 1000, nil)))
    assert.equal(1000.5, settings.latest_stamp(record_of("failed", nil, 1000.5)))
  end)

  it("is nil if there was never a sync", function()
    assert.is_nil(settings.latest_stamp(record_of "unknown"))
  end)
end)

describe("autopilot.sync.record.covers", function()
  it("is decided by the trigger's stamp, not the last sync's", function()
    assert.is_true(settings.covers(record_of("in_progress", nil, 1000), 1000))
    assert.is_true(settings.covers(record_of("completed", 1001, 1000), 999.5))
    assert.is_false(settings.covers(record_of("completed", 5000, 999.999), 1000))
    assert.is_false(settings.covers(record_of("completed", 5000, nil), 1000))
  end)
end)

describe("autopilot.sync.record.has_completed", function()
  it("is proven by a last sync at or after the trigger", function()
    assert.is_true(settings.has_completed(record_of("completed", 1000.5, 1000), 1000))
    assert.is_true(settings.has_completed(record_of("completed", 1000, 1000), 1000))
    assert.is_true(settings.has_completed(record_of("unknown", 1001, 1000), 1000))
    assert.is_true(settings.has_completed(record_of(nil, 1001, nil), 1000))
  end)

  it("is not proven by an earlier sync's completed", function()
    assert.is_false(settings.has_completed(record_of("completed", 400, 1000), 1000))
    assert.is_false(settings.has_completed(record_of("completed", 999.999, 390), 1000))
    assert.is_false(settings.has_completed(record_of("completed", nil, 1000), 1000))
  end)

  it("is not proven during a later sync: the earlier one may have failed", function()
    assert.is_false(settings.has_completed(record_of("in_progress", 1000.5, 1000), 1000))
    assert.is_false(settings.has_completed(record_of("in_progress", 1000.5, nil), 1000))
    assert.is_false(settings.has_completed(record_of("in_progress", 1060, 1700), 1000))
  end)

  it("is never proven by a failed record, for any stamps", function()
    assert.is_false(settings.has_completed(record_of("failed", 1060, 1700), 1000))
    assert.is_false(settings.has_completed(record_of("failed", 1060, 1000), 1000))
    assert.is_false(settings.has_completed(record_of("failed", 1060, nil), 1000))
  end)
end)

describe("autopilot.sync.record.has_failed", function()
  it("is true for a failed record with the trigger", function()
    assert.is_true(settings.has_failed(record_of("failed", nil, 1000), 1000))
    assert.is_true(settings.has_failed(record_of("failed", 400, 1000), 1000))
    assert.is_true(settings.has_failed(record_of("failed", 400, 1700), 1000))
    assert.is_true(settings.has_failed(record_of("failed", 1060, 1000), 1000))
  end)

  it("ignores a failure from before the trigger", function()
    assert.is_false(settings.has_failed(record_of("failed", 100, 400), 1000))
    assert.is_false(settings.has_failed(record_of("failed", nil, nil), 1000))
  end)

  it("is never true together with has_completed, nor without failed", function()
    for _, status in ipairs { "unknown", "in_progress", "completed", "failed", "other" } do
      for _, last_sync in ipairs { 0, 999, 1000, 1001 } do
        for _, trigger in ipairs { 0, 999, 1000, 1001 } do
          local record = record_of(status, last_sync, trigger)
          local failed = settings.has_failed(record, 1000)
          assert.is_false(failed and settings.has_completed(record, 1000))
          assert.is_true(not failed or status == "failed")
        end
      end
    end
  end)
end)
