-- What the methods of core.transfer_set and its objects take, and what they refuse.

local core = require "autopilot.core"
local transfers = require "support.transfers"
local wire = require "support.wire"

local limit, short = transfers.limit, transfers.short
local request_to, serving, stalling = transfers.request_to, transfers.serving, transfers.stalling
local run_until_finished = transfers.run_until_finished

describe("a transfer set and its objects", function()
  after_each(wire.close)

  it("raise for objects of another type", function()
    local set, request = core.transfer_set(), request_to(serving())
    local transfer = set:add(request, { connect = limit, total = limit })
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
      for _, method in ipairs { "is_finished", "result" } do
        assert.is_false(pcall(transfer[method], value))
      end
      assert.is_false(pcall(set.discard, set, value))
      assert.is_false(pcall(set.wait, set, value, 1))
      if value ~= request then
        assert.is_false(pcall(set.add, set, value, { connect = 1, total = 1 }))
      end
    end
    assert.is_false(pcall(set.add, set, transfer, { connect = 1, total = 1 }))
    assert.is_false(pcall(set.add, set, request))
    assert.is_false(pcall(set.add, set, request, {}))
    assert.is_false(pcall(set.add, set, request, { connect = "x", total = 1 }))
    assert.is_false(pcall(set.add, set, request, { connect = 1 }))
    assert.is_false(pcall(set.add, set, request, { connect = 1, total = 1, token = {} }))
  end)

  it("hide their metatables", function()
    local set, request = core.transfer_set(), request_to(serving())
    local transfer = set:add(request, { connect = limit, total = limit })
    for _, object in ipairs { set, request, transfer } do
      assert.are.equal("autopilot.core", getmetatable(object))
      assert.is_false(pcall(setmetatable, object, {}))
    end
  end)

  it("refuse header text with CR, LF or NUL, and do not quote it", function()
    local set, request = core.transfer_set(), request_to(serving())
    for _, byte in ipairs { "\r", "\n", "\0", "\r\nX: y" } do
      local bad = "secret" .. byte .. "secret"
      for _, name in ipairs { "token", "client_request_id" } do
        local ok, message = pcall(set.add, set, request, { connect = 1, total = 1, [name] = bad })
        assert.is_false(ok)
        assert.is_nil(message:find "secret")
      end
    end
    assert.are.equal(0, set:step())
  end)

  it("accept only a number as the number of a retry", function()
    local server, set = serving(), core.transfer_set()
    local request = request_to(server)
    for _, odd in ipairs { -1, 0 / 0, math.huge, 1e300, {}, "x" } do
      local attempt = { connect = 1, total = 1, retry_attempt = odd }
      assert.is_false(pcall(set.add, set, request, attempt))
    end
    for _, number in ipairs { 0, 1, 10, 4294967, 1000000000 } do
      run_until_finished(
        set,
        set:add(request, { connect = limit, total = limit, retry_attempt = number })
      )
      local seen = server.requests[#server.requests].headers["retry-attempt"]
      assert.are.equal(number > 0 and ("%d"):format(number) or nil, seen)
    end
  end)

  it("work when a transfer is passed to another set", function()
    local server, mine, other = stalling(), core.transfer_set(), core.transfer_set()
    local transfer = mine:add(request_to(server), { connect = limit, total = short })
    other:discard(transfer)
    assert.is_true(transfer:is_finished())
    assert.are.equal(0, mine:step())
    assert.is_nil(mine:take())
    assert.is_nil(other:take())
  end)
end)
