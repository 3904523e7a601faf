-- The transport over libcurl: what a server sees of a request, and what a caller may ask for.
-- What may go wrong is in the other specs of transport_curl_*.

local core = require "autopilot.core"
local curl = require "autopilot.transport.curl"
local hostile = require "support.hostile_server"
local version = require "autopilot.version"
local wire = require "support.wire"

local function serving(answer)
  return hostile.listen(wire.serves(answer))
end

describe("the request that the server sees", function()
  after_each(wire.close)
  teardown(wire.teardown)

  local function see(how)
    local server = serving()
    assert.are.equal(204, wire.ask(server, how).status)
    assert.are.equal(1, #server.requests)
    return server.requests[1], server
  end

  it("is one POST with a length of 0 and nothing more", function()
    local request, server = see { path = "/beta/deviceManagement/sync" }
    assert.are.equal("POST /beta/deviceManagement/sync HTTP/1.1", request.line)
    assert.are.equal("0", request.headers["content-length"])
    assert.are.equal("", server.connections[1].buffer)
    assert.are.equal(request.head, server.connections[1].transcript)
  end)

  it("has our headers, each once, and no others", function()
    local request, server = see()
    assert.are.same({
      ["host"] = "127.0.0.1:" .. server.port,
      ["user-agent"] = "autopilot-sync/" .. version,
      ["authorization"] = "Bearer " .. wire.token,
      ["client-request-id"] = "11111111-2222-4333-8444-555555555555",
      ["accept"] = "application/json",
      ["content-length"] = "0",
    }, request.headers)
    table.sort(request.names)
    assert.are.same({
      "Accept",
      "Authorization",
      "Content-Length",
      "Host",
      "User-Agent",
      "client-request-id",
    }, request.names)
  end)

  it("says the same over TLS", function()
    local plain = see()
    local server = hostile.listen(wire.tls(wire.serves()))
    assert.are.equal(204, wire.ask_tls(server).status)
    plain.headers["host"] = server.requests[1].headers["host"]
    assert.are.same(plain.headers, server.requests[1].headers)
  end)

  it("tells the number of a retry, and none on the first attempt", function()
    for number = 0, 12 do
      local request = see { retry_attempt = number }
      local expected = number > 0 and tostring(number) or nil
      assert.are.equal(expected, request.headers["retry-attempt"])
    end
  end)

  it("is a GET without a length when asked for", function()
    local request = see { method = "GET" }
    assert.are.equal("GET / HTTP/1.1", request.line)
    assert.is_nil(request.headers["content-length"])
    assert.is_nil(request.headers["content-type"])
  end)

  it("has the token, the id and the number of its own attempt", function()
    local server = serving()
    local send = wire.transport():prepare { method = "POST", url = server:url() }
    local attempts = {
      { "first", "id-1", 0 },
      { ("long"):rep(2000), "id-2", 1 },
      { "x", "id-3", 0 },
    }
    for index, attempt in ipairs(attempts) do
      send(10, 10, attempt[1], attempt[2], attempt[3])
      local headers = server.requests[index].headers
      assert.are.equal("Bearer " .. attempt[1], headers["authorization"])
      assert.are.equal(attempt[2], headers["client-request-id"])
      assert.are.equal(attempt[3] > 0 and "1" or nil, headers["retry-attempt"])
    end
    assert.are.equal(1, #server.connections)
  end)

  it("carries a body as it is, and never asks whether it may", function()
    for _, body in ipairs { "a=b&c=d", ("\0\1\255"):rep(1000), ("x"):rep(2 * 1024 * 1024), "" } do
      local server = serving()
      local response, network = wire.transport() {
        method = "POST",
        url = server:url(),
        headers = { ["Content-Type"] = "application/x-www-form-urlencoded" },
        body = body,
      }
      assert.is_nil(network)
      assert.are.equal(204, response.status)
      local request = server.requests[1]
      assert.are.equal(body, request.body)
      assert.are.equal(tostring(#body), request.headers["content-length"])
      assert.are.equal("application/x-www-form-urlencoded", request.headers["content-type"])
      assert.is_nil(request.headers["expect"])
      assert.is_nil(request.headers["transfer-encoding"])
      assert.is_nil(request.headers["authorization"])
    end
  end)

  it("has the headers and the user agent that the caller gives", function()
    local server = serving()
    local transport = wire.transport { user_agent = "me/1" }
    transport {
      method = "POST",
      url = server:url(),
      headers = { ["X-Empty"] = "x", ["Metadata"] = "true" },
    }
    local headers = server.requests[1].headers
    assert.are.equal("me/1", headers["user-agent"])
    assert.are.equal("true", headers["metadata"])
    assert.is_nil(headers["authorization"])
  end)

  it("sends no cookie back", function()
    local server = hostile.listen(function(connection)
      connection:serve "HTTP/1.1 204 X\r\nSet-Cookie: session=1; Path=/\r\n\r\n"
    end)
    local outcome = wire.ask(server)
    wire.ask(server, { transport = outcome.transport })
    assert.are.equal(2, #server.requests)
    assert.is_nil(server.requests[2].headers["cookie"])
  end)

  it("is not sent again when the server asks for authentication", function()
    local schemes = { "Basic realm=x", "Digest realm=x, nonce=y", "Negotiate", "NTLM" }
    local lines = {}
    for index, scheme in ipairs(schemes) do
      lines[index] = ("WWW-Authenticate: %s\r\n"):format(scheme)
    end
    local text = "HTTP/1.1 401 X\r\nContent-Length: 0\r\n" .. table.concat(lines) .. "\r\n"
    local server = serving(text)
    local outcome = wire.ask(server)
    assert.are.equal(401, outcome.status)
    assert.are.equal(1, #server.requests)
    assert.are.equal(table.concat(schemes, ", "), outcome.response.headers["www-authenticate"])
  end)

  it("speaks HTTP/1.1 where it is told to, to a server that could do more", function()
    local server = hostile.listen(wire.tls(wire.serves(), { alpn = "h2" }))
    local outcome = wire.ask_tls(server, { http = { version = "1.1" } })
    assert.are.equal(204, outcome.status)
    assert.are.equal("1.1", outcome.response.http_version)
  end)
end)

describe("a response", function()
  after_each(wire.close)
  teardown(wire.teardown)

  it("tells how long each phase took", function()
    local server = hostile.listen(wire.tls(wire.serves()))
    local timings = wire.ask_tls(server).response.timings
    assert.is_true(timings.name_lookup >= 0)
    assert.is_true(timings.connect > 0)
    assert.is_true(timings.tls >= timings.connect)
    assert.is_true(timings.first_byte >= timings.tls)
    assert.is_true(timings.total >= timings.first_byte)
  end)

  it("outlives its transport", function()
    local server = serving "HTTP/1.1 200 X\r\nA: 1\r\nContent-Length: 2\r\n\r\nok"
    local transport = wire.transport()
    local response = transport { method = "GET", url = server:url() }
    transport:close()
    transport = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.are.equal("ok", response.body)
    assert.are.equal("1", response.headers["a"])
    assert.is_nil(response.nothing)
  end)
end)

describe("the transport", function()
  after_each(wire.close)

  it("may be closed at any time, and then opens new connections", function()
    local server = serving()
    local transport = wire.transport()
    transport:close()
    for _ = 1, 2 do
      assert.are.equal(204, transport({ method = "POST", url = server:url() }).status)
      transport:close()
      transport:close()
    end
    assert.are.equal(2, #server.connections)
  end)

  it("uses no connection from before a fork, and closes none", function()
    local server, transport = serving(), wire.transport()
    assert.are.equal(204, transport({ method = "POST", url = server:url() }).status)
    local parent, process_id = transport.set, core.process_id
    core.process_id = function()
      return process_id() + 1
    end
    finally(function()
      core.process_id = process_id
    end)
    transport:close()
    assert.are.equal(0, parent:step()) -- it is open
    transport = wire.transport()
    transport.set, transport.process = parent, process_id()
    for _ = 1, 2 do
      assert.are.equal(204, transport({ method = "POST", url = server:url() }).status)
    end
    assert.are.equal(2, #server.connections)
    assert.are_not.equal(parent, transport.set)
    assert.are.equal(0, parent:step())
  end)

  it("waits by itself where nobody else does", function()
    local transport = curl.new { http = { proxy = "" } }
    local refusing = hostile.refusing()
    local response, network = transport { method = "POST", url = refusing:url() }
    assert.is_nil(response)
    assert.are.equal("connect", network.stage)
    local stalled = hostile.listen(function(connection)
      connection:stall()
    end)
    response, network =
      transport { method = "POST", url = stalled:url(), timeout = { total = 0.05 } }
    assert.is_nil(response)
    assert.is_true(network.timeout)
  end)

  it("is a failed request, and not an error, when it is closed while one is waited for", function()
    local server = hostile.listen(wire.answers "")
    local transport
    transport = curl.new {
      wait = function(set)
        hostile.until_true(function()
          return #server.requests == 1
        end, function()
          set:step(0.001)
        end)
        transport:close()
      end,
    }
    local response, network = transport { method = "POST", url = server:url() }
    assert.is_nil(response)
    assert.are.equal("unknown", network.delivered)
    assert.are.equal(1, network.sends)
  end)

  it("passes on what its wait raises, and works afterwards", function()
    local server, interrupted = serving(), false
    local drive = hostile.driver()
    local transport = curl.new {
      wait = function(set, transfer)
        if not interrupted then
          interrupted = true
          error "interrupted!"
        end
        drive(set, transfer)
      end,
    }
    local request = { method = "POST", url = server:url() }
    assert.has_error(function()
      transport(request)
    end)
    assert.are.equal(204, transport(request).status)
  end)

  it("runs in coroutines at the same time, each with its own answer", function()
    local server = hostile.listen(function(connection)
      while true do
        local target = connection:read_head().target
        connection:send_slowly(
          ("HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n%s"):format(#target, target)
        )
      end
    end)
    local transport = curl.new {
      wait = function(set, transfer)
        while not transfer:is_finished() do
          set:step(0)
          coroutine.yield()
        end
      end,
    }
    local threads, bodies = {}, {}
    for number = 1, 10 do
      threads[number] = coroutine.create(function()
        bodies[number] = transport({ method = "GET", url = server:url("/" .. number) }).body
      end)
    end
    hostile.until_true(function()
      local is_done = true
      for _, thread in ipairs(threads) do
        if coroutine.status(thread) ~= "dead" then
          is_done = false
          assert(coroutine.resume(thread))
        end
      end
      return is_done
    end)
    for number = 1, 10 do
      assert.are.equal("/" .. number, bodies[number])
    end
  end)
end)

describe("a request that the caller got wrong", function()
  local function refuse(options, pattern)
    local given = { method = "POST", url = "https://graph.example.test/" }
    for name, value in pairs(options) do
      given[name] = value
    end
    local ok, message = pcall(core.request, given)
    assert.is_false(ok)
    assert.matches(pattern, message)
    assert.is_nil(message:find "secret")
  end

  it("has another method", function()
    for _, method in ipairs { "", "post", "PUT", "POST\0", "POST / HTTP/1.1\r\nX: y" } do
      refuse({ method = method }, "request: ")
    end
  end)

  it("has a URL that cannot be used safely", function()
    local urls = {
      "",
      "graph.example.test",
      "/path",
      "ftp://graph.example.test/",
      "file:///etc/passwd",
      "https://",
      "https://user:secret@graph.example.test/",
      "https://user@graph.example.test/",
      "https://:secret@graph.example.test/",
      "https://@graph.example.test/",
      "https://graph.example.test:99999/",
      "https://graph.example.test/a b",
      "https://graph.example.test/\r\nX: secret",
      "https://graph.example.test/\t",
      "https://graph.example.test/\127",
      "https://graph.example.test/\0",
      "http://graph.example.test/",
      "http://127.0.0.1.example.test/",
      "http://127.0.0.1@graph.example.test/",
      "http://localhost.example.test/",
      "http://10.0.0.1/",
      "http://128.0.0.1/",
      "http://2130706434.example.test/",
      "http://[::2]/",
    }
    for _, url in ipairs(urls) do
      refuse({ url = url }, "request: ")
    end
  end)

  it("may have a loopback host in any form that libcurl understands", function()
    local urls = {
      "http://127.0.0.1/",
      "http://localhost:8080/",
      "http://[::1]:8080/",
      "http://127.1/",
      "http://2130706433/",
      "http://169.254.169.254/metadata",
      "HTTPS://graph.example.test/",
    }
    for _, url in ipairs(urls) do
      assert.has_no.errors(function()
        core.request { method = "POST", url = url }
      end)
    end
  end)

  it("has a header that cannot be sent", function()
    local headers = {
      { ["A B"] = "x" },
      { ["A:"] = "x" },
      { [""] = "x" },
      { ["A\r\nB"] = "x" },
      { ["A\0"] = "x" },
      { ["\228"] = "x" },
      { A = "secret\r\nX: y" },
      { A = "secret\n" },
      { A = "secret\0" },
      { A = 1 },
      { A = {} },
      { "x" },
    }
    for _, wrong in ipairs(headers) do
      refuse({ headers = wrong }, "request: ")
    end
  end)

  it("has an option of another type", function()
    refuse({ headers = "A: secret" }, "'headers' must be a table")
    refuse({ body = { "secret" } }, "'body' must be a string")
    refuse({ body = 5 }, "'body' must be a string")
    refuse({ body = true }, "'body' must be a string")
    refuse({ url = 5 }, "'url' must be a string")
    refuse({ proxy = false }, "'proxy' must be a string")
    refuse({ ca_file = "a\0secret" }, "'ca_file' contains a NUL")
    refuse({ user_agent = "me\r\nX: secret" }, "request: ")
    refuse({ http_version = "3" }, "'http_version'")
    for _, limit in ipairs { -1, 0 / 0, 1e300, "x" } do
      refuse({ max_body = limit }, ".")
    end
    assert.is_false(pcall(core.request))
    assert.is_false(pcall(core.request, "https://graph.example.test/"))
    assert.is_false(pcall(core.request, {}))
    assert.is_false(pcall(core.request, { method = "POST" }))
  end)
end)
