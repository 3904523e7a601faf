local scripted = require "autopilot.transport.scripted"

local function request(url)
  return {
    method = "POST",
    url = url or "https://graph.microsoft.com/beta/sync",
    headers = { Authorization = "Bearer secret-token", Accept = "application/json" },
    timeout = { connect = 10, total = 60 },
  }
end

--- What a mistake in the script raises, at the caller's line.
local function mistake(script)
  local line = debug.getinfo(1, "l").currentline + 2
  local ok, message = pcall(function()
    local transport = scripted(script)
    return transport
  end)
  assert.is_false(ok)
  local expected = "scripted_spec%.lua:" .. line .. ": (autopilot%.transport%.scripted: .*)"
  assert.matches(expected, message)
  return message:match(expected)
end

describe("autopilot.transport.scripted", function()
  it("answers in order, and records the requests", function()
    local transport = scripted { { status = 429 }, { network = {} }, { status = 204 } }
    assert.equal(429, transport(request "https://one/").status)
    local response, network = transport(request "https://two/")
    assert.is_nil(response)
    assert.equal("connect", network.stage)
    assert.equal(204, transport(request "https://three/").status)
    assert.equal(3, #transport.requests)
    assert.equal("https://two/", transport.requests[2].url)
    assert.same(request "https://three/", transport.requests[3])
  end)

  it("fills in what the HTTP layer always has", function()
    assert.same({
      status = 204,
      headers = {},
      body = "",
      http_version = "1.1",
      intermediary = false,
      timings = { name_lookup = 0, connect = 0, tls = 0, first_byte = 0, total = 0 },
    }, (scripted { { status = 204 } }(request())))
    local response = scripted {
      {
        status = 200,
        headers = { ["Retry-After"] = 5, Vary = { "a", "b" }, Date = "today" },
        body = "{}",
        http_version = "2",
        timings = { total = 0.25 },
        sends = 2,
      },
    }(request())
    assert.same({
      status = 200,
      headers = { ["retry-after"] = "5", vary = "a, b", date = "today" },
      body = "{}",
      http_version = "2",
      intermediary = false,
      timings = { name_lookup = 0, connect = 0, tls = 0, first_byte = 0, total = 0.25 },
      sends = 2,
    }, response)
  end)

  it(
    "fills in a network failure: not delivered up to the TLS handshake, unknown after it",
    function()
      local function failure(given)
        local response, network = scripted { { network = given } }(request())
        assert.is_nil(response)
        return network
      end
      assert.same({
        stage = "connect",
        name = "CURLE_COULDNT_CONNECT",
        message = "scripted failure (connect)",
        timeout = false,
        delivered = "no",
      }, failure {})
      for _, stage in ipairs { "resolve", "proxy", "tls" } do
        assert.equal("no", failure({ stage = stage }).delivered)
      end
      for _, stage in ipairs { "send", "receive" } do
        assert.equal("unknown", failure({ stage = stage }).delivered)
      end
      local given = {
        stage = "receive",
        name = "CURLE_GOT_NOTHING",
        message = "empty",
        timeout = false,
        delivered = "no",
        sends = 3,
      }
      assert.same(given, failure(given))
      assert.equal("CURLE_OPERATION_TIMEDOUT", failure({ timeout = true }).name)
    end
  )

  it("calls a function of the script with the request, and completes its answer", function()
    local seen
    local transport = scripted {
      function(asked)
        seen = asked
        return { status = 200, headers = { ETag = "x" } }
      end,
      function()
        return nil, { stage = "tls" }
      end,
      function()
        return { network = { stage = "send" } }
      end,
      function() end,
      setmetatable({}, {
        __call = function()
          return { status = 418 }
        end,
      }),
    }
    local asked = request()
    local response = transport(asked)
    assert.equal(asked, seen)
    assert.same({ etag = "x" }, response.headers)
    assert.equal("", response.body)
    assert.equal("tls", select(2, transport(asked)).stage)
    assert.equal("send", select(2, transport(asked)).stage)
    assert.equal("connect", select(2, transport(asked)).stage)
    assert.equal(418, transport(asked).status)
  end)

  it("lets a function of the script yield", function()
    local transport = scripted {
      function()
        return { status = coroutine.yield "waiting" }
      end,
    }
    local thread = coroutine.wrap(function()
      return transport(request()).status
    end)
    assert.equal("waiting", thread())
    assert.equal(202, thread(202))
  end)

  it(
    "raises for a request that the script does not expect, naming it but not its headers",
    function()
      local transport = scripted { { status = 204 } }
      transport(request())
      local ok, message = pcall(transport, request())
      assert.is_false(ok)
      assert.matches(
        "autopilot%.transport%.scripted: request 2 was not expected:"
          .. " POST https://graph%.microsoft%.com/beta/sync %(the script has 1 answers%)$",
        message
      )
      assert.is_nil(message:find("secret", 1, true))
      assert.equal(2, #transport.requests)
      assert.has_error(function()
        scripted {}(request())
      end)
    end
  )

  it("repeats its last answer on request", function()
    local transport = scripted { { status = 503 }, { status = 204 }, last = "repeat" }
    assert.equal(503, transport(request()).status)
    for _ = 1, 5 do
      assert.equal(204, transport(request()).status)
    end
    assert.equal(6, #transport.requests)
  end)

  it("continues at its place when the test empties the list of requests", function()
    local transport = scripted { { status = 503 }, { status = 204 } }
    transport(request())
    transport.requests = {}
    assert.equal(204, transport(request()).status)
    assert.equal(1, #transport.requests)
  end)

  it("copies its records and answers, so that later changes do not affect them", function()
    local answer = { status = 200, headers = { a = "1" } }
    local transport = scripted { answer, last = "repeat" }
    answer.status, answer.headers.a = 500, "2"
    local asked = request()
    local response = transport(asked)
    asked.headers.Authorization, asked.timeout.total = "changed", 0
    response.headers.a, response.timings.total = "3", 9
    assert.equal("Bearer secret-token", transport.requests[1].headers.Authorization)
    assert.equal(60, transport.requests[1].timeout.total)
    assert.same({ a = "1" }, transport(asked).headers)
    assert.equal(0, transport(asked).timings.total)
  end)

  it("raises at the caller's line for an invalid answer", function()
    local wrong = {
      ["answer 1: option 'status' is required$"] = { {} },
      ["answer 2: unknown option 'statsu' %(did you mean 'status'%?%)$"] = {
        { status = 204 },
        { statsu = 204 },
      },
      ["answer 1: option 'status' must be a whole number"] = { { status = "204" } },
      ["answer 1: option 'status' must be at least 100"] = { { status = 99 } },
      ["answer 1: option 'status' must be at most 599"] = { { status = 600 } },
      ["answer 1: option 'body' must be a string"] = { { status = 200, body = {} } },
      ["answer 1: header 'a' must be a string, a number or a list"] = {
        { status = 200, headers = { a = true } },
      },
      ["answer 1: header 'c' must be a string, a number or a list"] = {
        { status = 200, headers = { c = { {} } } },
      },
      ["answer 1: header '[aA]' must be a string, a number or a list of these, given once"] = {
        { status = 200, headers = { a = "1", A = "2" } },
      },
      ["answer 1: header '1' must be a string, a number or a list"] = {
        { status = 200, headers = { "a" } },
      },
      ["answer 1: unknown option 'status'"] = { { status = 200, network = {} } },
      ["answer 1: option 'network%.stage' must be one of"] = { { network = { stage = "dns" } } },
      ["answer 1: option 'network%.delivered' must be one of"] = {
        { network = { delivered = "yes" } },
      },
      ["did you mean 'network%.timeout'"] = { { network = { timout = true } } },
      ["answer 1: option 'network' must be a table"] = { { network = "down" } },
      ["unknown option '3'$"] = { { status = 204 }, [3] = { status = 204 } },
      ["answer 1: must be a table or a function %(got number%)$"] = { 204 },
      ["unknown option 'lst' %(did you mean 'last'%?%)$"] = { { status = 204 }, lst = "repeat" },
      ["unknown option '1%.5'$"] = { [1.5] = { status = 204 } },
      ["option 'last' must be one of 'once', 'repeat'"] = { { status = 204 }, last = "again" },
      ["there is no last answer to repeat$"] = { last = "repeat" },
      ["needs a list of answers %(got number%)$"] = 204,
    }
    for expected, script in pairs(wrong) do
      assert.matches(expected, mistake(script))
    end
    assert.matches("needs a list of answers %(got nil%)$", mistake(nil))
  end)

  it("names the function of the script with an invalid answer", function()
    local transport = scripted {
      function()
        return { status = "204" }
      end,
    }
    local ok, message = pcall(transport, request())
    assert.is_false(ok)
    assert.matches("what the function of answer 1 returned: option 'status' must be", message)
  end)
end)
