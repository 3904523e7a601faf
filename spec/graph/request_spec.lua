-- One authorised request: its headers, what the report has of its answer or of a network failure,
-- and what an HTTP layer may do.

local mistakes = require "support.mistakes"
local retry = require "autopilot.retry"
local scripted = require "autopilot.transport.scripted"
local virtual_world = require "support.virtual_world"

local uuid_pattern = "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-4%x%x%x%-[89ab]%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$"

describe("autopilot.client: the headers of a request", function()
  it("are the token, Accept, a generated id, and the library's user agent", function()
    local client, transport = virtual_world.new():scripted { { status = 204 } }
    local report = client:sync()
    local headers = transport.requests[1].headers
    assert.equal("Bearer good", headers["Authorization"])
    assert.equal("application/json", headers["Accept"])
    assert.is_truthy(headers["client-request-id"]:match(uuid_pattern))
    assert.equal(headers["client-request-id"], report.client_request_id)
    assert.equal("autopilot-sync/" .. require "autopilot.version", headers["User-Agent"])
    assert.is_nil(headers["retry-attempt"])
    assert.is_nil(headers["SdkVersion"])
    local count = 0
    for _ in pairs(headers) do
      count = count + 1
    end
    assert.equal(4, count)
  end)

  it("have a new version 4 UUID for every attempt, and tell the number of a retry", function()
    local client, transport = virtual_world.new():scripted {
      { status = 503 },
      { status = 200, body = "{}" },
      { network = {} },
      { status = 204 },
    }
    client.options.recover = false
    client.policy = retry.policy { on = { "unavailable", "unexpected", "unreachable" } }
    local report = client:sync()
    local seen = {}
    for number, request in ipairs(transport.requests) do
      local id = request.headers["client-request-id"]
      assert.is_truthy(id:match(uuid_pattern))
      assert.is_nil(seen[id])
      seen[id] = true
      assert.equal(id, report.attempts[number].client_request_id)
      assert.equal(number > 1 and tostring(number - 1) or nil, request.headers["retry-attempt"])
    end
    assert.equal(4, #transport.requests)
  end)

  it("have the caller's own id in the first request only", function()
    local client, transport = virtual_world.new():scripted { { network = {} }, { status = 204 } }
    client:sync { client_request_id = "ticket-4711" }
    assert.equal("ticket-4711", transport.requests[1].headers["client-request-id"])
    assert.is_truthy(transport.requests[2].headers["client-request-id"]:match(uuid_pattern))
  end)

  it("have the user agent of the options", function()
    local client, transport = virtual_world
      .new()
      :scripted({ { status = 204 } }, { http = { user_agent = "fleet/2" } })
    client:sync()
    assert.equal("fleet/2", transport.requests[1].headers["User-Agent"])
  end)

  it("are the same for a read of the status, which is a GET of the record", function()
    local client, transport = virtual_world.new():scripted { virtual_world.record {} }
    client:status()
    local request = transport.requests[1]
    assert.equal("GET", request.method)
    assert.equal(
      "https://graph.microsoft.com/beta/deviceManagement/windowsAutopilotSettings",
      request.url
    )
    assert.equal("Bearer good", request.headers["Authorization"])
    assert.equal("application/json", request.headers["Accept"])
  end)
end)

describe("autopilot.client: the service's ids for its support", function()
  it("is in the report, from headers or body", function()
    local world = virtual_world.new()
    local client = world:scripted {
      {
        status = 403,
        http_version = "2",
        timings = { name_lookup = 0.1, connect = 0.2, tls = 0.3, first_byte = 0.4, total = 0.5 },
        headers = {
          ["Date"] = virtual_world.date(world.time + 7),
          ["request-id"] = "5c0e",
          ["x-ms-ags-diagnostic"] = '{"ServerInfo":{}}',
        },
        body = '{"error":{"code":"Forbidden","message":"Not you. - Operation ID (for customer '
          .. "support): 00000000-0000-0000-0000-000000000000 - Activity ID: "
          .. '6342a1de-0000-4000-8000-000000000001 - Url: https://x"}}',
      },
    }
    local failure = select(2, client:sync())
    assert.equal("forbidden", failure.outcome)
    assert.equal("sync", failure.operation)
    assert.equal(403, failure.status)
    assert.equal("2", failure.http_version)
    assert.equal("5c0e", failure.request_id)
    assert.equal('{"ServerInfo":{}}', failure.diagnostics)
    assert.equal(math.floor(world.time + 7), failure.service_date)
    assert.equal("6342a1de-0000-4000-8000-000000000001", failure.activity_id)
    assert.equal("Forbidden", failure.error.code)
    assert.equal("Not you.", failure.error.message)
    assert.same(
      { name_lookup = 0.1, connect = 0.2, tls = 0.3, first_byte = 0.4, total = 0.5 },
      failure.timings
    )
    assert.equal("5c0e", failure.attempts[1].request_id)
  end)

  it("come with no more timings than a report has, whatever a transport adds", function()
    local client = require("autopilot").client {
      token = "t",
      transport = function()
        local timings = { total = 0.5, tls = "Bearer t", note = "Bearer t" }
        return { status = 204, headers = {}, timings = timings }
      end,
    }
    assert.same({ total = 0.5 }, assert(client:sync()).timings)
  end)

  it("come with whether the time was over, whatever a transport says instead", function()
    local client = require("autopilot").client {
      token = "t",
      transport = function()
        return nil, { stage = "connect", timeout = "Bearer t", delivered = "no" }
      end,
      retry = false,
    }
    assert.is_true(select(2, client:sync()).network.timeout)
  end)

  it("come with the usual number of sends, whatever a transport says instead", function()
    for _, sends in ipairs { "Bearer t", -1, 0 / 0, 1 / 0, 1.5, {} } do
      local answers = { { status = 204, sends = sends } }
      local client = virtual_world.new():client {
        retry = false,
        recover = false,
        transport = function()
          return table.remove(answers), { stage = "send", sends = sends }
        end,
      }
      assert.equal(1, assert(client:sync { force = true }).attempts[1].sends)
      assert.equal(1, select(2, client:sync { force = true }).attempts[1].sends)
    end
  end)

  it("reads a header that a transport returns as a number", function()
    local answer
    local client = require("autopilot").client {
      token = "t",
      transport = function()
        return answer
      end,
      retry = false,
    }
    answer = { status = 302, headers = { location = 5 } }
    assert.equal("redirected", select(2, client:sync()).outcome)
    answer = { status = 429, headers = { ["retry-after"] = 5 } }
    local failure = select(2, client:sync())
    assert.same({ "throttled", 5 }, { failure.outcome, failure.retry_after })
  end)

  it("takes the request id from the body where no header has it", function()
    local client = virtual_world.new():scripted {
      { status = 403, body = '{"error":{"code":"x","innerError":{"request-id":"5c0e"}}}' },
    }
    assert.equal("5c0e", select(2, client:sync()).request_id)
  end)

  it("are reported even if the rest of the answer was cut", function()
    for _, status in ipairs { 204, 429 } do
      local client = virtual_world.new():client {
        transport = function()
          return { status = status, headers = { ["retry-after"] = "300" }, body = "" }, {
            stage = "receive",
            name = "CURLE_RECV_ERROR",
            message = "cut",
            delivered = "unknown",
          }
        end,
      }
      local report, failure = client:sync()
      report = report or failure
      assert.equal(status == 204 and "started" or "throttled", report.outcome)
      assert.equal("yes", report.delivered)
      assert.equal("receive", report.network.stage)
    end
  end)
end)

describe("autopilot.client: an answer of an intermediary", function()
  local function clock_after(answer)
    local world = virtual_world.new()
    answer.headers["Date"] = virtual_world.date(world.time + 3600)
    local client = world:scripted({ answer }, { retry = false, recover = false })
    client:status()
    return client.service_clock
  end

  it("does not tell the service's time", function()
    for _, answer in ipairs {
      { status = 200, headers = { ["Content-Type"] = "text/html" }, body = "<html>Sign in</html>" },
      { status = 302, headers = { ["Location"] = "https://portal.example/" } },
      { status = 502, headers = {} },
    } do
      assert.is_false(clock_after(answer):is_known())
    end
  end)

  it("is distinguished from the service's own by Graph's ids", function()
    for _, name in ipairs { "request-id", "x-ms-ags-diagnostic" } do
      assert.is_true(clock_after({ status = 503, headers = { [name] = "5c0e" } }):is_known())
    end
  end)
end)

describe("autopilot.client: a network failure", function()
  it("is unreachable if the request surely was not sent, else interrupted", function()
    for _, stage in ipairs { "resolve", "connect", "proxy", "tls", "send", "receive" } do
      local client = virtual_world.new():scripted({
        { network = { stage = stage, message = "it broke", timeout = true } },
      }, { retry = false, recover = false })
      local failure = select(2, client:sync())
      local was_sent = stage == "send" or stage == "receive"
      assert.equal(was_sent and "interrupted" or "unreachable", failure.outcome)
      assert.equal(was_sent and "unknown" or "no", failure.delivered)
      assert.equal(stage, failure.network.stage)
      assert.equal("it broke", failure.network.message)
      assert.equal("CURLE_OPERATION_TIMEDOUT", failure.network.name)
      assert.is_true(failure.network.timeout)
      assert.equal(was_sent and 1 or 0, failure.attempts[1].sends)
      assert.is_nil(failure.status)
      assert.is_nil(failure.error)
      assert.is_truthy(failure.hint)
    end
  end)

  it("says how often the request may have been sent", function()
    local client = virtual_world.new():scripted(
      { { network = { stage = "receive", sends = 3 } } },
      { retry = false, recover = false }
    )
    assert.equal(3, select(2, client:sync()).attempts[1].sends)
  end)
end)

describe("autopilot.client: a transport that returns invalid values", function()
  it("causes an error at the caller's line", function()
    for _, results in pairs {
      nothing = {},
      number = { 5 },
      text = { "204" },
      no_status = { {} },
      text_as_status = { { status = "204" } },
      fraction_as_status = { { status = 204.5 } },
      nan_as_status = { { status = 0 / 0 } },
      small_status = { { status = 0 } },
      text_as_failure = { nil, "timeout" },
      text_as_headers = { { status = 409, headers = "x" } },
      number_as_headers = { { status = 409, headers = 5 } },
      table_as_header = { { status = 409, headers = { ["retry-after"] = {} } } },
      table_as_body = { { status = 409, headers = {}, body = {} } },
    } do
      local client = virtual_world.new():client {
        transport = function()
          return results[1], results[2]
        end,
      }
      for _, method in ipairs { "sync", "status", "wait", "ensure" } do
        local line
        local message = mistakes.raised(function()
          line = mistakes.this_line() + 1
          client[method](client)
        end)
        mistakes.assert_raised_at(line, message, ("client:%s: the transport"):format(method))
      end
    end
  end)

  it("may omit optional fields", function()
    local client = virtual_world.new():client {
      retry = false,
      transport = function()
        return { status = 503 }
      end,
    }
    assert.equal("unavailable", select(2, client:status()).outcome)
    client = virtual_world.new():client {
      retry = false,
      transport = function()
        return nil, {}
      end,
    }
    local failure = select(2, client:status())
    assert.equal("interrupted", failure.outcome)
    assert.is_false(failure.network.timeout)
    assert.is_truthy(failure.network.stage)
    assert.is_truthy(tostring(failure))
  end)

  it("that tells no text as a failure's stage, name or message is read without it", function()
    local hostile = setmetatable({}, { __tostring = error })
    for _, value in ipairs { hostile, 5, true, print, "" } do
      local client = virtual_world.new():client {
        retry = false,
        recover = false,
        transport = function()
          return nil, { stage = value, name = value, message = value, delivered = "unknown" }
        end,
      }
      local failure = select(2, client:sync())
      assert.equal("receive", failure.network.stage)
      assert.equal("", failure.network.message)
      assert.is_nil(failure.network.name)
      assert.is_string(tostring(failure))
    end
  end)

  it("that returns no number as its count of sendings is taken to have sent once", function()
    local lost = { stage = "receive", message = "reset", delivered = "unknown" }
    for _, sends in ipairs { "2", true, {}, 0 / 0, -1, 0.5, 1 / 0 } do
      for _, answer in ipairs { { { status = 403 } }, { nil, lost } } do
        local response, network = answer[1], answer[2]
        local given = response or network
        given.sends = sends
        local client = virtual_world.new():client {
          retry = false,
          recover = false,
          transport = function()
            return response, network
          end,
        }
        local failure = select(2, client:sync())
        assert.equal(1, failure.attempts[1].sends)
      end
    end
  end)

  it("that raises passes its error to the caller, and the client can be used again", function()
    local answers = { { status = 204 } }
    local client = virtual_world.new():client {
      transport = function()
        return table.remove(answers) or error("the script has an end", 0)
      end,
    }
    assert(client:sync())
    assert.equal("the script has an end", mistakes.raised(client.sync, client, { force = true }))
    answers[1] = { status = 204 }
    assert.equal("started", client:sync({ force = true }).outcome)
  end)
end)

describe("autopilot.client: an HTTP layer that yields", function()
  it("works in every Lua version", function()
    local inner = scripted { { status = 204 } }
    local client = virtual_world.new():client {
      transport = function(request)
        coroutine.yield "waiting"
        return inner(request)
      end,
    }
    local thread = coroutine.create(function()
      return client:sync()
    end)
    assert.same({ true, "waiting" }, { coroutine.resume(thread) })
    local ok, report = coroutine.resume(thread)
    assert.is_true(ok)
    assert.equal("started", report.outcome)
  end)

  it("that closes the client ends the retries", function()
    local client
    client = virtual_world.new():client {
      transport = function()
        client:close()
        return { status = 503, headers = {}, body = "" }
      end,
    }
    local failure = select(2, client:sync())
    assert.is_false(failure.ok)
    assert.equal(1, #failure.attempts)
  end)
end)
