-- A page of a proxy, filter or portal is never reported as Graph's answer.

local hostile = require "support.hostile_server"
local virtual_world = require "support.virtual_world"
local wire = require "support.wire"

local page = "<!DOCTYPE html><html><head><title>Web &#8211; access&nbsp;blocked</title></head>"
  .. "<body><p>Category: cloud.</p></body></html>"

local function with_page(status, headers)
  headers = headers or {}
  headers["content-type"] = headers["content-type"] or "text/html; charset=utf-8"
  return { status = status, headers = headers, body = page }
end

--- The report of a client whose transport, a function, gives this answer.
local function report_of(answer, operation, given)
  local world = virtual_world.new()
  local options = { retry = false, recover = false }
  options.transport = function()
    return answer
  end
  for name, value in pairs(given or {}) do
    options[name] = value
  end
  local client = world:client(options)
  local report, failure = client[operation or "sync"](client)
  return report or failure, client, world
end

describe("a page from a server other than Graph", function()
  after_each(wire.close)

  it("is unexpected for every 4xx, and does not prove that the request arrived", function()
    for status = 400, 499 do
      for _, retry_after in ipairs { false, "120" } do
        local report = report_of(with_page(status, { ["retry-after"] = retry_after or nil }))
        assert.equal("unexpected", report.outcome, status)
        assert.equal("unknown", report.delivered)
        assert.equal("unknown", report.attempts[1].delivered)
        assert.equal("intermediary", report.answered_by)
        assert.equal(retry_after and 120 or nil, report.retry_after)
      end
    end
  end)

  it("is named under every other status, which keeps its outcome", function()
    local outcomes = { [200] = "unexpected", [302] = "redirected", [503] = "unavailable" }
    for status, outcome in pairs(outcomes) do
      local report = report_of(with_page(status))
      assert.equal(outcome, report.outcome)
      assert.equal("unknown", report.delivered)
      assert.equal("intermediary", report.answered_by)
    end
  end)

  it("is named in the hint with status and title, which suggests no permission", function()
    local hint = report_of(with_page(403)).hint
    assert.is_truthy(hint:find("proxy, filter or portal", 1, true))
    assert.is_truthy(hint:find('HTTP 403, "Web \226\128\147 access blocked"', 1, true), hint)
    assert.is_nil(hint:find "Grant")
    local long = with_page(403)
    long.body = "<title>" .. ("blocked\27[2J\194\155 "):rep(500) .. "</title>"
    hint = report_of(long).hint
    assert.is_nil(hint:find "[%z\1-\31\127]")
    assert.is_true(#hint < 400, #hint)
  end)

  it("is recognized by its content type if it has no title", function()
    local hint = report_of({
      status = 451,
      headers = { ["content-type"] = "image/gif" },
      body = "GIF89a",
    }).hint
    assert.is_truthy(hint:find("HTTP 451, image/gif", 1, true), hint)
  end)

  it("is Graph's own answer with any one of Graph's headers", function()
    local marks = {
      { ["request-id"] = "5c0e" },
      { ["client-request-id"] = "5c0e" },
      { ["x-ms-ags-diagnostic"] = "{}" },
    }
    for _, headers in ipairs(marks) do
      local report = report_of(with_page(403, headers))
      assert.equal("forbidden", report.outcome)
      assert.equal("service", report.answered_by)
      assert.equal("yes", report.delivered)
    end
    local json = { status = 403, headers = {}, body = '{"error":{"code":"Forbidden"}}' }
    assert.equal("forbidden", report_of(json).outcome)
  end)

  it("is not a record, for any status, and the hint says who answered", function()
    local outcomes = { [200] = "unexpected", [403] = "unexpected", [502] = "unavailable" }
    for status, outcome in pairs(outcomes) do
      local report = report_of(with_page(status), "status")
      assert.equal(outcome, report.outcome)
      assert.equal("intermediary", report.answered_by)
      assert.is_truthy(report.hint:find("access blocked", 1, true))
      assert.is_nil(report.delivered)
    end
    local record = { status = 200, headers = {}, body = '\239\187\191 {"syncStatus":"completed"}' }
    assert.not_equal("intermediary", report_of(record, "status").answered_by)
  end)

  it("does not set the service's clock, and its date is not reported as the service's", function()
    local date = { ["date"] = "Sun, 06 Nov 1994 08:49:37 GMT" }
    for _, status in ipairs { 200, 403, 502 } do
      for _, operation in ipairs { "sync", "status" } do
        local report, client = report_of(with_page(status, date), operation)
        assert.is_nil(report.service_date)
        assert.is_false(client.service_clock:is_known())
      end
    end
  end)

  it("counts its Retry-After by its own clock", function()
    local report = report_of(with_page(503, {
      ["date"] = "Sun, 06 Nov 1994 08:49:37 GMT",
      ["retry-after"] = "Sun, 06 Nov 1994 08:51:37 GMT",
    }))
    assert.equal(120, report.retry_after)
  end)

  it("makes no provider ask for another token", function()
    local asked = 0
    report_of(with_page(401, { ["www-authenticate"] = "Basic" }), "sync", {
      token = function()
        asked = asked + 1
        return "token-" .. asked
      end,
    })
    assert.equal(1, asked)
  end)

  it("is recognized over a real connection, too, as is JSON without an error", function()
    local outcomes = { [403] = "unexpected", [429] = "unexpected", [502] = "unavailable" }
    for status, outcome in pairs(outcomes) do
      for _, body in ipairs { page, "", "{}" } do
        local answer = "HTTP/1.1 %d X\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%s"
        local server = hostile.listen(wire.answers(answer:format(status, #body, body), "close"))
        local report =
          report_of(nil, "sync", { transport = wire.transport(), base_url = server:url() })
        assert.equal(outcome, report.outcome)
        assert.equal("intermediary", report.answered_by)
        assert.equal("unknown", report.delivered)
      end
    end
  end)
end)

describe("a transport for tests", function()
  it("answers as Graph by default", function()
    for intermediary, outcome in pairs { [true] = "unexpected", [false] = "cooldown" } do
      local answer = with_page(429)
      answer.intermediary = intermediary
      local client = virtual_world.new():scripted({ answer }, { retry = false })
      assert.equal(outcome, select(2, client:sync()).outcome)
    end
    local client = virtual_world.new():scripted({ with_page(429) }, { retry = false })
    assert.equal("cooldown", select(2, client:sync()).outcome)
  end)

  it("that is a function needs no headers of Graph for JSON and for an empty answer", function()
    assert.equal("in_progress", report_of({ status = 409, body = "{}" }).outcome)
    assert.equal("in_progress", report_of({ status = 409 }).outcome)
    assert.equal(
      "throttled",
      report_of({ status = 429, headers = { ["retry-after"] = "5" } }).outcome
    )
    assert.equal("unexpected", report_of({ status = 409, intermediary = true }).outcome)
    assert.equal(
      "in_progress",
      report_of({ status = 409, body = page, intermediary = false }).outcome
    )
  end)
end)

describe("the hint", function()
  local function hint_of(status, headers, body)
    local client = virtual_world.new():scripted(
      { { status = status, headers = headers, body = body } },
      { retry = false, recover = false }
    )
    return (select(2, client:sync())).hint
  end

  it("names only the host of a redirect", function()
    local leads = {
      ["https://login.portal.example/start?token=x"] = "login.portal.example",
      ["https://me:secret@portal.example:8443/a"] = "portal.example:8443",
      ["//portal.example#a"] = "portal.example",
      ["http://[::1]:80/"] = "[::1]:80",
    }
    for location, host in pairs(leads) do
      local hint = hint_of(302, { Location = location })
      assert.is_truthy(hint:find("to " .. host .. ",", 1, true), hint)
      assert.is_nil(hint:find "secret")
      assert.is_nil(hint:find "start")
    end
    local no_hosts = { "/elsewhere", "https://a\27[2Jb/", "https://", "javascript:alert(1)" }
    for _, location in ipairs(no_hosts) do
      assert.equal(hint_of(302), hint_of(302, { Location = location }))
    end
  end)

  it("names cloud and version if the service does not know the URL's segment", function()
    local body = [[{"error":{"code":"BadRequest","message":"Resource not found for the segment ]]
      .. [['windowsAutopilotSettings'."}}]]
    for _, status in ipairs { 400, 404 } do
      assert.is_truthy(hint_of(status, nil, body):find("cloud and api_version", 1, true))
    end
  end)

  it("does not refer to an error that is missing", function()
    assert.is_nil(hint_of(400):find "see the error")
    assert.is_truthy(hint_of(400, nil, '{"error":{"code":"BadRequest"}}'):find "see the error")
  end)

  it("describes an unexpected answer", function()
    local hint = hint_of(200, { ["Content-Type"] = "application/json; charset=utf-8" }, "{}")
    assert.is_truthy(hint:find("HTTP 200, application/json", 1, true), hint)
  end)
end)
