-- A redirect is never followed: the token goes nowhere else.

local hostile = require "support.hostile_server"
local wire = require "support.wire"

describe("a redirect", function()
  after_each(wire.close)
  teardown(wire.teardown)

  it("is an ordinary answer, and never followed", function()
    wire.over_both(function(scheme, ask, over)
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
