-- The network fails before, while and after the request is sent. The reported delivery is
-- compared with what the server really saw.

local core = require "autopilot.core"
local files = require "support.files"
local hostile = require "support.hostile_server"
local wire = require "support.wire"

local assert_unsent, assert_unknown = wire.assert_unsent, wire.assert_unknown

local no_content = "HTTP/1.1 204 No Content\r\n\r\n"

describe("a request that cannot be sent", function()
  after_each(wire.close)
  teardown(wire.teardown)

  it("fails at resolving an unknown host", function()
    local server = hostile.refusing()
    local outcome = wire.ask(server, { url = "https://graph.invalid/", connect = 0.5 })
    assert_unsent(outcome, "resolve")
  end)

  it("fails at connecting to a port without a listener", function()
    wire.over_both(function(_, ask)
      assert_unsent(ask(hostile.refusing()), "connect", "CURLE_COULDNT_CONNECT")
    end)
  end)

  it("fails at connecting to a host that does not answer", function()
    wire.over_both(function(_, ask)
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
    local outcome = wire.run_out("in TLS", 0.06, function(seconds)
      local server = hostile.listen(function(connection)
        connection:stall()
      end)
      return wire.ask_tls(server, { connect = seconds })
    end)
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
    wire.over_both(function(_, ask, over)
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
    wire.over_both(function(_, ask, over)
      local outcome = wire.run_out("sent", 0.2, function(seconds)
        return ask(hostile.listen(over(wire.answers("", "stall"))), { total = seconds })
      end)
      assert_unknown(outcome)
      assert.are.equal("receive", outcome.network.stage)
      assert.are.equal("CURLE_OPERATION_TIMEDOUT", outcome.network.name)
      assert.are.equal(1, wire.seen(outcome.server))
    end)
  end)

  it("is lost when the server has not read it", function()
    local outcome = wire.run_out("sent", 0.06, function(seconds)
      local server = hostile.listen(function(connection)
        connection:stall()
      end)
      return wire.ask(server, { total = seconds })
    end)
    assert_unknown(outcome)
    assert.are.equal(0, wire.seen(outcome.server))
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
