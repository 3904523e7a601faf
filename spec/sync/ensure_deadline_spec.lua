-- client:ensure returns in time, and reports how far it came.

local stores = require "autopilot.store"
local virtual_world = require "support.virtual_world"

describe("client:ensure and its deadline", function()
  it("is kept, for every kind of wait", function()
    for _, timeout in ipairs { 0.5, 1, 3, 30, 100, 599, 611, 620, 700, 3600 } do
      for _, duration in ipairs { 0, 40, 650, 1e5 } do
        for _, age in ipairs { 0, 100, 609, 1000 } do
          local world = virtual_world.new { random = 0.7 }
          local client, service = world:emulated { duration = duration }
          service:trigger("contoso", { duration = math.min(duration, 200) })
          world:pass(age)
          local began = world.time
          local report, failure = client:ensure { timeout = timeout }
          assert.is_true(world.time <= began + timeout + 1e-6)
          assert.equal("contoso", (report or failure).tenant)
          assert.is_true(report ~= nil or failure.gave_up == "deadline")
          for _, event in ipairs(service.log) do
            assert.is_true(event.time <= began + timeout + 1e-6)
          end
        end
      end
    end
  end)

  it("is kept by each sleep also where on_progress takes its time", function()
    for _, seconds in ipairs { 1, 4, 22 } do
      local world = virtual_world.new()
      local client, service = world:emulated()
      service:trigger "contoso"
      world:pass(590)
      local deadline, latest = world.time + 25, 0
      client:ensure {
        timeout = 25,
        on_progress = function()
          world:pass(seconds)
          latest = world.time
        end,
      }
      assert.is_true(world.time <= math.max(deadline, latest), seconds)
    end
  end)

  it("ends the wait for a sync with the last status that was read", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    local since = world.time - 10
    service:trigger("contoso", { duration = 1000 })
    world:pass(5)
    for _, timeout in ipairs { 0.5, 60 } do
      local failure = select(2, client:ensure { since = since, timeout = timeout })
      assert.equal("timed_out", failure.outcome)
      assert.equal("in_progress", failure.sync_status)
      assert.equal(200, failure.status)
      assert.equal("contoso", failure.tenant)
      assert.equal("deadline", failure.gave_up)
      assert.equal("no", failure.delivered)
    end
  end)

  it("does not prevent the read after a refusal, even if the cooldown ends later", function()
    local world = virtual_world.new()
    local store = stores.memory {
      now = function()
        return world.time
      end,
    }
    local other
    local client, service = world:emulated({ duration = 5 }, {
      store = store,
      on_event = function(event)
        if event.type == "step" and event.action == "sync" then
          world:pass(3)
          assert(other:sync())
        end
      end,
    })
    other = world:client { transport = service:transport(), store = store }
    local report = assert(client:ensure { timeout = 120 })
    assert.equal("completed", report.outcome)
    assert.equal(1, virtual_world.syncs_started(service))
  end)
end)
