-- core.transfer_thread as Lua sees it: what is handed over and handed back, what is raised, and that
-- nothing is used after it is gone, in whatever order it goes. The protocol is tried in spec/c.

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

--- Writes the number to a new connection, as a light thread does; what comes back.
local function wait_for(number)
  local connection = unix.stream()
  assert(connection:connect(thread:address()))
  connection:settimeout(0)
  assert(connection:send(("%d\n"):format(number)))
  local byte, problem
  hostile.until_true(function()
    byte, problem = connection:receive(1)
    return byte ~= nil or problem == "closed"
  end)
  return byte, connection
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

  it("hands back what it was handed, when it has finished", function()
    local number = thread:submit(request(), {
      connect = 5 * patience,
      total = 5 * patience,
      token = "secret",
      client_request_id = "id-1",
      retry_attempt = 2,
    })
    assert.is_nil(thread:claim(number))
    local byte, connection = wait_for(number)
    assert.equal("+", byte)
    local transfer = thread:claim(number)
    assert.is_true(transfer:is_finished())
    local response = transfer:result()
    assert.equal(204, response.status)
    assert.equal("abc", response.headers["request-id"])
    assert.is_nil(thread:claim(number))
    connection:close()
  end)

  it("sends what one attempt adds, whatever became of the texts", function()
    local function submit()
      local token, id = ("t"):rep(2000), "id-" .. 7
      return thread:submit(request(), {
        connect = 5 * patience,
        total = 5 * patience,
        token = token,
        client_request_id = id,
        retry_attempt = 3,
      })
    end
    local number = submit()
    collect()
    local byte, connection = wait_for(number)
    assert.equal("+", byte)
    local headers = server.requests[1].headers
    assert.equal("Bearer " .. ("t"):rep(2000), headers["authorization"])
    assert.equal("id-7", headers["client-request-id"])
    assert.equal("3", headers["retry-attempt"])
    connection:close()
  end)

  it("withdraws what has not begun, and only that", function()
    local number = thread:submit(request(), { connect = 5, total = 5 })
    assert.is_true(thread:withdraw(number))
    assert.is_false(thread:withdraw(number))
    local byte, connection = wait_for(number)
    assert.is_nil(byte)
    connection:close()
  end)

  it("takes no number that it has not given", function()
    for _, number in ipairs { 0, -1, 0.5, 1e300, -1e300, 0 / 0 } do
      assert.is_nil(thread:claim(number))
      assert.is_false(thread:withdraw(number))
    end
    assert.is_false(pcall(thread.claim, thread, "x"))
  end)

  it("raises for what cannot be sent, and quotes nothing of it", function()
    local prepared = request()
    for _, wrong in ipairs {
      { connect = 5, total = 5, token = "tok\nen" },
      { connect = 5, total = 5, client_request_id = "i\rd" },
      { connect = 5, total = 5, retry_attempt = -1 },
      { connect = 5, total = 5, token = {} },
      { connect = "x", total = 5 },
    } do
      local ok, message = pcall(thread.submit, thread, prepared, wrong)
      assert.is_false(ok)
      assert.is_nil(message:find "tok\n")
    end
    assert.is_false(pcall(thread.submit, thread, {}, { connect = 5, total = 5 }))
  end)

  it("says that it is closed", function()
    thread:close()
    thread:close()
    for _, method in ipairs { "address", "submit", "claim", "withdraw" } do
      local ok, message = pcall(thread[method], thread, 1)
      assert.is_false(ok)
      assert.truthy(message:find("the transfer thread is closed", 1, true))
    end
  end)

  it("ends with the last who knows it, with transfers in every state", function()
    local number = thread:submit(request(), { connect = 5 * patience, total = 5 * patience })
    local byte, finished = wait_for(number)
    assert.equal("+", byte)
    local transfer = thread:claim(number)
    thread:submit(request(), { connect = 5, total = 5 })
    local running = unix.stream()
    assert(running:connect(thread:address()))
    assert(running:send(("%d\n"):format(thread:submit(request(), { connect = 5, total = 5 }))))
    thread = { close = function() end }
    collect()
    running:settimeout(5 * patience)
    local _, problem = running:receive(1)
    assert.equal("closed", problem)
    assert.equal(204, transfer:result().status)
    running:close()
    finished:close()
  end)
end)
