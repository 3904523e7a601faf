-- Every transfer ends, for any deadline, even if it waits for a connection.

local core = require "autopilot.core"
local hostile = require "support.hostile_server"
local transfers = require "support.transfers"
local wire = require "support.wire"

local limit, short = transfers.limit, transfers.short
local request_to, serving, stalling = transfers.request_to, transfers.serving, transfers.stalling
local run, run_until_finished = transfers.run, transfers.run_until_finished

describe("the time of a transfer", function()
  after_each(wire.close)

  it("is never unlimited, for any number", function()
    for _, odd in ipairs { 0, -1, -math.huge, 0 / 0, 1e-9, 1e-300 } do
      local set = core.transfer_set()
      local transfer = set:add(request_to(stalling()), { connect = limit, total = odd })
      run_until_finished(set, transfer)
      local name = (select(2, transfer:result())).name
      assert.are.equal("CURLE_OPERATION_TIMEDOUT", name)
      transfer = set:add(request_to(hostile.black_hole()), { connect = odd, total = limit })
      run_until_finished(set, transfer)
    end
  end)

  it("may end before it is sent: then it is never sent", function()
    local set = core.transfer_set()
    local late =
      set:add(request_to(serving()), { connect = limit, total = limit, send_by = core.clock() })
    run_until_finished(set, late)
    local response, network = late:result()
    assert.is_nil(response)
    assert.are.equal("no", network.delivered)
    local early = set:add(
      request_to(serving()),
      { connect = limit, total = limit, send_by = core.clock() + limit }
    )
    run_until_finished(set, early)
    assert.are.equal(204, early:result().status)
  end)

  it("may be longer than any clock can count", function()
    for _, long in ipairs { 1e9, 1e300, math.huge } do
      local set = core.transfer_set()
      local transfer = set:add(request_to(serving()), { connect = long, total = long })
      run_until_finished(set, transfer)
      assert.are.equal(204, transfer:result().status)
    end
  end)

  it("is not inherited when a handle is used again", function()
    local server = hostile.listen(function(connection)
      connection:read_head()
      connection:send "HTTP/1.1 204 No Content\r\n\r\n"
      connection:read_head()
      connection:stall()
    end)
    local set, request = core.transfer_set(), request_to(server)
    run_until_finished(set, set:add(request, { connect = limit, total = limit }))
    local transfer = set:add(request, { connect = limit, total = short })
    run_until_finished(set, transfer)
    assert.are.equal("CURLE_OPERATION_TIMEDOUT", (select(2, transfer:result())).name)
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
      local first = set:add(request, { connect = limit, total = limit })
      run(set, function()
        return #server.requests == 1
      end)
      local second = set:add(request, { connect = limit, total = 0.1 })
      run_until_finished(set, second)
      local response, network = second:result()
      assert.is_nil(response)
      assert.equal(0, network.sends)
      assert.equal("CURLE_OPERATION_TIMEDOUT", network.name)
      assert.is_true(#network.message > 0)
      assert.is_true(network.timeout)
      assert.equal(1, #server.requests)
      assert.is_false(first:is_finished())
      set:close()
    end
  )

  it("does not sleep past the deadline of a waiting transfer", function()
    local server = hostile.listen(function(connection)
      connection:read_head()
      connection:read_head()
    end)
    local set, request = core.transfer_set { concurrency = 1 }, request_to(server)
    set:add(request, { connect = limit, total = limit })
    run(set, function()
      return #server.requests == 1
    end)
    local began = core.clock()
    local second = set:add(request, { connect = limit, total = 0.1 })
    while not second:is_finished() do
      set:step(limit)
      assert.is_true(core.clock() - began < limit / 2)
    end
    set:close()
  end)
end)
