-- core.transfer_set: what a step does, how one transfer is waited for, and how finished ones are taken.

local core = require "autopilot.core"
local hostile = require "support.hostile_server"
local transfers = require "support.transfers"
local wire = require "support.wire"

local limit, short = transfers.limit, transfers.short
local request_to, serving, stalling = transfers.request_to, transfers.serving, transfers.stalling
local run, run_until_finished = transfers.run, transfers.run_until_finished
local seconds_of = transfers.seconds_of

--- Adds as many transfers of a request, then runs them until all are finished.
local function run_at_once(set, request, count)
  local begun = {}
  for number = 1, count do
    begun[number] = set:add(request, { connect = limit, total = limit })
  end
  for _, transfer in ipairs(begun) do
    run_until_finished(set, transfer)
  end
  return begun
end

describe("a step of a transfer set", function()
  after_each(wire.close)

  it("tells how many transfers are in flight", function()
    local server, set = serving(), core.transfer_set()
    assert.are.equal(0, set:step())
    local request = request_to(server)
    local one, two =
      set:add(request, { connect = limit, total = limit }),
      set:add(request, { connect = limit, total = limit })
    assert.are.equal(2, set:step())
    run_until_finished(set, one, two)
    assert.are.equal(0, set:step())
  end)

  it("never blocks without a timeout", function()
    local server, set = stalling(), core.transfer_set()
    set:add(request_to(server), { connect = limit, total = limit })
    for _, timeout in ipairs { 0, -1, 0 / 0 } do
      assert.is_true(seconds_of(function()
        set:step(timeout)
        set:step()
      end) < limit / 2)
    end
  end)

  it("waits no longer than its timeout", function()
    local server, set = stalling(), core.transfer_set()
    set:add(request_to(server), { connect = limit, total = limit })
    run(set, function()
      return #server.requests == 1
    end)
    local seconds = seconds_of(function()
      set:step(0.03)
    end)
    assert.is_true(seconds > 0.01 and seconds < limit / 2, seconds)
  end)

  it("waits again after the finished transfers were taken", function()
    local set = core.transfer_set()
    set:add(request_to(stalling()), { connect = limit, total = limit })
    local longest = 0 -- a step may be cut short by a look at all transfers
    for _ = 1, 5 do
      local refused = set:add(request_to(hostile.refusing()), { connect = limit, total = limit })
      run_until_finished(set, refused)
      set:discard(refused)
      local seconds = seconds_of(function()
        set:step(0.02)
      end)
      longest = math.max(longest, seconds)
    end
    assert.is_true(longest > 0.01, longest)
  end)

  it("does not wait when nothing is in flight", function()
    local set = core.transfer_set()
    assert.is_true(seconds_of(function()
      set:step(limit)
    end) < limit / 2)
  end)

  --- The most of 40 transfers, whose answers are there, that one step of a set finishes.
  local function most_of_a_step()
    local is_open = false
    local server = hostile.listen(function(connection)
      connection:read_head()
      while not is_open do
        connection:wait()
      end
      connection:send "HTTP/1.1 204 X\r\n\r\n"
      connection:stall()
    end)
    local set, request, count = core.transfer_set(), request_to(server), 40
    for _ = 1, count do
      set:add(request, { connect = limit, total = limit })
    end
    run(set, function()
      return #server.requests == count
    end)
    is_open = true
    hostile.settle()
    local most, all = 0, 0
    while all < count do
      set:step(0.001)
      local finished = 0
      while set:take() do
        finished = finished + 1
      end
      most, all = math.max(most, finished), all + finished
    end
    set:close()
    return most
  end

  it("handles a few sockets only, and the others in the next steps", function()
    local most
    for _ = 1, 8 do -- once a second a step looks at all of them: hardly in each try
      most = most_of_a_step()
      if most <= 20 then
        return
      end
    end
    error(("a step finished %d"):format(most))
  end)

  it("returns when a transfer has finished, and waits for the rest when called again", function()
    local server, slow, set = serving(), stalling(), core.transfer_set()
    local quick = set:add(request_to(server), { connect = limit, total = limit })
    local late = set:add(request_to(slow), { connect = limit, total = 3 * short })
    run_until_finished(set, quick)
    -- `quick` is never taken: that must not keep `late` from moving.
    local steps = 0
    while not late:is_finished() do
      set:step(1)
      hostile.step()
      steps = steps + 1
    end
    assert.is_true(steps < 50, steps) -- it did not spin
  end)
end)

describe("finished transfers", function()
  after_each(wire.close)

  it("are taken in the order they finished, once", function()
    local set, fast = core.transfer_set(), nil
    local held = hostile.listen(function(connection)
      connection:read_head()
      while not fast:is_finished() do
        connection:wait()
      end
      connection:close()
    end)
    local slow = set:add(request_to(held), { connect = limit, total = limit })
    fast = set:add(request_to(serving()), { connect = limit, total = limit })
    run_until_finished(set, slow, fast)
    assert.are.equal(fast, set:take())
    assert.are.equal(slow, set:take())
    assert.is_nil(set:take())
    assert.are.equal(204, fast:result().status)
    assert.is_nil((slow:result()))
  end)

  it("can be discarded, and the others are still taken", function()
    local slow, set = stalling(), core.transfer_set()
    local first = set:add(request_to(hostile.refusing()), { connect = limit, total = limit })
    local second = set:add(request_to(slow), { connect = limit, total = short })
    run_until_finished(set, first, second)
    set:discard(second)
    assert.is_true(second:is_finished())
    assert.are.equal(first, set:take())
    assert.is_nil(set:take())
  end)

  it("may be many at once, each with its own answer", function()
    local server = hostile.listen(function(connection)
      while true do
        local target = connection:read_head().target
        connection:send(("HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n%s"):format(#target, target))
      end
    end)
    local set, begun = core.transfer_set(), {}
    for number = 1, 100 do -- more than idle handles are kept
      local request = core.request { method = "GET", url = server:url("/" .. number) }
      begun[number] =
        set:add(request, { connect = limit, total = limit, token = "token " .. number })
    end
    for number, transfer in ipairs(begun) do
      run_until_finished(set, transfer)
      assert.are.equal("/" .. number, transfer:result().body)
    end
    for _, request in ipairs(server.requests) do
      assert.are.equal("Bearer token " .. request.target:sub(2), request.headers["authorization"])
    end
  end)

  it(
    "leave connections that are not used again when the server has said something unasked",
    function()
      local may_speak, spoken = false, 0
      local server = hostile.listen(function(connection)
        connection:read_head()
        connection:send "HTTP/1.1 409 X\r\nContent-Length: 0\r\n\r\n"
        while not may_speak do
          connection:wait()
        end
        connection:send "HTTP/1.1 204 Not asked for\r\n\r\n"
        spoken = spoken + 1
        connection:stall()
      end)
      local count = 80 -- all are kept for the next transfers
      local set, request = core.transfer_set { concurrency = count }, request_to(server)
      local function ask_all()
        for _, transfer in ipairs(run_at_once(set, request, count)) do
          assert.are.equal(409, transfer:result().status)
        end
      end
      ask_all()
      may_speak = true
      hostile.until_true(function()
        return spoken == count
      end)
      may_speak = false
      ask_all()
      assert.are.equal(2 * count, #server.connections)
    end
  )

  it("tell nothing before they have finished", function()
    local set = core.transfer_set()
    local transfer =
      set:add(request_to(stalling "HTTP/1.1 200 X\r\n"), { connect = limit, total = limit })
    assert.is_false(transfer:is_finished())
    assert.are.equal(0, select("#", transfer:result()))
  end)
end)

describe("the connections of a transfer set", function()
  after_each(wire.close)
  teardown(wire.teardown)

  it("are kept for the next transfer, and closed with the set", function()
    local server, set = serving(), core.transfer_set { concurrency = 10 }
    local request = request_to(server)
    for _ = 1, 2 do
      run_until_finished(set, set:add(request, { connect = limit, total = limit }))
      local ends = core.clock() + 3 * short
      run(set, function()
        return core.clock() > ends
      end)
    end
    assert.are.equal(1, #server.connections)
    assert.is_falsy(server.connections[1].has_ended)
    set:close()
    hostile.until_true(function()
      return server.connections[1].has_ended
    end)
  end)

  it("are opened all at once to a host that closes each after its answer", function()
    local count, asked, at_once = 10, 0, 2
    local server = hostile.listen(wire.tls(function(connection)
      connection:read_head()
      asked = asked + 1
      -- Until the second answer of all, requests may wait for a connection that they can share.
      at_once = at_once - 1
      while at_once < 0 and asked < count do
        connection:wait()
      end
      connection:send "HTTP/1.0 204 X\r\n\r\n"
      connection:close()
    end))
    local set = core.transfer_set { concurrency = count }
    local given = { url = server:url("/", "https"), ca_file = wire.certificates().ca }
    local request = request_to(server, given)
    for _ = 1, 2 do
      run_at_once(set, request, count)
      asked = 0
    end
    assert.are.equal(2 * count, #server.connections)
  end)
end)
