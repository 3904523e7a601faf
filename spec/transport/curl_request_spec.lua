-- The transport over libcurl: what a server sees of a request.

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

  it("has the library's headers, each once, and no others", function()
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

  it("is the same over TLS", function()
    local plain = see()
    local server = hostile.listen(wire.tls(wire.serves()))
    assert.are.equal(204, wire.ask_tls(server).status)
    plain.headers["host"] = server.requests[1].headers["host"]
    assert.are.same(plain.headers, server.requests[1].headers)
  end)

  it("has the number of a retry, and none on the first attempt", function()
    for number = 0, 12 do
      local request = see { retry_attempt = number }
      local expected = number > 0 and tostring(number) or nil
      assert.are.equal(expected, request.headers["retry-attempt"])
    end
  end)

  it("is a GET without a length on request", function()
    local request = see { method = "GET" }
    assert.are.equal("GET / HTTP/1.1", request.line)
    assert.is_nil(request.headers["content-length"])
    assert.is_nil(request.headers["content-type"])
  end)

  it("has its own attempt's token, id and number", function()
    local server = serving()
    local send = wire.transport():prepare { method = "POST", url = server:url() }
    local attempts = {
      { "first", "id-1", 0 },
      { ("long"):rep(2000), "id-2", 1 },
      { "x", "id-3", 0 },
    }
    for index, attempt in ipairs(attempts) do
      send {
        connect = 10,
        total = 10,
        token = attempt[1],
        client_request_id = attempt[2],
        retry_attempt = attempt[3],
      }
      local headers = server.requests[index].headers
      assert.are.equal("Bearer " .. attempt[1], headers["authorization"])
      assert.are.equal(attempt[2], headers["client-request-id"])
      assert.are.equal(attempt[3] > 0 and "1" or nil, headers["retry-attempt"])
    end
    assert.are.equal(1, #server.connections)
  end)

  it("carries a body unchanged, and never sends Expect", function()
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

  it("has the type of a form if it has a body, and the caller names no type", function()
    local server = serving()
    wire.transport() { method = "POST", url = server:url(), body = "a=b" }
    local headers = server.requests[1].headers
    assert.are.equal("application/x-www-form-urlencoded", headers["content-type"])
  end)

  it("has the caller's headers and user agent", function()
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

  it("returns no cookie", function()
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

  it("uses HTTP/1.1 on request, even if the server supports more", function()
    local server = hostile.listen(wire.tls(wire.serves(), { alpn = "h2" }))
    local outcome = wire.ask_tls(server, { http = { version = "1.1" } })
    assert.are.equal(204, outcome.status)
    assert.are.equal("1.1", outcome.response.http_version)
  end)
end)
