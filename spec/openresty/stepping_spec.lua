-- How a fleet waits in the event loop: soon enough for itself, and so that other light threads run.

local fake_openresty = require "support.fake_openresty"

describe("in OpenResty, a waiting fleet", function()
  local world, wait

  before_each(function()
    world = fake_openresty.install()
    wait = require("autopilot.openresty.polling").wait
  end)
  after_each(function()
    world:remove()
  end)

  --- A set that has something to do from that moment on.
  local function set_due_at(moment)
    local set = { steps = 0 }
    function set.is_due()
      return world.now >= moment
    end
    function set.step()
      set.steps = set.steps + 1
    end
    return set
  end

  it("lets others run, however much it has to do", function()
    local set, turns = set_due_at(0), 0
    world:spawn(function()
      while true do
        wait(set, 0.5)
        assert(set.steps < 1000, "no other light thread ran")
      end
    end)
    world:spawn(function()
      while true do
        world.ngx.sleep(0.001)
        turns = turns + 1
      end
    end)
    world:run(0.05)
    assert.is_true(turns >= 40, turns)
    assert.is_true(set.steps >= 40, set.steps)
  end)

  it("gives others time after each step, however long that took", function()
    local set, ended = set_due_at(0), world.now
    function set.step()
      assert.is_true(world.now - ended > 0.0009, world.now - ended)
      set.steps = set.steps + 1
      world.now = world.now + 0.02
      ended = world.now
    end
    world:spawn(function()
      repeat
        wait(set, 0.5)
      until set.steps == 5
    end)
    world:run()
    assert.equal(5, set.steps)
  end)

  it("continues soon after a transfer makes progress, and polls less often until then", function()
    local set = set_due_at(world.now + 0.3)
    local began = world.now
    world:call(wait, set, 10)
    assert.equal(1, set.steps)
    assert.is_true(world.now - began < 0.3 + 0.011, world.now - began)
    assert.is_true(#world.slept < 50, #world.slept)
  end)

  it("waits no longer than its timeout", function()
    local began = world.now
    world:call(wait, set_due_at(math.huge), 0.2)
    assert.is_true(world.now - began < 0.2 + 0.002, world.now - began)
  end)
end)
