-- The transport over libcurl: how it waits, when it closes, and what it outlives. What may go wrong with a
-- request is in the other specs of transport_curl_*.

local core = require "autopilot.core"
local curl = require "autopilot.transport.curl"
local hostile = require "support.hostile_server"
local wire = require "support.wire"

describe("a response", function()
  after_each(wire.close)
  teardown(wire.teardown)

  it("has the duration of each phase", function()
    local server = hostile.listen(wire.tls(wire.serves()))
    local timings = wire.ask_tls(server).response.timings
    assert.is_true(timings.name_lookup >= 0)
    assert.is_true(timings.connect > 0)
    assert.is_true(timings.tls >= timings.connect)
    assert.is_true(timings.first_byte >= timings.tls)
    assert.is_true(timings.total >= timings.first_byte)
  end)

  it("outlives its transport", function()
    local server =
      hostile.listen(wire.serves "HTTP/1.1 200 X\r\nA: 1\r\nContent-Length: 2\r\n\r\nok")
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
    local server = hostile.listen(wire.serves())
    local transport = wire.transport()
    transport:close()
    for _ = 1, 2 do
      assert.are.equal(204, transport({ method = "POST", url = server:url() }).status)
      transport:close()
      transport:close()
    end
    assert.are.equal(2, #server.connections)
  end)

  it(
    "takes nothing from a request but what the HTTP layer has: the rest is the user's choice",
    function()
      local server = hostile.listen(wire.serves())
      local transport = wire.transport()
      local response, failure = transport {
        method = "POST",
        url = server:url(),
        proxy = "http://user:secret@127.0.0.1:1",
        ca_file = {},
        user_agent = "another",
        http_version = "3",
        max_body = -1,
      }
      assert.is_nil(failure)
      assert.are.equal(204, response.status)
      assert.is_nil(server.connections[1].transcript:find("another", 1, true))
    end
  )

  it("uses no connection from before a fork, and closes none", function()
    local server, transport = hostile.listen(wire.serves()), wire.transport()
    assert.are.equal(204, transport({ method = "POST", url = server:url() }).status)
    local parent, process_id = transport.drive.set, core.process_id
    core.process_id = function()
      return process_id() + 1
    end
    finally(function()
      core.process_id = process_id
    end)
    transport:close()
    assert.are.equal(0, parent:step()) -- it is open
    transport = wire.transport()
    transport.drive.set, transport.drive.process = parent, process_id()
    for _ = 1, 2 do
      assert.are.equal(204, transport({ method = "POST", url = server:url() }).status)
    end
    assert.are.equal(2, #server.connections)
    assert.are_not.equal(parent, transport.drive.set)
    assert.are.equal(0, parent:step())
  end)

  it("waits itself without an event loop", function()
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

  it("makes a request fail, without an error, when it is closed meanwhile", function()
    local server = hostile.listen(wire.answers "")
    local transport
    transport = curl.new {
      drive = hostile.drive(function(set)
        hostile.until_true(function()
          return #server.requests == 1
        end, function()
          set:step(0.001)
        end)
        transport:close()
      end),
    }
    local response, network = transport { method = "POST", url = server:url() }
    assert.is_nil(response)
    assert.are.equal("unknown", network.delivered)
    assert.are.equal(1, network.sends)
  end)

  it("passes on the error of its drive, and works afterwards", function()
    local server, interrupted = hostile.listen(wire.serves()), false
    local transport = curl.new {
      drive = hostile.drive(function(set, transfer)
        if not interrupted then
          interrupted = true
          error "interrupted!"
        end
        hostile.wait(set, transfer)
      end),
    }
    local request = { method = "POST", url = server:url() }
    assert.has_error(function()
      transport(request)
    end)
    assert.are.equal(204, transport(request).status)
  end)

  it("runs in several coroutines at once, each with its own answer", function()
    local server = hostile.listen(function(connection)
      while true do
        local target = connection:read_head().target
        connection:send_slowly(
          ("HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n%s"):format(#target, target)
        )
      end
    end)
    local transport = curl.new {
      drive = hostile.drive(function(set, transfer)
        while not transfer:is_finished() do
          set:step(0)
          coroutine.yield()
        end
      end),
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
