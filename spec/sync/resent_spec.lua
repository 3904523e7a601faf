-- A refused request that libcurl or HTTP/2 has sent twice: the record shows whether its first copy started a sync.

local virtual_world = require "support.virtual_world"

local record = virtual_world.record
local syncs_started = virtual_world.syncs_started

describe("client:sync when libcurl or HTTP/2 has sent its request twice", function()
  local function resent(status)
    return { status = status, sends = 2 }
  end

  it("is a success if the first copy has started the sync", function()
    for _, status in ipairs { 409, 429 } do
      local world = virtual_world.new()
      local client, transport = world:scripted {
        resent(status),
        record { status = "inProgress", trigger = world.time + 0.1, date = world.time },
      }
      local report = client:sync()
      assert.equal("started", report.outcome)
      assert.equal("status", report.confirmed_by)
      assert.equal("yes", report.delivered)
      assert.equal(2, report.attempts[1].sends)
      assert.equal(2, #transport.requests)
      assert.equal("GET", transport.requests[2].method)
    end
  end)

  it("keeps the refusal if it was another client's sync", function()
    for status, outcome in pairs { [409] = "in_progress", [429] = "cooldown" } do
      local world = virtual_world.new()
      local client = world:scripted({
        resent(status),
        record {
          status = status == 409 and "inProgress" or "completed",
          trigger = world.time - 100,
          date = world.time,
        },
      }, { retry = false })
      local failure = select(2, client:sync())
      assert.equal(outcome, failure.outcome)
      assert.equal("yes", failure.delivered)
    end
  end)

  it("keeps the refusal if the status cannot be read", function()
    for status, outcome in pairs { [409] = "in_progress", [429] = "cooldown" } do
      local client = virtual_world.new():scripted {
        resent(status),
        { status = 500 },
        last = "repeat",
      }
      local failure = select(2, client:sync())
      assert.equal(outcome, failure.outcome)
      assert.equal("yes", failure.delivered)
    end
  end)

  it("is a success with the emulated service, too", function()
    local world = virtual_world.new()
    local client, service = world:emulated()
    local inner = service:transport()
    local resending = world:client {
      transport = function(request)
        local response, network = inner(request)
        if request.method == "POST" then
          response.sends = 2
        end
        return response, network
      end,
    }
    service:inject { kind = "duplicated", on = "sync" }
    assert.equal("started", resending:sync().outcome)
    assert.equal(1, syncs_started(service))
    assert.is_truthy(client)
  end)
end)
