-- Who steps the transfers of a worker that polls, in virtual time and without nginx.

local fake_openresty = require "support.fake_openresty"

local world

local function install(core)
  world = fake_openresty.install(core)
  return world
end

describe("in OpenResty, the polling driver", function()
  local set, polling

  --- A set whose transfers finish at the time that stands in their request.
  before_each(function()
    set = { steps = 0, steppers = {}, in_flight = {}, finished = {} }
    install {
      transfer_set = function()
        return set
      end,
    }
    function set.add(_, ends)
      local transfer = { ends = ends }
      function transfer.result()
        return transfer
      end
      function transfer.is_finished()
        return transfer.has_finished
      end
      set.in_flight[#set.in_flight + 1] = transfer
      return transfer
    end
    function set.is_due()
      for _, transfer in ipairs(set.in_flight) do
        if not transfer.has_finished and world.now >= transfer.ends then
          return true
        end
      end
      return false
    end
    function set.step()
      set.steps = set.steps + 1
      set.steppers[world.running] = true
      for _, transfer in ipairs(set.in_flight) do
        if not transfer.has_finished and world.now >= transfer.ends then
          transfer.has_finished = true
          table.insert(set.finished, 1, transfer) -- not in the order in which they were added
        end
      end
    end
    function set.take()
      return table.remove(set.finished)
    end
    polling = require("autopilot.openresty.polling").new()
  end)
  after_each(function()
    world:remove()
  end)

  local function spawn(ends)
    return world:spawn(function()
      return polling:run(ends)
    end)
  end

  it("steps once more when no call came for as long as connections are kept", function()
    for _ = 1, 3 do
      spawn(world.now)
      world:run(20)
    end
    local steps, ended_at = set.steps, world.now - 20
    world:run(0.5)
    assert.equal(steps, set.steps)
    world:run()
    assert.equal(steps + 1, set.steps)
    assert.is_true(world.now - ended_at > 20 and world.now - ended_at < 43, world.now - ended_at)
  end)

  it("hands each light thread its own transfer, soon after that has finished", function()
    local threads = {}
    for index = 1, 50 do
      threads[index] = spawn(world.now + 0.5 + (index * 7 % 50) / 1000)
    end
    local latest = 0
    for _ = 1, 100 do
      world:run(0.01)
      for index, thread in ipairs(threads) do
        if thread.has_ended and not thread.seen then
          thread.seen = true
          latest = math.max(latest, world.now - thread.results[1].ends)
          assert.equal(set.in_flight[index], thread.results[1])
        end
      end
    end
    for _, thread in ipairs(threads) do
      assert.is_true(thread.has_ended)
    end
    assert.is_true(latest < 0.025, latest)
    assert.same({}, polling.waiting)
  end)

  it("looks less often the longer nothing happens, and not at all when nobody waits", function()
    spawn(world.now + 0.5)
    world:run(0.5)
    assert.is_true(#world.slept < 60, #world.slept)
    assert.equal(0, set.steps)
    world:run(0.1)
    assert.equal(1, set.steps)
    local looks = #world.slept
    world:run(100)
    assert.equal(looks, #world.slept)
  end)

  it("gives the transfer of a killed light thread up, when that is collected", function()
    local given_up = {}
    function set.discard(_, transfer)
      given_up[#given_up + 1] = transfer
    end
    local killed = spawn(world.now + 0.5)
    world:run(0.1)
    collectgarbage()
    assert.same({}, given_up)
    killed.is_killed, killed.coroutine = true, nil
    collectgarbage()
    collectgarbage()
    assert.equal(1, #given_up)
    assert.equal(set.in_flight[1], given_up[1])
    assert.same({}, polling.waiting)
  end)

  it("has one light thread step for all", function()
    for _ = 1, 50 do
      spawn(world.now + 0.5)
    end
    world:run(0.4)
    assert.is_true(#world.slept < 60, #world.slept)
    world:run(1)
    local steppers = 0
    for _ in pairs(set.steppers) do
      steppers = steppers + 1
    end
    assert.equal(1, steppers)
  end)

  it("hands the stepping over when its own transfer has finished", function()
    local first, second = spawn(world.now + 0.1), spawn(world.now + 0.3)
    world:run(0.15)
    assert.is_true(first.has_ended)
    local before = world.now
    world:run()
    assert.is_true(second.has_ended)
    assert.is_true(second.ended_at - before < 0.2)
  end)

  it("has another take over from one that was killed", function()
    local killed, other = spawn(world.now + 0.1), spawn(world.now + 0.3)
    world:run(0.05)
    killed.is_killed = true
    local began = world.now
    world:run()
    assert.is_true(other.has_ended)
    assert.is_true(other.ended_at - began < 0.5, other.ended_at - began)
    assert.equal(other.results[1].ends, set.in_flight[2].ends)
  end)

  it("hands the stepping over to one that lives, where others were killed a moment ago", function()
    for round = 1, 5 do
      local first = spawn(world.now + 0.1)
      local killed = {}
      for index = 1, 3 do
        killed[index] = spawn(world.now + 10)
      end
      local other = spawn(world.now + 0.12)
      world:run(0.095)
      for _, thread in ipairs(killed) do
        thread.is_killed = true
      end
      local began = world.now
      world:run(0.05)
      assert.is_true(first.has_ended)
      assert.is_true(other.has_ended, ("round %d, %g"):format(round, world.now - began))
    end
  end)

  it("asks none to step that has not been awake for long", function()
    local killed = {}
    for index = 1, 40 do
      killed[index] = spawn(world.now + 1000)
    end
    world:run(0.05)
    for _, thread in ipairs(killed) do
      thread.is_killed = true
    end
    world.now = world.now + 1
    for _ = 1, 5 do
      local first, other = spawn(world.now + 0.1), spawn(world.now + 0.12)
      world:run(0.15)
      assert.is_true(first.has_ended)
      assert.is_true(other.has_ended)
    end
  end)

  it("begins anew after all that waited were killed", function()
    spawn(world.now + 0.1).is_killed = true
    local killed = spawn(world.now + 10)
    world:run(0.05)
    killed.is_killed = true
    world:run(1)
    local other = spawn(world.now + 0.1)
    world:run()
    assert.is_true(other.has_ended)
  end)
end)
