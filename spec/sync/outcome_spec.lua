-- The table of outcomes: every answer of a service has one meaning, and every failure a hint.

local outcome = require "autopilot.sync.outcome"
local new_report = require("autopilot.sync.report").new
local virtual_world = require "support.virtual_world"

--- The hint of a report with this outcome, error and network failure.
local function hint_of_failure(name, service_error, network)
  return outcome.hint_of { outcome = name, error = service_error, network = network }
end

--- What the contract says of an answer to the sync request.
local function expected(status, has_retry_after)
  local particular = {
    [204] = "started",
    [401] = "unauthenticated",
    [403] = "forbidden",
    [404] = "not_found",
    [409] = "in_progress",
    [429] = has_retry_after and "throttled" or "cooldown",
  }
  local class = { [3] = "redirected", [4] = "rejected", [5] = "unavailable" }
  return particular[status] or class[math.floor(status / 100)] or "unexpected"
end

--- A report of the sync request, answered so.
local function report_of(answer)
  local client = virtual_world.new():scripted({ answer }, { retry = false, recover = false })
  local report, failure = client:sync()
  assert.is_true((report == nil) ~= (failure == nil))
  return report or failure
end

describe("autopilot.sync.outcome", function()
  it("is the documented one for every status, with and without Retry-After", function()
    for status = 100, 599 do
      for _, retry_after in ipairs { false, "120", "0" } do
        local report =
          report_of { status = status, headers = { ["Retry-After"] = retry_after or nil } }
        assert.equal(expected(status, retry_after), report.outcome, status)
        assert.equal(status, report.status)
        assert.equal(status == 204, report.ok)
        assert.equal("service", report.answered_by)
      end
    end
  end)

  it(
    "tells that the request arrived after 204 and any 4xx, and is not sure after others",
    function()
      for status = 100, 599 do
        local arrived = status == 204 or (status >= 400 and status <= 499)
        local report = report_of { status = status }
        assert.equal(arrived and "yes" or "unknown", report.delivered, status)
        assert.equal(report.delivered, report.attempts[1].delivered)
        assert.equal(1, report.attempts[1].sends)
      end
    end
  )

  it("is confirmed by the response only if a sync was started", function()
    for status = 100, 599 do
      assert.equal(status == 204 and "response" or nil, report_of({ status = status }).confirmed_by)
    end
  end)

  it("has ok for each, and for each failure one sentence of advice", function()
    local names = {
      started = true,
      completed = true,
      fresh = true,
      in_progress = false,
      cooldown = false,
      throttled = false,
      unauthenticated = false,
      forbidden = false,
      not_licensed = false,
      not_found = false,
      rejected = false,
      unavailable = false,
      redirected = false,
      unexpected = false,
      unreachable = false,
      interrupted = false,
      token_error = false,
      cancelled = false,
      sync_failed = false,
      timed_out = false,
    }
    for name, ok in pairs(names) do
      assert.equal(ok, new_report({ outcome = name }).ok, name)
      if ok then
        assert.is_nil(hint_of_failure(name))
      else
        local hint = hint_of_failure(name)
        assert.is_truthy(hint:find "^%u.*%.$", name)
        assert.is_nil(hint:find "%c")
      end
    end
    for name in pairs(outcome.all) do
      assert.is_not_nil(names[name], name)
    end
  end)

  it("has a hint for an unreachable service by the stage that failed", function()
    local function hint_of(stage, message)
      return hint_of_failure(
        "unreachable",
        nil,
        { stage = stage, name = "CURLE_X", message = message }
      )
    end
    for _, word in ipairs { "--ca-file", "http.ca_file", "SSL_CERT_FILE", "clock" } do
      assert.is_truthy(hint_of("tls", "no"):find(word, 1, true))
    end
    assert.is_truthy(hint_of("tls", "certificate is not yet valid"):find "set the clock%.$")
    local mismatch = "SSL: no alternative certificate subject name matches target host name 'x'"
    assert.is_truthy(hint_of("tls", mismatch):find "for another name")
    assert.is_truthy(hint_of("connect", "refused"):find "firewalls%.$")
    assert.is_truthy(hint_of("resolve", "no"):find "DNS")
    assert.is_truthy(hint_of("proxy", "no"):find "^The proxy %(%-%-proxy, http%.proxy")
    assert.is_truthy(
      hint_of("proxy", "refused (proxy set by ALL_PROXY)"):find "^The proxy that ALL_PROXY names"
    )
    assert.equal(hint_of_failure "unreachable", hint_of("send", "no"))
  end)

  it("ignores an unreadable Retry-After", function()
    for _, text in ipairs { "soon", "-5", "1e3", "" } do
      local report = report_of { status = 429, headers = { ["Retry-After"] = text } }
      assert.equal("cooldown", report.outcome)
    end
  end)

  it("is throttled if only the body has a Retry-After", function()
    local body = '{"error":{"code":"TooManyRequests","message":"{\\"RetryAfter\\": 45}"}}'
    local report = report_of { status = 429, body = body }
    assert.equal("throttled", report.outcome)
    assert.equal(45, report.retry_after)
  end)

  it("is not_licensed for a 400 that says so, and rejected for others", function()
    local words = "Request not applicable to target tenant."
    for status, name in pairs { [400] = "not_licensed", [422] = "rejected" } do
      local body = '{"error":{"code":"BadRequest","message":"' .. words .. '"}}'
      assert.equal(name, report_of({ status = status, body = body }).outcome)
      assert.equal(name, report_of({ status = status, body = words }).outcome)
    end
    assert.equal("rejected", report_of({ status = 400, body = "no" }).outcome)
  end)

  it("is forbidden for a 401 whose body says Forbidden", function()
    local body = '{"error":{"code":"Forbidden","message":"no"}}'
    assert.equal("forbidden", report_of({ status = 401, body = body }).outcome)
    assert.equal("unauthenticated", report_of({ status = 401, body = "" }).outcome)
  end)

  it("names the missing permission in the hint if the service names it", function()
    local body = '{"error":{"code":"Forbidden","message":"Application must have one of the '
      .. 'following scopes: Device.Fly.All, Device.Swim.All"}}'
    local hint = report_of({ status = 403, body = body }).hint
    assert.is_truthy(hint:find "Device.Fly.All")
    assert.is_truthy(hint:find "Device.Swim.All")
  end)

  it("is unexpected for a 200, as from a captive portal", function()
    local portal = {
      status = 200,
      headers = { ["Content-Type"] = "text/html" },
      body = "<html><h1>Welcome to the hotel</h1></html>",
    }
    local report = report_of(portal)
    assert.equal("unexpected", report.outcome)
    assert.equal("unknown", report.delivered)
    local client = virtual_world.new():scripted({ portal }, { retry = false })
    assert.equal("unexpected", select(2, client:status()).outcome)
  end)

  it("of a read of the status never mentions syncs", function()
    local others = { [204] = "unexpected", [409] = "rejected", [429] = "throttled" }
    for status, name in pairs(others) do
      local client = virtual_world.new():scripted({ { status = status } }, { retry = false })
      local failure = select(2, client:status())
      assert.equal(name, failure.outcome)
      assert.is_nil(failure.delivered)
      assert.is_nil(failure.attempts)
    end
  end)

  it("of a redirect is reported, and the redirect is not followed", function()
    local client, transport = virtual_world.new():scripted {
      { status = 307, headers = { Location = "https://evil.example/" } },
    }
    assert.equal("redirected", select(2, client:sync()).outcome)
    assert.equal(1, #transport.requests)
  end)
end)
