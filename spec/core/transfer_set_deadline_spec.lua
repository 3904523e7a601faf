-- No transfer is without an end, whatever is asked for, also none that waits for a connection.

local core = require "autopilot.core"
local hostile = require "support.hostile_server"
local transfers = require "support.transfers"
local wire = require "support.wire"

local limit, short, patience = transfers.limit, transfers.short, hostile.patience
local request_to, serving, stalling = transfers.request_to, transfers.serving, transfers.stalling
local run, run_until_finished = transfers.run, transfers.run_until_finished
local seconds_of = transfers.seconds_of

describe("the time of a transfer", function()
  after_each(wire.close)

  it("is never unlimited, however odd it is", function()
    for _, odd in ipairs { 0, -1, -math.huge, 0 / 0, 1e-9, 1e-300 } do
      local set = core.transfer_set()
      local transfer = set:add(request_to(stalling()), limit, odd)
      assert.is_true(seconds_of(function()
        run_until_finished(set, transfer)
      end) < 1 * patience)
      local _, name = transfer:failure()
      assert.are.equal("CURLE_OPERATION_TIMEDOUT", name)
      transfer = set:add(request_to(hostile.black_hole()), odd, limit)
      assert.is_true(seconds_of(function()
        run_until_finished(set, transfer)
      end) < 1 * patience)
    end
  end)

  it("may be longer than any clock", function()
    for _, long in ipairs { 1e9, 1e300, math.huge } do
      local set = core.transfer_set()
      local transfer = set:add(request_to(serving()), long, long)
      run_until_finished(set, transfer)
      assert.are.equal(204, (transfer:result()))
    end
  end)

  it("is each transfer's own on a handle that is used again", function()
    local server = hostile.listen(function(connection)
      connection:read_head()
      connection:send "HTTP/1.1 204 No Content\r\n\r\n"
      connection:read_head()
      connection:stall()
    end)
    local set, request = core.transfer_set(), request_to(server)
    run_until_finished(set, set:add(request, limit, limit))
    local transfer = set:add(request, limit, short)
    assert.is_true(seconds_of(function()
      run_until_finished(set, transfer)
    end) < 2 * patience)
    assert.are.equal("CURLE_OPERATION_TIMEDOUT", (select(2, transfer:failure())))
  end)
end)

describe("a transfer set whose connections are limited", function()
  after_each(wire.close)

  it(
    "ends what waits for a connection when its time is over, and surely sent nothing of it",
    function()
      local server = hostile.listen(function(connection)
        connection:read_head() -- and never answers
        connection:read_head()
      end)
      local set, request = core.transfer_set { concurrency = 1 }, request_to(server)
      local first = set:add(request, 10, 60 * patience)
      run(set, function()
        return #server.requests == 1
      end)
      local began = core.clock()
      local second = set:add(request, 10, 0.1)
      run_until_finished(set, second)
      assert.is_true(core.clock() - began < 5 * patience)
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
    local set, request = core.transfer_set { concurrency = 1 }, request_to(server)
    set:add(request, 10, 60 * patience)
    run(set, function()
      return #server.requests == 1
    end)
    local began = core.clock()
    local second = set:add(request, 10, 0.1)
    while not second:is_finished() do
      set:step(30)
      assert.is_true(core.clock() - began < 5 * patience)
    end
    set:close()
  end)
end)
