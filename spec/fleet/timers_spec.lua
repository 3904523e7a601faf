-- Whose moment comes first.

local Timers = require "autopilot.fleet.timers"

--- An item for each of many moments, some of them equal.
local function items()
  local made = {}
  for index = 1, 500 do
    made[index] = { moment = index * 7919 % 101, index = index }
  end
  return made
end

--- In the order of their moments, equal ones as they were.
local function in_order(list)
  table.sort(list, function(a, b)
    return a.moment < b.moment or (a.moment == b.moment and a.index < b.index)
  end)
  return list
end

local function take_all(timers)
  local taken = {}
  while timers:first() do
    taken[#taken + 1] = (timers:take())
  end
  return taken
end

describe("timers", function()
  it("come in their order, equal ones as they were added", function()
    local timers = Timers.new()
    for _, item in ipairs(items()) do
      timers:add(item.moment, item)
    end
    assert.are.same(in_order(items()), take_all(timers))
    assert.are.equal(0, timers.count)
  end)

  it("come in the same order when what is void was swept out", function()
    local timers, expected = Timers.new(), {}
    for _, item in ipairs(items()) do
      local ticket = item.index % 3
      timers:add(item.moment, item, ticket)
      if ticket ~= 0 then
        expected[#expected + 1] = item
      end
    end
    timers:sweep(function(_, ticket)
      return ticket == 0
    end)
    assert.are.equal(#expected, timers.count)
    assert.are.same(in_order(expected), take_all(timers))
  end)
end)
