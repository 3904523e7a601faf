-- A transfer that waits for a connection, because those that are allowed are taken, still has its time.

local core = require "autopilot.core"
local curl = require "autopilot.transport.curl"
local hostile = require "support.hostile_server"

describe("a transfer set whose connections are limited", function()
  after_each(hostile.close)

  local function prepare(server)
    return curl.prepare({}, { method = "POST", url = server:url() })
  end

  it(
    "ends what waits for a connection when its time is over, and surely sent nothing of it",
    function()
      local server = hostile.listen(function(connection)
        connection:read_head() -- and never answers
        connection:read_head()
      end)
      local set, request = core.transfer_set { concurrency = 1 }, prepare(server)
      local first = set:add(request, 10, 60 * hostile.patience)
      hostile.until_true(function()
        return #server.requests == 1
      end, function()
        set:step(0.001)
      end)
      local began = core.clock()
      local second = set:add(request, 10, 0.1)
      hostile.until_true(function()
        return second:is_finished()
      end, function()
        set:step(0.001)
      end)
      assert.is_true(core.clock() - began < 5 * hostile.patience)
      local status, _, _, sends = second:result()
      assert.is_nil(status)
      assert.equal(0, sends)
      local _, name, message, timeout = second:failure()
      assert.equal("CURLE_OPERATION_TIMEDOUT", name)
      assert.is_true(#message > 0)
      assert.is_true(timeout)
      assert.equal(1, #server.requests)
      assert.is_false(first:is_finished())
      set:close()
    end
  )

  it("does not sleep past the end of what waits, however long it may", function()
    local server = hostile.listen(function(connection)
      connection:read_head()
      connection:read_head()
    end)
    local set, request = core.transfer_set { concurrency = 1 }, prepare(server)
    set:add(request, 10, 60 * hostile.patience)
    hostile.until_true(function()
      return #server.requests == 1
    end, function()
      set:step(0.001)
    end)
    local began = core.clock()
    local second = set:add(request, 10, 0.1)
    while not second:is_finished() do
      set:step(30)
      assert.is_true(core.clock() - began < 5 * hostile.patience)
    end
    set:close()
  end)
end)
