-- How the transfers of a worker that polls are driven, in virtual time and without nginx.

local fake_openresty = require "support.fake_openresty"

local world

local function install(core)
  world = fake_openresty.install(core)
  return world
end

describe("in OpenResty, the polling driver", function()
  local set, polling, made, closed

  --- A set whose transfers finish at the time in their request.
  before_each(function()
    set = { steps = 0, steppers = {}, in_flight = {}, finished = {} }
    made, closed = 0, 0
    install {
      transfer_set = function()
        made = made + 1
        return set
      end,
    }
    function set.close()
      closed = closed + 1
    end
    function set.discard() end
    function set.add(_, ends)
      local transfer = { ends = ends }
      function transfer.result()
        return transfer
      end
      set.in_flight[#set.in_flight + 1] = transfer
      return transfer
    end
    function set.is_due()
      if #set.finished > 0 then
        return true
      end
      for _, transfer in ipairs(set.in_flight) do
        if not transfer.has_finished and world.now >= transfer.ends then
          return true
        end
      end
      return false
    end
    function set.step()
      set.steps = set.steps + 1
      local in_flight = 0
      set.steppers[world.running] = true
      for _, transfer in ipairs(set.in_flight) do
        if not transfer.has_finished and world.now >= transfer.ends then
          transfer.has_finished = true
          table.insert(set.finished, 1, transfer) -- not in the order in which they were added
        end
        in_flight = in_flight + (transfer.has_finished and 0 or 1)
      end
      return in_flight
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

  it("closes connections that are long unused, and opens others for the next call", function()
    for _ = 1, 3 do
      spawn(world.now + 0.1)
      world:run(19)
      assert.same({ 1, 0 }, { made, closed })
    end
    world:run(0.5)
    assert.equal(0, closed)
    world:run(41)
    assert.equal(1, closed)
    local other = spawn(world.now + 0.1)
    world:run(1)
    assert.is_true(other.has_ended)
    assert.equal(2, made)
  end)

  it("does not close the connections before it has returned what has just finished", function()
    for early = 0, 0.009, 0.001 do
      local thread = spawn(world.now + 20 - early)
      world:run(60)
      assert.is_true(thread.has_ended)
    end
  end)

  it("gives each light thread its own transfer, soon after that has finished", function()
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

  it("polls less often the longer nothing happens, and not at all when nothing waits", function()
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

  it("soon cancels the transfer of a killed light thread, and then stops polling", function()
    local given_up = {}
    function set.discard(_, transfer)
      given_up[#given_up + 1] = transfer
    end
    local killed, other = spawn(world.now + 9), spawn(world.now + 2)
    world:run(0.1)
    killed.is_killed = true
    world:run(1.6)
    assert.same({ set.in_flight[1] }, given_up)
    world:run(0.4)
    assert.is_true(other.has_ended)
    assert.same({}, polling.waiting)
    local looks = #world.slept
    world:run(5)
    assert.equal(looks, #world.slept)
  end)

  it("does not cancel for a light thread that a busy nginx resumes late", function()
    function set.discard()
      error "it lives"
    end
    local threads = { spawn(world.now + 9), spawn(world.now + 9) }
    world:run(0.5)
    for _ = 1, 20 do
      world.now = world.now + 0.3 -- for everything that waits has become late
      world:run(0.01)
    end
    world:run(9)
    assert.is_true(threads[1].has_ended and threads[2].has_ended)
  end)

  it("does not cancel for light threads that a busy nginx needs long to begin", function()
    function set.discard()
      error "they live"
    end
    function set.is_due()
      return true
    end
    local add, step = set.add, set.step
    function set.add(...)
      world.now = world.now + 0.15 -- so that each other one finds no timer that has begun
      return add(...)
    end
    function set.step()
      world.now = world.now + 0.02
      return step()
    end
    local threads = {}
    for index = 1, 20 do
      threads[index] = spawn(world.now + 9)
    end
    world:run(60)
    for _, thread in ipairs(threads) do
      assert.is_true(thread.has_ended)
    end
  end)

  it("has one timer that polls for all", function()
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

  it("serves the others when light threads are killed", function()
    local killed, other = spawn(world.now + 0.1), spawn(world.now + 0.3)
    world:run(0.05)
    killed.is_killed = true
    local began = world.now
    world:run(5)
    assert.is_true(other.has_ended)
    assert.is_true(other.ended_at - began < 0.3, other.ended_at - began)
    assert.equal(other.results[1].ends, set.in_flight[2].ends)
  end)

  it("lets light threads poll if nginx has no free timer, or never runs it", function()
    local function refused() end
    for _, at in ipairs {
      refused,
      function()
        return true
      end,
    } do
      world.ngx.timer.at = at
      local began, threads = world.now, {}
      for index = 1, 10 do
        threads[index] = spawn(began + 0.3)
      end
      world:run(5)
      for _, thread in ipairs(threads) do
        assert.is_true(thread.has_ended)
        assert.is_true(thread.ended_at - began < 0.6, thread.ended_at - began)
      end
    end
  end)

  it("asks nginx once a second for a timer that begins: each refused one is an alert", function()
    local at, asked = world.ngx.timer.at, 0
    function world.ngx.timer.at(seconds)
      asked = asked + (seconds == 0 and 1 or 0)
      return true
    end
    for _ = 1, 20 do
      spawn(world.now + 9)
    end
    world:run(4.5)
    assert.is_true(asked >= 4 and asked <= 5, asked)
    world.ngx.timer.at = at
    world:run(1.2)
    assert.is_true(polling.lease > world.now + 0.1, "no timer has begun")
  end)

  it("cancels the transfer of a killed light thread if nginx has no free timer, too", function()
    local given_up = {}
    function set.discard(_, transfer)
      given_up[#given_up + 1] = transfer
    end
    function world.ngx.timer.at()
      return nil, "too many pending timers"
    end
    local killed, others = spawn(world.now + 9), {}
    for index = 1, 20 do
      others[index] = spawn(world.now + 5)
    end
    world:run(0.15)
    killed.is_killed = true
    world:run(1)
    assert.same({}, given_up)
    world:run(1)
    assert.same({ set.in_flight[1] }, given_up)
    world:run(5)
    for _, other in ipairs(others) do
      assert.is_true(other.has_ended)
    end
    assert.equal(1, #given_up)
  end)

  it("starts anew after all waiting threads were killed", function()
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
