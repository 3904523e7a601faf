-- core.transfer_set: who keeps whom alive, what a step does, and what is raised. Whatever order
-- things are dropped in, and whenever, nothing is used after it is gone.

local core = require "autopilot.core"
local hostile = require "support.hostile_server"
local socket = require "socket"
local wire = require "support.wire"

local patience = hostile.patience
local limit = 5 * patience -- seconds; not meant to be reached
local short = 0.05 * patience -- meant to be
local no_content = "HTTP/1.1 204 No Content\r\n\r\n"

local function request_to(server, options)
  local given = { method = "POST", url = server:url() }
  for name, value in pairs(options or {}) do
    given[name] = value
  end
  return core.request(given)
end

local function serving()
  return hostile.listen(function(connection)
    connection:serve()
  end)
end

-- Says nothing more, and notices when the client hangs up.
local function silent()
  return hostile.listen(wire.answers "")
end

local function stalling(answer)
  return hostile.listen(wire.answers(answer or "", "stall"))
end

-- Steps server and set until the condition holds.
local function run(set, condition)
  hostile.until_true(condition, function()
    set:step(0.001)
  end)
end

local function run_until_finished(set, ...)
  for _, transfer in ipairs { ... } do
    run(set, function()
      return transfer:is_finished()
    end)
  end
end

local function collect()
  collectgarbage()
  collectgarbage()
end

local function seconds_of(work)
  local began = socket.gettime()
  work()
  return socket.gettime() - began
end

describe("a step of a transfer set", function()
  after_each(wire.close)

  it("tells how many transfers are in flight", function()
    local server, set = serving(), core.transfer_set()
    assert.are.equal(0, set:step())
    local request = request_to(server)
    local one, two = set:add(request, limit, limit), set:add(request, limit, limit)
    assert.are.equal(2, set:step())
    run_until_finished(set, one, two)
    assert.are.equal(0, set:step())
  end)

  it("never blocks without a timeout", function()
    local server, set = stalling(), core.transfer_set()
    set:add(request_to(server), limit, limit)
    for _, timeout in ipairs { 0, -1, 0 / 0 } do
      assert.is_true(seconds_of(function()
        set:step(timeout)
        set:step()
      end) < 0.5 * patience)
    end
  end)

  it("waits no longer than it is told", function()
    local server, set = stalling(), core.transfer_set()
    set:add(request_to(server), limit, limit)
    run(set, function()
      return #server.requests == 1
    end)
    local seconds = seconds_of(function()
      set:step(0.03)
    end)
    assert.is_true(seconds > 0.01 and seconds < patience, seconds)
  end)

  it("waits again after what had finished was taken", function()
    local set = core.transfer_set()
    set:add(request_to(stalling()), limit, limit)
    for _ = 1, 3 do
      local refused = set:add(request_to(hostile.refusing()), limit, limit)
      assert.is_true(set:wait(refused, limit))
      assert.is_true(seconds_of(function()
        set:step(0.02)
      end) > 0.01)
    end
  end)

  it("does not wait when nothing is in flight", function()
    local set = core.transfer_set()
    assert.is_true(seconds_of(function()
      set:step(5)
    end) < 1 * patience)
  end)

  it("returns when something has finished, and waits for the rest when told again", function()
    local server, slow, set = serving(), stalling(), core.transfer_set()
    local quick = set:add(request_to(server), limit, limit)
    local late = set:add(request_to(slow), limit, 3 * short)
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

describe("waiting for one transfer", function()
  after_each(wire.close)

  it("ends when it has finished, whatever others do, and takes it out of the set", function()
    local slow, set = stalling(), core.transfer_set()
    local first = set:add(request_to(hostile.refusing()), limit, limit)
    local second = set:add(request_to(slow), limit, short)
    assert.is_true(set:wait(second, limit))
    assert.is_true(second:is_finished())
    assert.are.equal(first, set:take())
    assert.is_nil(set:take())
  end)

  it("ends after its time, and can go on", function()
    local slow, set = stalling(), core.transfer_set()
    local transfer = set:add(request_to(slow), limit, 2 * short)
    assert.is_false(set:wait(transfer, 0.01))
    assert.is_false(set:wait(transfer, 0))
    assert.is_true(set:wait(transfer, limit))
    assert.is_true(set:wait(transfer, limit))
  end)
end)

describe("finished transfers", function()
  after_each(wire.close)

  it("are taken in the order they finished, once", function()
    local quick, set = serving(), core.transfer_set()
    local slow = set:add(request_to(stalling()), limit, short)
    local fast = set:add(request_to(quick), limit, limit)
    run_until_finished(set, slow, fast)
    assert.are.equal(fast, set:take())
    assert.are.equal(slow, set:take())
    assert.is_nil(set:take())
    assert.are.equal(204, (fast:result()))
    assert.is_nil((slow:result()))
  end)

  it("may be many at once, each with its own answer", function()
    local server = hostile.listen(function(connection)
      while true do
        local target = connection:read_head().target
        connection:send(("HTTP/1.1 200 X\r\nContent-Length: %d\r\n\r\n%s"):format(#target, target))
      end
    end)
    local set, transfers = core.transfer_set(), {}
    for number = 1, 100 do -- more than idle handles are kept
      local request = core.request { method = "GET", url = server:url("/" .. number) }
      transfers[number] = set:add(request, limit, limit, "token " .. number)
    end
    for number, transfer in ipairs(transfers) do
      run_until_finished(set, transfer)
      local _, _, body = transfer:result()
      assert.are.equal("/" .. number, body)
    end
    for _, request in ipairs(server.requests) do
      assert.are.equal("Bearer token " .. request.target:sub(2), request.headers["authorization"])
    end
  end)

  it("tell nothing before they have finished", function()
    local set = core.transfer_set()
    local transfer = set:add(request_to(stalling "HTTP/1.1 200 X\r\n"), limit, limit)
    assert.is_false(transfer:is_finished())
    assert.is_nil((transfer:failure()))
    local _, version, body, sends, is_complete = transfer:result()
    assert.are.same({ "", 0, false }, { body, sends, is_complete })
    assert.is_nil(version)
    assert.are.same({}, transfer:headers())
    assert.is_nil((transfer:header "date"))
  end)
end)

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
      connection:send(no_content)
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

describe("a transfer in flight", function()
  after_each(wire.close)

  it("runs to its end when nobody holds it but the set", function()
    local server, set = serving(), core.transfer_set()
    set:add(request_to(server), limit, limit)
    collect()
    run(set, function()
      return #server.requests == 1
    end)
    collect()
    run(set, function()
      return set:step() == 0
    end)
    local transfer = set:take()
    collect()
    assert.are.equal(204, (transfer:result()))
  end)

  it("is given up when it is discarded, and its connection closed", function()
    local server, set = silent(), core.transfer_set()
    local transfer = set:add(request_to(server), limit, limit, "token")
    run(set, function()
      return #server.requests == 1
    end)
    set:discard(transfer)
    assert.is_true(transfer:is_finished())
    local _, _, _, sends, is_complete = transfer:result()
    assert.are.equal(1, sends)
    assert.is_false(is_complete)
    assert.are.equal("CURLE_ABORTED_BY_CALLBACK", (select(2, transfer:failure())))
    assert.are.equal(0, set:step())
    assert.is_nil(set:take())
    set:discard(transfer)
    run(set, function()
      return server.connections[1].is_closed
    end)
  end)

  it("ends with its set", function()
    local server, set = silent(), core.transfer_set()
    local transfer = set:add(request_to(server), limit, limit, "token")
    run(set, function()
      return #server.requests == 1
    end)
    set:close()
    assert.is_true(transfer:is_finished())
    assert.is_nil((transfer:result()))
    assert.are.equal("CURLE_ABORTED_BY_CALLBACK", (select(2, transfer:failure())))
    hostile.settle()
    assert.is_true(server.connections[1].is_closed)
  end)
end)

describe("collection", function()
  after_each(wire.close)

  local orders = {
    { "request", "set", "transfer" },
    { "request", "transfer", "set" },
    { "set", "request", "transfer" },
    { "set", "transfer", "request" },
    { "transfer", "request", "set" },
    { "transfer", "set", "request" },
  }

  -- How far the exchange is when things are dropped, and how long it may take.
  local points = {
    ["before the first step"] = { limit, function() end },
    ["after the first step"] = {
      limit,
      function(things)
        things.set:step()
      end,
    },
    ["when the request was read"] = {
      limit,
      function(things, server)
        run(things.set, function()
          return #server.requests == 1
        end)
      end,
    },
    ["in the middle of the body"] = {
      limit,
      function(things)
        run(things.set, function()
          return things.transfer:header "x" ~= nil
        end)
      end,
    },
    ["when it has failed"] = {
      short,
      function(things)
        run_until_finished(things.set, things.transfer)
      end,
    },
    ["when it was taken"] = {
      short,
      function(things)
        run_until_finished(things.set, things.transfer)
        assert.are.equal(things.transfer, things.set:take())
      end,
    },
  }

  local function drop_in_order(order, seconds, advance)
    local server = stalling "HTTP/1.1 500 X\r\nX: y\r\nContent-Length: 9\r\n\r\nhalf"
    local things = { set = core.transfer_set() }
    things.request = request_to(server)
    things.transfer = things.set:add(things.request, limit, seconds, "token", "id", 3)
    advance(things, server)
    for _, name in ipairs(order) do
      things[name] = nil
      collect()
      hostile.step()
      if things.set then
        things.set:step()
      end
      if things.transfer then
        assert.are.equal("boolean", type(things.transfer:is_finished()))
        things.transfer:failure()
        things.transfer:result()
        things.transfer:headers()
      end
    end
    server:close()
  end

  for point, how in pairs(points) do
    it("in any order is safe " .. point, function()
      for _, order in ipairs(orders) do
        drop_in_order(order, how[1], how[2])
      end
    end)
  end

  it("is safe at every step of a transfer that is made of garbage", function()
    local server = serving()
    local pause = collectgarbage("setpause", 1)
    local speed = collectgarbage("setstepmul", 10000)
    for _ = 1, 20 do
      local set = core.transfer_set()
      run_until_finished(set, set:add(request_to(server), limit, limit, ("t"):rep(1000), "id", 7))
      set:add(request_to(server), limit, limit):is_finished()
    end
    collectgarbage("setpause", pause)
    collectgarbage("setstepmul", speed)
    assert.are.equal(20, #server.requests)
  end)

  it("lets go of a transfer that was waited for, taken or discarded", function()
    local server, set = serving(), core.transfer_set()
    local held = setmetatable({}, { __mode = "v" })
    held[1] = set:add(request_to(server), limit, limit)
    run_until_finished(set, held[1])
    assert.is_true(set:wait(held[1], 0))
    held[2] = set:add(request_to(server), limit, limit)
    run_until_finished(set, held[2])
    assert.are.equal(held[2], set:take())
    held[3] = set:add(request_to(server), limit, limit)
    set:discard(held[3])
    collect()
    assert.are.same({}, held)
  end)

  it("lets go of one that a transport's wait has abandoned, by the next request", function()
    local curl = require "autopilot.transport.curl"
    local server = serving()
    local held = setmetatable({}, { __mode = "v" })
    local is_interrupted = false
    local transport = curl.new {
      wait = function(set, transfer)
        if not is_interrupted then
          is_interrupted = true
          held.first = transfer
          error "interrupted"
        end
        run_until_finished(set, transfer)
      end,
    }
    local request = { method = "POST", url = server:url() }
    assert.has_error(function()
      transport(request)
    end, "interrupted")
    for _ = 1, 3 do
      assert.are.equal(204, transport(request).status)
    end
    collect()
    assert.is_nil(held.first)
  end)
end)

describe("a transfer set that is closed", function()
  after_each(wire.close)

  it("may be closed again, and forgets its transfers quietly", function()
    local set = core.transfer_set()
    local transfer = set:add(request_to(serving()), limit, limit)
    set:close()
    set:close()
    set:discard(transfer)
    assert.is_true(transfer:is_finished())
  end)

  it("raises when it is used", function()
    local request, set = request_to(serving()), core.transfer_set()
    local transfer = set:add(request, limit, limit)
    set:close()
    local uses = {
      function()
        set:add(request, limit, limit)
      end,
      function()
        set:step()
      end,
      function()
        set:wait(transfer, 1)
      end,
      function()
        set:take()
      end,
    }
    for _, use in ipairs(uses) do
      local ok, message = pcall(use)
      assert.is_false(ok)
      assert.matches("the transfer set is closed", message)
    end
  end)

  it("is closed by Lua 5.4 at the end of its block", function()
    local load_text = loadstring or load -- luacheck: globals loadstring
    local block = load_text "local set <close> = ... set:step()"
    if not block then
      return -- an older Lua
    end
    local set = core.transfer_set()
    block(set)
    assert.has_error(function()
      set:step()
    end)
  end)
end)

describe("a transfer set and its objects", function()
  after_each(wire.close)

  it("raise for what is none of theirs", function()
    local set, request = core.transfer_set(), request_to(serving())
    local transfer = set:add(request, limit, limit)
    local wrong = {
      nil,
      1,
      "set",
      {},
      io.stdout,
      request,
      print,
    }
    for index = 1, 7 do
      local value = wrong[index]
      for _, method in ipairs { "step", "take", "close", "discard", "wait", "add" } do
        assert.is_false(pcall(set[method], value))
      end
      for _, method in ipairs { "is_finished", "result", "failure", "header", "headers" } do
        assert.is_false(pcall(transfer[method], value))
      end
      assert.is_false(pcall(set.discard, set, value))
      assert.is_false(pcall(set.wait, set, value, 1))
      if value ~= request then
        assert.is_false(pcall(set.add, set, value, 1, 1))
      end
    end
    assert.is_false(pcall(set.add, set, transfer, 1, 1))
    assert.is_false(pcall(set.add, set, request))
    assert.is_false(pcall(set.add, set, request, "x", 1))
    assert.is_false(pcall(set.add, set, request, 1, 1, {}))
  end)

  it("hide their metatables", function()
    local set, request = core.transfer_set(), request_to(serving())
    for _, object in ipairs { set, request, set:add(request, limit, limit) } do
      assert.are.equal("autopilot.core", getmetatable(object))
      assert.is_false(pcall(setmetatable, object, {}))
    end
  end)

  it("take no header text with CR, LF or NUL in it, and do not quote it", function()
    local set, request = core.transfer_set(), request_to(serving())
    for _, byte in ipairs { "\r", "\n", "\0", "\r\nX: y" } do
      local bad = "secret" .. byte .. "secret"
      for _, arguments in ipairs { { bad, "id" }, { "token", bad } } do
        local ok, message = pcall(set.add, set, request, 1, 1, arguments[1], arguments[2])
        assert.is_false(ok)
        assert.is_nil(message:find "secret")
      end
    end
    assert.are.equal(0, set:step())
  end)

  it("take a number of a retry only when it is one", function()
    local server, set = serving(), core.transfer_set()
    local request = request_to(server)
    for _, odd in ipairs { -1, 0 / 0, math.huge, 1e300, {}, "x" } do
      assert.is_false(pcall(set.add, set, request, 1, 1, nil, nil, odd))
    end
    for _, number in ipairs { 0, 1, 10, 4294967, 1000000000 } do
      run_until_finished(set, set:add(request, limit, limit, nil, nil, number))
      local seen = server.requests[#server.requests].headers["retry-attempt"]
      assert.are.equal(number > 0 and ("%d"):format(number) or nil, seen)
    end
  end)

  it("work when a transfer is handed to a set that is not its own", function()
    local server, mine, other = stalling(), core.transfer_set(), core.transfer_set()
    local transfer = mine:add(request_to(server), limit, short)
    assert.is_false(other:wait(transfer, 0))
    other:discard(transfer)
    assert.is_true(transfer:is_finished())
    assert.are.equal(0, mine:step())
    assert.is_nil(mine:take())
    assert.is_nil(other:take())
  end)
end)
