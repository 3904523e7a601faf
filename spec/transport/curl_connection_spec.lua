-- When a connection is used again, and how often libcurl sends a request if it breaks.

local hostile = require "support.hostile_server"
local wire = require "support.wire"

local no_content = "HTTP/1.1 204 No Content\r\n\r\n"

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
    wire.over_both(function(_, ask, over)
      local server = hostile.listen(over(serve))
      local outcome = ask_twice(server, ask)
      assert.are.equal(204, outcome.status)
      assert.are.equal(1, outcome.sends)
      assert.are.equal(1, #server.connections)
      assert.are.equal(0, outcome.response.timings.tls)
    end)
  end)

  it("is not reused when the server wants it closed", function()
    wire.over_both(function(_, ask, over)
      local answer = "HTTP/1.1 204 X\r\nConnection: close\r\n\r\n"
      local server = hostile.listen(over(wire.answers(answer)))
      assert.are.equal(1, ask_twice(server, ask).sends)
      assert.are.equal(2, #server.connections)
    end)
  end)

  it("is not reused after an answer that was cut", function()
    local outcome = wire.run_out("answered", 0.2, function(seconds)
      local first = true
      local server = hostile.listen(function(connection)
        local text = first and "HTTP/1.1 500 X\r\nContent-Length: 99\r\n\r\nhalf" or no_content
        first = false
        wire.answers(text)(connection)
      end)
      return wire.ask(server, { total = seconds })
    end)
    assert.are.equal(500, outcome.status)
    outcome = wire.ask(outcome.server, { transport = outcome.transport })
    assert.are.equal(204, outcome.status)
    assert.are.equal(2, #outcome.server.connections)
  end)

  it("that was closed while idle costs at most a send that no server saw", function()
    wire.over_both(function(_, ask, over)
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
    wire.over_both(function(_, ask, over)
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
    wire.over_both(function(_, ask, over)
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
    wire.over_both(function(_, ask, over)
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
    wire.over_both(function(_, ask, over)
      local server
      server = hostile.listen(over(stale(function(connection)
        connection:read_head()
        server:refuse()
        connection:cut()
      end)))
      wire.assert_unknown(ask_twice(server, ask), 1)
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
