-- The order of timers.

local Timers = require "autopilot.fleet.timers"

--- An item for each of many moments, some of them equal.
local function items()
  local made = {}
  for index = 1, 500 do
    made[index] = { moment = index * 7919 % 101, index = index }
  end
  return made
end

--- Their indexes in the order of their moments, equal ones as they were put in.
local function in_order(list)
  table.sort(list, function(a, b)
    return a.moment < b.moment or (a.moment == b.moment and a.index < b.index)
  end)
  local indexes = {}
  for place, item in ipairs(list) do
    indexes[place] = item.index
  end
  return indexes
end

local function take_all(timers)
  local taken = {}
  while timers[1] do
    local item = timers[1]
    assert.are.equal(item.moment, item.due_at)
    timers:remove(item)
    taken[#taken + 1] = item.index
  end
  assert.are.equal(0, timers.count)
  return taken
end

describe("timers", function()
  local timers, list

  before_each(function()
    timers, list = Timers.new(), items()
    for _, item in ipairs(list) do
      timers:set(item, item.moment)
    end
  end)

  it("come in order of time, equal ones in order of insertion", function()
    assert.are.same(in_order(items()), take_all(timers))
  end)

  it("come in the same order after some were removed", function()
    local expected = {}
    for _, item in ipairs(list) do
      if item.index % 3 == 0 then
        timers:remove(item)
        timers:remove(item) -- which changes nothing
      else
        expected[#expected + 1] = item
      end
    end
    assert.are.equal(#expected, timers.count)
    assert.are.same(in_order(expected), take_all(timers))
  end)

  it("come at their new time after they were moved", function()
    for _, item in ipairs(list) do
      item.index, item.moment = 500 + item.index, item.moment * 31 % 97
      timers:set(item, item.moment)
    end
    assert.are.equal(500, timers.count)
    assert.are.same(in_order(list), take_all(timers))
  end)
end)
