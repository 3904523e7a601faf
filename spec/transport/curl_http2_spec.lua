-- Over HTTP/2 a server may refuse a stream, go away, or break off one stream of many. What libcurl
-- sends again by itself is counted.

local core = require "autopilot.core"
local hostile = require "support.hostile_server"
local http2 = require "support.http2_frames"
local overlay = require "support.overlay"
local libcurl = require "support.libcurl"
local wire = require "support.wire"

-- A libcurl may have been built without it.
local describe_http2 = core.info().http2 and describe or pending

local function ask(script, how)
  local given = overlay({ http = { version = "2" } }, how)
  return wire.ask_tls(hostile.listen(wire.http2(script)), given)
end

-- Answers every request.
local function serve(session)
  while true do
    session:headers(session:read_request(), { { ":status", 204 } }, true)
  end
end

local function assert_lost(outcome, sends)
  assert.is_nil(outcome.response)
  assert.are.equal("unknown", outcome.network.delivered)
  assert.are.equal(sends or 1, outcome.sends)
  assert.are.equal(outcome.sends, wire.seen(outcome.server))
end

local function assert_cut(outcome, status)
  assert.are.equal(status, outcome.status)
  assert.are.equal("receive", outcome.network.stage)
  assert.are.equal(1, outcome.sends)
end

describe_http2("an answer over HTTP/2", function()
  after_each(wire.close)
  teardown(wire.teardown)

  it("is a status, a version, headers and a body", function()
    local outcome = ask(function(session)
      local stream = session:read_request()
      session:headers(
        stream,
        { { ":status", 429 }, { "retry-after", "5" }, { "a", "1" }, { "a", "2" } }
      )
      session:data(stream, "slow ")
      session:data(stream, "down", true)
    end)
    assert.is_nil(outcome.network)
    assert.are.equal(429, outcome.status)
    assert.are.equal("2", outcome.response.http_version)
    assert.are.same({ ["retry-after"] = "5", ["a"] = "1, 2" }, outcome.response.headers)
    assert.are.equal("slow down", outcome.response.body)
    assert.are.equal(1, outcome.sends)
  end)

  it("is asked for on the same connection again", function()
    local server = hostile.listen(wire.http2(serve))
    local outcome = wire.ask_tls(server)
    assert.are.equal("2", outcome.response.http_version)
    outcome = wire.ask_tls(server, { transport = outcome.transport })
    assert.are.equal(204, outcome.status)
    assert.are.equal(1, outcome.sends)
    assert.are.equal(1, #server.connections)
  end)

  it("has no headers of the 1xx answers before it", function()
    local outcome = ask(function(session)
      local stream = session:read_request()
      for _ = 1, 3 do
        session:headers(stream, { { ":status", 103 }, { "early", "e" } })
      end
      session:headers(stream, { { ":status", 204 }, { "a", "1" } }, true)
    end)
    assert.are.equal(204, outcome.status)
    assert.are.same({ a = "1" }, outcome.response.headers)
  end)

  it("takes no header from the trailers", function()
    local outcome = ask(function(session)
      local stream = session:read_request()
      session:headers(stream, { { ":status", 500 } })
      session:data(stream, "no")
      session:headers(stream, { { "retry-after", "3" } }, true)
    end)
    assert.is_nil(outcome.network)
    assert.are.equal(500, outcome.status)
    assert.are.same({}, outcome.response.headers)
    assert.are.equal("no", outcome.response.body)
  end)

  it("keeps the first bytes of a body over its ceiling", function()
    local outcome = ask(function(session)
      local stream = session:read_request()
      session:headers(stream, { { ":status", 503 } })
      while true do
        session:data(stream, ("x"):rep(1000))
        session.connection:wait()
      end
    end, { http = { version = "2", max_body = 1500 } })
    assert_cut(outcome, 503)
    assert.are.equal("CURLE_FILESIZE_EXCEEDED", outcome.network.name)
    assert.are.equal(("x"):rep(1500), outcome.response.body)
  end)

  it("keeps a status when the stream is broken off after it", function()
    local breaks = {
      function(session, stream)
        session:reset_stream(stream, http2.INTERNAL_ERROR)
      end,
      function(session, stream)
        session:data(stream, "never complete", true, 15)
        session.connection:cut()
      end,
      function(session)
        session.connection:cut()
      end,
    }
    for _, break_off in ipairs(breaks) do
      local outcome = ask(function(session)
        local stream = session:read_request()
        session:headers(stream, { { ":status", 429 }, { "retry-after", "5" } })
        session:data(stream, "half")
        break_off(session, stream)
      end)
      assert_cut(outcome, 429)
      assert.are.equal("5", outcome.response.headers["retry-after"])
      assert.matches("^half", outcome.response.body)
    end
  end)

  it("does not exceed its time when it stalls after the status", function()
    local outcome = wire.run_out("answered", 0.25, function(seconds)
      return ask(function(session)
        session:headers(session:read_request(), { { ":status", 429 }, { "retry-after", "5" } })
        session.connection:stall()
      end, { total = seconds })
    end)
    assert_cut(outcome, 429)
    assert.is_true(outcome.network.timeout)
  end)

  it("is lost when its head has no valid status", function()
    for _, head in ipairs { { { "a", "1" } }, { { ":status", "20x" } }, { { ":status", "" } } } do
      assert_lost(ask(function(session)
        session:headers(session:read_request(), head, true)
      end))
    end
  end)

  it("takes no header that HTTP/2 forbids", function()
    for _, forbidden in ipairs { { "a", "1\r\nb: 2" }, { "UPPER", "1" }, { ":unknown", "1" } } do
      local outcome = ask(function(session)
        session:headers(session:read_request(), { { ":status", 204 }, forbidden }, true)
      end)
      -- nghttp2 refuses the answer or passes over the header, as its version has it.
      if outcome.response then
        assert.are.equal(204, outcome.status)
        assert.are.same({}, outcome.response.headers)
      end
    end
  end)

  it("is lost when its head is cut", function()
    assert_lost(ask(function(session)
      session:headers(session:read_request(), { { ":status", 204 }, { "a", "1" } }, true, 15)
      session.connection:cut()
    end))
  end)
end)

describe_http2("a request over HTTP/2", function()
  after_each(wire.close)
  teardown(wire.teardown)

  it("is lost when its stream is broken off", function()
    assert_lost(ask(function(session)
      session:reset_stream(session:read_request(), http2.INTERNAL_ERROR)
    end))
  end)

  it("is lost when the connection ends before the answer", function()
    for _, ending in ipairs { "close", "cut", "reset" } do
      assert_lost(ask(function(session)
        session:read_request()
        session.connection[ending](session.connection)
      end))
    end
  end)

  it("is lost when the server stalls", function()
    local outcome = wire.run_out("sent", 0.25, function(seconds)
      return ask(function(session)
        session:read_request()
        session.connection:stall()
      end, { total = seconds })
    end)
    assert_lost(outcome)
    assert.is_true(outcome.network.timeout)
    outcome = wire.run_out("sent", 0.25, function(seconds)
      local server = hostile.listen(wire.tls(function(connection)
        connection:stall()
      end, { alpn = "h2" }))
      return wire.ask_tls(server, { total = seconds })
    end)
    assert.is_nil(outcome.response)
    assert.are.equal("unknown", outcome.network.delivered)
  end)

  it("is sent again when its stream was refused, and that is counted", function()
    for refusals = 1, 4 do
      local seen = 0
      local outcome = ask(function(session)
        while true do
          local stream = session:read_request()
          seen = seen + 1
          if seen <= refusals then
            session:reset_stream(stream, http2.REFUSED_STREAM)
          else
            session:headers(stream, { { ":status", 204 } }, true)
          end
        end
      end)
      assert.are.equal(204, outcome.status)
      assert.are.equal(refusals + 1, outcome.sends)
      assert.are.equal(outcome.sends, wire.seen(outcome.server))
    end
  end)

  it("fails when it is always refused, and every send is counted", function()
    local outcome = ask(function(session)
      while true do
        session:reset_stream(session:read_request(), http2.REFUSED_STREAM)
      end
    end)
    assert.is_nil(outcome.response)
    assert.is_true(outcome.sends > 1)
    assert.are.equal(outcome.sends, wire.seen(outcome.server))
  end)

  it("is sent again over HTTP/1.1 when that is demanded, and that is counted", function()
    local server = hostile.listen(wire.tls(function(connection)
      if connection.socket:getalpn() == "h2" then
        local session = http2.start(connection)
        session:reset_stream(session:read_request(), http2.HTTP_1_1_REQUIRED)
      else
        connection:serve()
      end
    end, { alpn = "h2" }))
    if libcurl.is_between("8.11", "8.12") then -- it does nothing more
      local outcome = wire.run_out("sent", 0.2, function(seconds)
        return wire.ask_tls(server, { total = seconds })
      end)
      assert.are.equal("CURLE_OPERATION_TIMEDOUT", outcome.network.name)
      assert.are.equal("receive", outcome.network.stage)
      assert.are.equal("unknown", outcome.network.delivered)
      return
    end
    local outcome = wire.ask_tls(server)
    assert.are.equal(204, outcome.status)
    assert.are.equal("1.1", outcome.response.http_version)
    assert.are.equal(2, outcome.sends)
    assert.are.equal(2, wire.seen(server))
  end)

  it("is never reported as unsent when the server goes away", function()
    local ways = {
      function(session)
        session:go_away(0, http2.NO_ERROR)
        session:read_request()
      end,
      function(session)
        session:read_request()
        session:go_away(0, http2.NO_ERROR)
      end,
      function(session)
        session:go_away(session:read_request(), http2.NO_ERROR)
      end,
      function(session)
        session:go_away(session:read_request(), http2.INTERNAL_ERROR)
      end,
    }
    for _, way in ipairs(ways) do
      for _, ending in ipairs { "close", "cut" } do
        local outcome = ask(function(session)
          way(session)
          session.connection[ending](session.connection)
        end)
        assert.is_nil(outcome.response)
        assert.are.equal("unknown", outcome.network.delivered)
        assert.is_true(outcome.sends >= wire.seen(outcome.server))
      end
    end
  end)

  it("is answered when the server goes away after it", function()
    local outcome = ask(function(session)
      local stream = session:read_request()
      session:go_away(stream, http2.NO_ERROR)
      session:headers(stream, { { ":status", 204 } }, true)
    end)
    assert.is_nil(outcome.network)
    assert.are.equal(204, outcome.status)
    assert.are.equal(1, outcome.sends)
  end)

  it("on a reused connection is counted as often as the server saw it", function()
    local ways = {
      function(session)
        session:go_away(1, http2.NO_ERROR)
        session.connection:close()
      end,
      function(session, stream)
        session:reset_stream(stream, http2.REFUSED_STREAM)
        serve(session)
      end,
      function(session)
        session.connection:close()
      end,
      function(session)
        session.connection:cut()
      end,
      function(session)
        session.connection:reset()
      end,
    }
    for _, way in ipairs(ways) do
      local is_first = true
      local server = hostile.listen(wire.http2(function(session)
        if is_first then
          is_first = false
          session:headers(session:read_request(), { { ":status", 204 } }, true)
          way(session, session:read_request())
        else
          serve(session)
        end
      end))
      local outcome = wire.ask_tls(server)
      assert.are.equal(204, outcome.status)
      outcome = wire.ask_tls(server, { transport = outcome.transport })
      assert.are.equal(1 + outcome.sends, wire.seen(server))
      assert.is_true(outcome.status == 204 or outcome.network.delivered == "unknown")
    end
  end)
end)
