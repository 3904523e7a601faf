-- A proxy between the client and the service. Its answer is never reported as the service's,
-- it gets no secret of the request, and its password goes nowhere else.

local core = require "autopilot.core"
local curl = require "autopilot.transport.curl"
local hostile = require "support.hostile_server"
local wire = require "support.wire"

-- The name is in the certificate; only the proxy resolves it.
local service = "https://graph.example.test/x"
local established = "HTTP/1.1 200 Connection established\r\nProxy-Secret: p\r\n\r\n"

-- Asks the service through a proxy that does as the script says.
local function ask(script, how)
  how = how or {}
  local proxy = hostile.listen(script)
  local user = how.user or ("user:%s@"):format(wire.proxy_password)
  local url = ("%s://%s127.0.0.1:%d"):format(how.proxy_scheme or "http", user, proxy.port)
  return wire.ask_tls(proxy, {
    url = how.url or service,
    http = { proxy = url },
    connect = how.connect,
  })
end

-- The CONNECT is read, answered with `text`, and the rest is the script's.
local function tunnel(text, script)
  return function(connection)
    connection:read_head()
    connection:send(text)
    if script then
      script(connection)
    end
  end
end

describe("a proxy", function()
  after_each(wire.close)
  teardown(wire.teardown)

  it("is asked for a tunnel, and sees no part of the request", function()
    local outcome = ask(tunnel(established, wire.tls(wire.serves())))
    assert.is_nil(outcome.network)
    assert.are.equal(204, outcome.status)
    local connect, request = outcome.server.requests[1], outcome.server.requests[2]
    assert.are.equal("CONNECT graph.example.test:443 HTTP/1.1", connect.line)
    assert.is_nil(connect.headers["authorization"])
    assert.is_nil(connect.headers["client-request-id"])
    assert.are.equal("POST /x HTTP/1.1", request.line)
    assert.are.equal("Bearer " .. wire.token, request.headers["authorization"])
    assert.is_nil(request.headers["proxy-authorization"])
  end)

  it("adds no headers to the service's answer", function()
    local outcome =
      ask(tunnel(established, wire.tls(wire.answers "HTTP/1.1 204 X\r\nA: 1\r\n\r\n")))
    assert.are.same({ a = "1" }, outcome.response.headers)
  end)

  it("is asked for one tunnel for two requests", function()
    local proxy = hostile.listen(tunnel(established, wire.tls(wire.serves())))
    local url = "http://127.0.0.1:" .. proxy.port
    local transport = wire.transport { proxy = url, ca_file = wire.certificates().ca }
    for _ = 1, 2 do
      assert.are.equal(204, wire.ask(proxy, { url = service, transport = transport }).status)
    end
    assert.are.equal(1, #proxy.connections)
  end)

  it("that refuses is distinguished from a refusing service", function()
    local refusals = {
      "HTTP/1.1 407 Authenticate\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 407 Authenticate\r\nProxy-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 502 Bad gateway\r\nRetry-After: 5\r\nContent-Length: 3\r\n\r\nbad",
      "HTTP/1.1 429 Slow down\r\nContent-Length: 0\r\n\r\n",
      "HTTP/1.1 302 Elsewhere\r\nLocation: https://elsewhere.example.test/\r\n\r\n",
    }
    for _, refusal in ipairs(refusals) do
      wire.assert_unsent(ask(tunnel(refusal)), "proxy")
    end
  end)

  it("gets its password in CONNECT only, and is not asked twice", function()
    local refusal =
      "HTTP/1.1 407 X\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"
    local outcome = ask(wire.serves(refusal))
    assert.are.equal(1, #outcome.server.requests)
    local basic = "Basic dXNlcjp0aGUtcHJveHktcGFzc3dvcmQ=" -- user:the-proxy-password
    assert.are.equal(basic, outcome.server.requests[1].headers["proxy-authorization"])
  end)

  it("may fail in any way before it has opened the tunnel", function()
    local ways = {
      function(connection)
        connection:reset()
      end,
      function(connection)
        connection:close()
      end,
      tunnel("", function(connection)
        connection:reset()
      end),
      tunnel("", function(connection)
        connection:close()
      end),
      tunnel("HTTP/1.1 200 Conn", function(connection)
        connection:close()
      end),
      tunnel("SSH-2.0-hello\r\n", function(connection)
        connection:close()
      end),
    }
    for _, way in ipairs(ways) do
      wire.assert_unsent(ask(way), "proxy")
    end
  end)

  it("may stall before it has opened the tunnel", function()
    for _, text in ipairs { "", "HTTP/1.1 20" } do
      local outcome = ask(tunnel(text), { connect = 0.06 })
      wire.assert_unsent(outcome, "proxy", "CURLE_OPERATION_TIMEDOUT")
    end
  end)

  it("is not blamed for a failure after the tunnel is open", function()
    wire.assert_unsent(
      ask(tunnel(established, function(connection)
        connection:reset()
      end)),
      "tls"
    )
    wire.assert_unsent(ask(tunnel(established .. "HTTP/1.1 204 No Content\r\n\r\n")), "tls")
    local outcome = wire.run_out("in TLS", 0.06, function(seconds)
      return ask(tunnel(established), { connect = seconds })
    end)
    wire.assert_unsent(outcome, "tls", "CURLE_OPERATION_TIMEDOUT")
    outcome = ask(tunnel(established, wire.tls(function() end, { certificate = "wrong_host" })))
    wire.assert_unsent(outcome, "tls", "CURLE_PEER_FAILED_VERIFICATION")
  end)

  it("cannot hide that the request was sent", function()
    local outcome = ask(tunnel(established, wire.tls(wire.answers("", "cut"))))
    assert.is_nil(outcome.response)
    assert.are.equal("receive", outcome.network.stage)
    assert.are.equal("unknown", outcome.network.delivered)
    assert.are.equal(1, outcome.sends)
  end)

  it("may be unreachable", function()
    local port = hostile.refusing().port
    for _, scheme in ipairs { "http", "https", "socks5h" } do
      local url = ("%s://user:%s@127.0.0.1:%d"):format(scheme, wire.proxy_password, port)
      local outcome = wire.ask_tls(hostile.refusing(), { url = service, http = { proxy = url } })
      wire.assert_unsent(outcome, "proxy", "CURLE_COULDNT_CONNECT")
    end
    local url = "http://nobody.invalid:3128"
    local outcome = wire.ask_tls(hostile.refusing(), { url = service, http = { proxy = url } })
    wire.assert_unsent(outcome, "proxy")
  end)

  it("that speaks TLS is verified too", function()
    local good = wire.run_out("in TLS", 0.1, function(seconds)
      local stalling = wire.tls(tunnel(established, function(connection)
        connection:stall()
      end))
      return ask(stalling, { proxy_scheme = "https", connect = seconds })
    end)
    wire.assert_unsent(good, "tls", "CURLE_OPERATION_TIMEDOUT")
    assert.are.equal(1, #good.server.requests)
    for _, certificate in ipairs { "untrusted", "expired", "wrong_host" } do
      local script = wire.tls(tunnel(established), { certificate = certificate })
      local outcome = ask(script, { proxy_scheme = "https" })
      wire.assert_unsent(outcome, "proxy", "CURLE_PEER_FAILED_VERIFICATION")
      assert.are.equal(0, #outcome.server.requests)
    end
  end)

  it("may speak SOCKS", function()
    local function greet(connection)
      local methods = connection:read(2):byte(2)
      connection:read(methods)
      connection:send "\5\0"
      connection:read(5 + #"graph.example.test" + 2)
    end
    local outcome = ask(function(connection)
      greet(connection)
      connection:send "\5\0\0\1\0\0\0\0\0\0"
      wire.tls(function()
        connection:serve()
      end)(connection)
    end, { proxy_scheme = "socks5h", user = "" })
    assert.are.equal(204, outcome.status)
    outcome = ask(function(connection)
      greet(connection)
      connection:send "\5\0\0\1\0\0\0\0\0\0"
      wire.tls(function() end, { certificate = "untrusted" })(connection)
    end, { proxy_scheme = "socks5h", user = "" })
    wire.assert_unsent(outcome, "tls", "CURLE_PEER_FAILED_VERIFICATION")
    outcome = ask(function(connection)
      greet(connection)
      connection:send "\5\5\0\1\0\0\0\0\0\0" -- connection refused
    end, { proxy_scheme = "socks5h", user = "" })
    wire.assert_unsent(outcome, "proxy", "CURLE_PROXY")
    outcome = ask(function(connection)
      connection:send "HTTP/1.1 400 This is no SOCKS proxy\r\n\r\n"
    end, { proxy_scheme = "socks5h" })
    wire.assert_unsent(outcome, "proxy", "CURLE_PROXY")
  end)

  it("is not used for plain http, because it could read the token", function()
    local server = hostile.listen(wire.serves())
    local outcome = ask(tunnel(established), { url = server:url() })
    assert.are.equal(204, outcome.status)
    assert.are.equal(0, #outcome.server.connections)
    outcome = ask(tunnel(established), { url = hostile.refusing():url() })
    wire.assert_unsent(outcome, "connect", "CURLE_COULDNT_CONNECT")
  end)

  it("is not used if the option is empty", function()
    local outcome = wire.ask_tls(hostile.refusing(), { http = { proxy = "" } })
    wire.assert_unsent(outcome, "connect", "CURLE_COULDNT_CONNECT")
  end)
end)

describe("the URL of a proxy", function()
  it("is a scheme, an optional user, a host and an optional port", function()
    local right = {
      "http://proxy",
      "http://proxy.example.test:3128/",
      "https://user@10.0.0.1:8443",
      "socks5://user:p%40ss@proxy:1080",
      "socks5h://[fe80::1]:1080",
      "http://80",
    }
    for _, url in ipairs(right) do
      assert.has_no.errors(function()
        curl.new { http = { proxy = url } }
      end)
    end
  end)

  it("is refused in any other form, and not quoted", function()
    local wrong = {
      "http://user:%s@proxy:99999",
      "http://user:%s@proxy:port",
      "http://user:%s@proxy:",
      "http://user:%s@",
      "http://user:%s@[::1",
      "http://user:%s@pro xy",
      "http://user:%s#@proxy",
      "http://user:%s@proxy/path",
      "ftp://user:%s@proxy",
      "user:%s@proxy:80",
    }
    for _, url in ipairs(wrong) do
      local ok, message = pcall(curl.new, { http = { proxy = url:format(wire.proxy_password) } })
      assert.is_false(ok)
      assert.matches("http%.proxy", message)
      assert.is_nil(message:find(wire.proxy_password, 1, true))
    end
  end)

  it("is not quoted by libcurl either", function()
    local url = ("http://user:%s@proxy:99999"):format(wire.proxy_password)
    local request = core.request { method = "POST", url = service, proxy = url }
    local set = core.transfer_set()
    local transfer = set:add(request, { connect = 1, total = 1 })
    hostile.wait(set, transfer)
    local _, network = transfer:result()
    local stage, message = network.stage, network.message
    assert.are.equal("proxy", stage)
    assert.is_nil(message:find(wire.proxy_password, 1, true), message)
    assert.matches("proxy", message)
  end)
end)
