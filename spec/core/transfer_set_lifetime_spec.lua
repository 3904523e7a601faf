-- core.transfer_set: which object keeps which alive, and when transfers end. Objects may be collected in any order
-- and at any time, and none is used afterwards.

local core = require "autopilot.core"
local hostile = require "support.hostile_server"
local transfers = require "support.transfers"
local wire = require "support.wire"

local limit, short = transfers.limit, transfers.short
local request_to, serving, stalling = transfers.request_to, transfers.serving, transfers.stalling
local run, run_until_finished = transfers.run, transfers.run_until_finished

-- Says nothing more, and notices when the client hangs up.
local function silent()
  return hostile.listen(wire.answers "")
end

local function collect()
  collectgarbage()
  collectgarbage()
end

describe("a transfer in flight", function()
  after_each(wire.close)

  it("runs to its end when only the set refers to it", function()
    local server, set = serving(), core.transfer_set()
    set:add(request_to(server), { connect = limit, total = limit })
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
    assert.are.equal(204, transfer:result().status)
  end)

  it("is cancelled when it is discarded, and its connection closed", function()
    local server, set = silent(), core.transfer_set()
    local transfer =
      set:add(request_to(server), { connect = limit, total = limit, token = "token" })
    run(set, function()
      return #server.requests == 1
    end)
    set:discard(transfer)
    assert.is_true(transfer:is_finished())
    local response, network = transfer:result()
    assert.is_nil(response)
    assert.are.equal(1, network.sends)
    assert.are.equal("CURLE_ABORTED_BY_CALLBACK", (select(2, transfer:result())).name)
    assert.are.equal(0, set:step())
    assert.is_nil(set:take())
    set:discard(transfer)
    run(set, function()
      return server.connections[1].is_closed
    end)
  end)

  it("ends with its set", function()
    local server, set = silent(), core.transfer_set()
    local transfer =
      set:add(request_to(server), { connect = limit, total = limit, token = "token" })
    run(set, function()
      return #server.requests == 1
    end)
    set:close()
    assert.is_true(transfer:is_finished())
    assert.is_nil((transfer:result()))
    assert.are.equal("CURLE_ABORTED_BY_CALLBACK", (select(2, transfer:result())).name)
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
      function(things, server)
        run(things.set, function()
          return #server.requests == 1
        end)
        hostile.settle()
        things.set:step() -- reads what has been sent of the answer
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
    things.transfer = things.set:add(things.request, {
      connect = limit,
      total = seconds,
      token = "token",
      client_request_id = "id",
      retry_attempt = 3,
    })
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
        things.transfer:result()
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

  --- Returns what held before.
  local function set_collector(pause, speed)
    if pcall(collectgarbage, "param", "pause") then -- Lua 5.5
      return collectgarbage("param", "pause", pause), collectgarbage("param", "stepmul", speed)
    end
    return collectgarbage("setpause", pause), collectgarbage("setstepmul", speed)
  end

  it("is safe at every step of a transfer that is garbage", function()
    local server = serving()
    local pause, speed = set_collector(1, 10000)
    for _ = 1, 20 do
      local set = core.transfer_set()
      run_until_finished(
        set,
        set:add(request_to(server), {
          connect = limit,
          total = limit,
          token = ("t"):rep(1000),
          client_request_id = "id",
          retry_attempt = 7,
        })
      )
      set:add(request_to(server), { connect = limit, total = limit }):is_finished()
    end
    set_collector(pause, speed)
    assert.are.equal(20, #server.requests)
  end)

  it("frees a transfer that was taken or discarded", function()
    local server, set = serving(), core.transfer_set()
    local held = setmetatable({}, { __mode = "v" })
    -- In a separate function, whose stack keeps nothing alive once it has returned.
    local function use()
      local attempt = { connect = limit, total = limit }
      held[1] = set:add(request_to(server), attempt)
      run_until_finished(set, held[1])
      set:discard(held[1])
      held[2] = set:add(request_to(server), attempt)
      run_until_finished(set, held[2])
      assert.are.equal(held[2], set:take())
      held[3] = set:add(request_to(server), attempt)
      set:discard(held[3])
    end
    use()
    collect()
    assert.are.same({}, held)
  end)

  it("frees a transfer that an interrupted wait has abandoned, with the next request", function()
    local curl = require "autopilot.transport.curl"
    local server = serving()
    local held = setmetatable({}, { __mode = "v" })
    local is_interrupted = false
    local transport = curl.new {
      drive = hostile.drive(function(set, transfer)
        if not is_interrupted then
          is_interrupted = true
          held.first = transfer
          error "interrupted"
        end
        run_until_finished(set, transfer)
      end),
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

  it("may be closed again, and drops its transfers silently", function()
    local set = core.transfer_set()
    local transfer = set:add(request_to(serving()), { connect = limit, total = limit })
    set:close()
    set:close()
    set:discard(transfer)
    assert.is_true(transfer:is_finished())
  end)

  it("raises when it is used", function()
    local request, set = request_to(serving()), core.transfer_set()
    set:add(request, { connect = limit, total = limit })
    set:close()
    local uses = {
      function()
        set:add(request, { connect = limit, total = limit })
      end,
      function()
        set:step()
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

  it("is closed at the end of its block, in languages that have that", function()
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
