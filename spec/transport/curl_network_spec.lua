-- The network fails before, while and after the request is sent. The reported delivery is
-- compared with what the server really saw.

local core = require "autopilot.core"
local files = require "support.files"
local hostile = require "support.hostile_server"
local wire = require "support.wire"

local assert_unsent = wire.assert_unsent

local no_content = "HTTP/1.1 204 No Content\r\n\r\n"

local function assert_unknown(outcome, sends)
  assert.is_nil(outcome.response)
  assert.are.equal("unknown", outcome.network.delivered)
  assert.are.equal(sends or 1, outcome.sends)
end

-- Each is run over plain http and over TLS.
local function over_both(run)
  run("http", wire.ask, function(script)
    return script
  end)
  run("https", wire.ask_tls, wire.tls)
end

describe("a request that cannot be sent", function()
  after_each(wire.close)
  teardown(wire.teardown)

  it("fails at resolving an unknown host", function()
    local server = hostile.refusing()
    local outcome = wire.ask(server, { url = "https://graph.invalid/", connect = 0.5 })
    assert_unsent(outcome, "resolve")
  end)

  it("fails at connecting to a port without a listener", function()
    over_both(function(_, ask)
      assert_unsent(ask(hostile.refusing()), "connect", "CURLE_COULDNT_CONNECT")
    end)
  end)

  it("fails at connecting to a host that does not answer", function()
    over_both(function(_, ask)
      local outcome = ask(hostile.black_hole(), { connect = 0.06 })
      assert_unsent(outcome, "connect", "CURLE_OPERATION_TIMEDOUT")
    end)
  end)

  it("fails at connecting when the whole time is over first", function()
    local outcome = wire.ask(hostile.black_hole(), { total = 0.06 })
    assert_unsent(outcome, "connect", "CURLE_OPERATION_TIMEDOUT")
  end)

  it("fails at TLS with a certificate that is not trusted", function()
    for _, certificate in ipairs { "untrusted", "expired", "wrong_host" } do
      local server = hostile.listen(wire.tls(wire.serves(), { certificate = certificate }))
      local outcome = wire.ask_tls(server)
      assert_unsent(outcome, "tls", "CURLE_PEER_FAILED_VERIFICATION")
      assert.are.equal("", server.connections[1].transcript)
    end
  end)

  it("fails at TLS with an authority that only the server knows", function()
    local server = hostile.listen(wire.tls(wire.serves()))
    local foreign = wire.certificates().untrusted
    local outcome = wire.ask(server, { scheme = "https", http = { ca_file = foreign } })
    assert_unsent(outcome, "tls", "CURLE_PEER_FAILED_VERIFICATION")
  end)

  it("fails at TLS when the file of authorities is missing", function()
    local server = hostile.listen(wire.tls(wire.serves()))
    local path, remove = files.temporary(files.read(wire.certificates().ca))
    local transport = wire.transport { ca_file = path }
    remove()
    local outcome = wire.ask(server, { scheme = "https", transport = transport })
    assert_unsent(outcome, "tls", "CURLE_SSL_CACERT_BADFILE")
    local reason = "http.ca_file cannot be read: " .. path .. ": No such file or directory"
    assert.are.equal(reason, outcome.network.message)
  end)

  it("fails at TLS when the file of authorities, whose name has a %, is empty now", function()
    local server = hostile.listen(wire.tls(wire.serves()))
    local folder, remove = files.folder()
    finally(remove)
    local path = folder .. "/100%d.pem"
    files.write(path, files.read(wire.certificates().ca))
    local transport = wire.transport { ca_file = path }
    files.write(path, "")
    local outcome = wire.ask(server, { scheme = "https", transport = transport })
    if core.info().ssl:find "GnuTLS" then -- it reads an empty file, and trusts no server
      return assert_unsent(outcome, "tls", "CURLE_PEER_FAILED_VERIFICATION")
    end
    assert_unsent(outcome, "tls", "CURLE_SSL_CACERT_BADFILE")
    local reason = "http.ca_file cannot be read: " .. path .. ": it is empty"
    assert.are.equal(reason, outcome.network.message)
  end)

  it("fails at TLS when the handshake does not end", function()
    local server = hostile.listen(function(connection)
      connection:stall()
    end)
    local outcome = wire.ask_tls(server, { connect = 0.06 })
    assert_unsent(outcome, "tls", "CURLE_OPERATION_TIMEDOUT")
  end)

  it("fails at TLS when the server breaks it off, or speaks something else", function()
    local scripts = {
      function(connection)
        connection:close()
      end,
      function(connection)
        connection:reset()
      end,
      function(connection)
        connection:receive()
        connection:reset()
      end,
      function(connection)
        connection:receive()
        connection:cut()
      end,
      function(connection)
        connection:send "HTTP/1.1 400 Plain HTTP\r\n\r\n"
        connection:stall()
      end,
    }
    for _, script in ipairs(scripts) do
      assert_unsent(wire.ask_tls(hostile.listen(script)), "tls")
    end
  end)

  it("fails again at the same stage on a transport that has worked", function()
    local server = hostile.listen(wire.answers(no_content, "close"))
    local outcome = wire.ask(server)
    assert.are.equal(204, outcome.status)
    server:refuse()
    outcome = wire.ask(server, { transport = outcome.transport })
    assert_unsent(outcome, "connect", "CURLE_COULDNT_CONNECT")
  end)
end)

describe("a request that may have been sent", function()
  after_each(wire.close)
  teardown(wire.teardown)

  it("is lost when the server closes, cuts or resets after it", function()
    over_both(function(_, ask, over)
      for _, ending in ipairs { "close", "cut", "reset" } do
        local server = hostile.listen(over(wire.answers("", ending)))
        local outcome = ask(server)
        assert_unknown(outcome)
        assert.are.equal(1, wire.seen(server))
      end
    end)
  end)

  it("is lost when the server resets before reading it", function()
    local server = hostile.listen(function(connection)
      connection:reset()
    end)
    assert_unknown(wire.ask(server))
    assert.are.equal(0, wire.seen(server))
  end)

  it("is lost when the server stalls", function()
    over_both(function(_, ask, over)
      local server = hostile.listen(over(wire.answers("", "stall")))
      local outcome = ask(server, { total = 0.2 })
      assert_unknown(outcome)
      assert.are.equal("receive", outcome.network.stage)
      assert.are.equal("CURLE_OPERATION_TIMEDOUT", outcome.network.name)
      assert.are.equal(1, wire.seen(server))
    end)
  end)

  it("is lost when the server has not read it", function()
    local server = hostile.listen(function(connection)
      connection:stall()
    end)
    assert_unknown(wire.ask(server, { total = 0.06 }))
    assert.are.equal(0, wire.seen(server))
  end)

  it("is answered when TLS is cut after a complete answer", function()
    local server = hostile.listen(wire.tls(wire.answers(no_content, "cut")))
    local outcome = wire.ask_tls(server)
    assert.is_nil(outcome.network)
    assert.are.equal(204, outcome.status)
  end)

  it("is answered when TLS is cut in a body without a length, which libcurl accepts", function()
    local server = hostile.listen(wire.tls(wire.answers("HTTP/1.1 500 X\r\n\r\nhal", "cut")))
    local outcome = wire.ask_tls(server)
    assert.are.equal(500, outcome.status)
    assert.are.equal("hal", outcome.response.body)
  end)
end)

describe("a connection", function()
  after_each(wire.close)
  teardown(wire.teardown)

  local function serve(connection)
    connection:serve()
  end

  -- Its first connection answers once and then does `last`; later ones serve.
  local function stale(last)
    local first = true
    return function(connection)
      local is_first = first
      first = false
      if is_first then
        connection:read_head()
        connection:send(no_content)
        last(connection)
      else
        connection:serve()
      end
    end
  end

  local function ask_twice(server, ask)
    local first = ask(server)
    assert.are.equal(204, first.status)
    assert.are.equal(1, first.sends)
    return ask(server, { transport = first.transport })
  end

  it("is reused", function()
    over_both(function(_, ask, over)
      local server = hostile.listen(over(serve))
      local outcome = ask_twice(server, ask)
      assert.are.equal(204, outcome.status)
      assert.are.equal(1, outcome.sends)
      assert.are.equal(1, #server.connections)
      assert.are.equal(0, outcome.response.timings.tls)
    end)
  end)

  it("is not reused when the server wants it closed", function()
    over_both(function(_, ask, over)
      local answer = "HTTP/1.1 204 X\r\nConnection: close\r\n\r\n"
      local server = hostile.listen(over(wire.answers(answer)))
      assert.are.equal(1, ask_twice(server, ask).sends)
      assert.are.equal(2, #server.connections)
    end)
  end)

  it("is not reused after an answer that was cut", function()
    local first = true
    local server = hostile.listen(function(connection)
      local text = first and "HTTP/1.1 500 X\r\nContent-Length: 99\r\n\r\nhalf" or no_content
      first = false
      wire.answers(text)(connection)
    end)
    local outcome = wire.ask(server, { total = 0.2 })
    assert.are.equal(500, outcome.status)
    outcome = wire.ask(server, { transport = outcome.transport })
    assert.are.equal(204, outcome.status)
    assert.are.equal(2, #server.connections)
  end)

  it("that was closed while idle costs at most a send that no server saw", function()
    over_both(function(_, ask, over)
      for _, ending in ipairs { "close", "cut", "reset" } do
        local server = hostile.listen(over(stale(function(connection)
          connection[ending](connection)
        end)))
        local outcome = ask_twice(server, ask)
        assert.are.equal(204, outcome.status)
        assert.are.equal(2, wire.seen(server))
        assert.is_true(outcome.sends == 1 or outcome.sends == 2)
      end
    end)
  end)

  it("with unexpected data is not reused", function()
    over_both(function(_, ask, over)
      for _, unasked in ipairs { "HTTP/1.1 408 Idle\r\nContent-Length: 0\r\n\r\n", no_content } do
        local may_speak, has_spoken = false, false
        local server = hostile.listen(over(stale(function(connection)
          while not may_speak do
            connection:wait()
          end
          connection:send(unasked)
          has_spoken = true
          connection:serve "HTTP/1.1 409 Busy\r\nContent-Length: 0\r\n\r\n"
        end)))
        local first = ask(server)
        may_speak = true
        hostile.until_true(function()
          return has_spoken
        end)
        local outcome = ask(server, { transport = first.transport })
        assert.are.equal(204, outcome.status)
        assert.are.equal(1, outcome.sends)
        assert.are.equal(2, wire.seen(server))
        assert.are.equal(2, #server.connections)
      end
    end)
  end)

  it("that breaks during the request makes libcurl send again, and that is counted", function()
    over_both(function(_, ask, over)
      for _, ending in ipairs { "close", "cut", "reset" } do
        for _, before in ipairs { "", "HTTP/1.1 20" } do
          local server = hostile.listen(over(stale(function(connection)
            connection:read_head()
            connection:send(before)
            connection[ending](connection)
          end)))
          local outcome = ask_twice(server, ask)
          assert.are.equal(204, outcome.status)
          assert.are.equal(2, outcome.sends)
          assert.are.equal(3, wire.seen(server)) -- the first request, and the second one twice
        end
      end
    end)
  end)

  it("that breaks during the request is not replaced when an answer had begun", function()
    over_both(function(_, ask, over)
      local server = hostile.listen(over(stale(function(connection)
        connection:read_head()
        connection:send "HTTP/1.1 503 Busy\r\nRetry-After: 5\r\n"
        connection:cut()
      end)))
      local outcome = ask_twice(server, ask)
      assert.are.equal(503, outcome.status)
      assert.are.equal(1, outcome.sends)
      assert.are.equal(2, wire.seen(server))
    end)
  end)

  it("that breaks during the request leaves it unknown when the server is gone", function()
    over_both(function(_, ask, over)
      local server
      server = hostile.listen(over(stale(function(connection)
        connection:read_head()
        server:refuse()
        connection:cut()
      end)))
      assert_unknown(ask_twice(server, ask), 1)
      assert.are.equal(2, wire.seen(server))
    end)
  end)

  it("with more answers than requests does not answer the next request", function()
    local server = hostile.listen(function(connection)
      connection:read_head()
      connection:send(no_content .. "HTTP/1.1 200 Not asked for\r\nContent-Length: 0\r\n\r\n")
      connection:serve()
    end)
    assert.are.equal(204, ask_twice(server, wire.ask).status)
  end)
end)

describe("a redirect", function()
  after_each(wire.close)
  teardown(wire.teardown)

  it("is an ordinary answer, and never followed", function()
    over_both(function(scheme, ask, over)
      local elsewhere = hostile.listen(over(wire.serves()))
      for _, status in ipairs { 300, 301, 302, 303, 305, 307, 308 } do
        local location = elsewhere:url("/elsewhere", scheme)
        local text = ("HTTP/1.1 %d Moved\r\nLocation: %s\r\nContent-Length: 0\r\n\r\n"):format(
          status,
          location
        )
        local outcome = ask(hostile.listen(over(wire.answers(text))))
        assert.is_nil(outcome.network)
        assert.are.equal(status, outcome.status)
        assert.are.equal(location, outcome.response.headers["location"])
      end
      assert.are.equal(0, #elsewhere.connections)
    end)
  end)

  it("is not followed within the same server either", function()
    local server = hostile.listen(function(connection)
      connection:serve "HTTP/1.1 307 X\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"
    end)
    assert.are.equal(307, wire.ask(server).status)
    assert.are.equal(1, wire.seen(server))
  end)

  it("by Refresh, Alt-Svc or HSTS does not affect the next request", function()
    local elsewhere = hostile.listen(wire.serves())
    local server = hostile.listen(wire.tls(function(connection)
      connection:serve(
        ('HTTP/1.1 204 X\r\nRefresh: 0; url=%s\r\nAlt-Svc: http/1.1="127.0.0.1:%d"\r\n'):format(
          elsewhere:url(),
          elsewhere.port
        ) .. "Strict-Transport-Security: max-age=1000\r\n\r\n"
      )
    end))
    local outcome = wire.ask_tls(server)
    outcome = wire.ask_tls(server, { transport = outcome.transport })
    assert.are.equal(204, outcome.status)
    assert.are.equal(2, wire.seen(server))
    assert.are.equal(0, #elsewhere.connections)
  end)
end)
