-- core.transfer_thread in Lua: submitting and taking transfers, the errors that it raises, and that
-- nothing is used after it was freed, in any order. The exchange between the threads is tested in spec/c.

local core = require "autopilot.core"
local hostile = require "support.hostile_server"
local unix = require "socket.unix"
local wire = require "support.wire"

local patience = hostile.patience
local no_content = "HTTP/1.1 204 No Content\r\nrequest-id: abc\r\n\r\n"

local function collect()
  collectgarbage()
  collectgarbage()
end

local thread, server

local function request()
  return core.request { method = "POST", url = server:url() }
end

--- Connects, as a stepper does.
local function connect()
  local connection = unix.stream()
  assert(connection:connect(thread:listen()))
  connection:settimeout(0)
  return connection
end

--- The number and the transfer of the next one that finishes.
local function await(connection)
  local number, transfer = thread:take()
  hostile.until_true(function()
    if not number and connection:receive(1) then
      number, transfer = thread:take()
    end
    return number ~= nil
  end)
  return number, transfer
end

describe("core.transfer_thread", function()
  before_each(function()
    server = hostile.listen(wire.answers(no_content, "stall"))
    thread = assert(core.transfer_thread())
  end)
  after_each(function()
    thread:close()
    hostile.close()
  end)

  it("returns each transfer when it has finished", function()
    local connection = connect()
    assert.is_true(thread:accept())
    assert.is_nil(thread:take())
    local added = thread:add(request(), {
      connect = 5 * patience,
      total = 5 * patience,
      token = "secret",
      client_request_id = "id-1",
      retry_attempt = 2,
    })
    local number, transfer = await(connection)
    assert.equal(added, number)
    assert.is_true(transfer:is_finished())
    local response = transfer:result()
    assert.equal(204, response.status)
    assert.equal("abc", response.headers["request-id"])
    assert.is_nil(thread:take())
    connection:close()
  end)

  it("sends the texts of one attempt, even if they were collected since", function()
    local function add()
      local token, id = ("t"):rep(2000), "id-" .. 7
      return thread:add(request(), {
        connect = 5 * patience,
        total = 5 * patience,
        token = token,
        client_request_id = id,
        retry_attempt = 3,
      })
    end
    local connection = connect()
    assert.is_true(thread:accept())
    local added = add()
    collect()
    assert.equal(added, (await(connection)))
    local headers = server.requests[1].headers
    assert.equal("Bearer " .. ("t"):rep(2000), headers["authorization"])
    assert.equal("id-7", headers["client-request-id"])
    assert.equal("3", headers["retry-attempt"])
    connection:close()
  end)

  it("discards a transfer under way, and then does not return it any more", function()
    local connection = connect()
    assert.is_true(thread:accept())
    local attempt = { connect = 5 * patience, total = 5 * patience }
    thread:add(request(), attempt)
    await(connection)
    local second = thread:add(request(), attempt) -- has no answer
    assert.is_boolean(thread:discard(second))
    assert.is_false(thread:discard(second))
    assert.is_nil(thread:take())
    connection:close()
  end)

  it("refuses a connection that does not exist", function()
    assert.is_false(thread:accept())
  end)

  it("refuses to discard a number that it has not given", function()
    for _, number in ipairs { 0, -1, 0.5, 7, 1e300, -1e300, 0 / 0 } do
      assert.is_false(thread:discard(number))
    end
    assert.is_false(pcall(thread.discard, thread, "x"))
  end)

  it("raises for what cannot be sent, and does not quote it", function()
    local prepared = request()
    for _, wrong in ipairs {
      { connect = 5, total = 5, token = "tok\nen" },
      { connect = 5, total = 5, client_request_id = "i\rd" },
      { connect = 5, total = 5, retry_attempt = -1 },
      { connect = 5, total = 5, token = {} },
      { connect = "x", total = 5 },
    } do
      local ok, message = pcall(thread.add, thread, prepared, wrong)
      assert.is_false(ok)
      assert.is_nil(message:find "tok\n")
    end
    assert.is_false(pcall(thread.add, thread, {}, { connect = 5, total = 5 }))
  end)

  it("says that it is closed", function()
    thread:close()
    thread:close()
    for _, method in ipairs { "add", "take", "discard", "listen", "accept" } do
      local ok, message = pcall(thread[method], thread, 1)
      assert.is_false(ok)
      assert.truthy(message:find("the transfer thread is closed", 1, true))
    end
  end)

  it("ends with its last reference, with transfers in every state", function()
    local connection = connect()
    assert.is_true(thread:accept())
    local attempt = { connect = 5 * patience, total = 5 * patience }
    thread:add(request(), attempt)
    local _, transfer = await(connection)
    for _ = 1, 3 do
      thread:add(request(), attempt)
    end
    thread = { close = function() end }
    collect()
    connection:settimeout(5 * patience)
    local _, problem = connection:receive "*a"
    assert.equal("closed", problem or "closed")
    assert.equal(204, transfer:result().status)
    connection:close()
  end)
end)
