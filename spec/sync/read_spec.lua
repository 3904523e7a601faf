-- Reading the tenant's record: one request if one is enough, and all that was read is remembered.

local retry = require "autopilot.retry"
local virtual_world = require "support.virtual_world"

local record = virtual_world.record

describe("a read of the record", function()
  it("does not use the caller's id, which is for the request for a sync", function()
    local client, transport =
      virtual_world.new():scripted { { status = 204 }, record {}, last = "repeat" }
    client:sync { client_request_id = "ticket-4711" }
    client:status()
    assert.equal("ticket-4711", transport.requests[1].headers["client-request-id"])
    assert.are_not.equal("ticket-4711", transport.requests[2].headers["client-request-id"])
  end)

  it("is repeated as the client's policy says after a lost answer, too", function()
    for attempts = 1, 3 do
      local policy = attempts > 1 and retry.policy { attempts = attempts }
      local answers = { { network = { stage = "receive" } }, { status = 503 }, last = "repeat" }
      local client, transport = virtual_world.new():scripted(answers, { retry = policy })
      client:sync()
      assert.equal(1 + attempts, #transport.requests)
      assert.is_nil(transport.requests[2].headers["retry-attempt"])
    end
  end)

  it("sends the number of its retries, and takes them from the client's policy", function()
    local client, transport = virtual_world.new():scripted(
      { { status = 503 }, last = "repeat" },
      { retry = retry.policy { attempts = 3 } }
    )
    local failure = select(2, client:status())
    assert.equal("unavailable", failure.outcome)
    assert.equal("attempts", failure.gave_up)
    assert.equal(3, #transport.requests)
    assert.is_nil(transport.requests[1].headers["retry-attempt"])
    assert.equal("1", transport.requests[2].headers["retry-attempt"])
    assert.equal("2", transport.requests[3].headers["retry-attempt"])
  end)

  it("is not repeated with retry = false, nor after an answer without a record", function()
    local client, transport = virtual_world.new():scripted({ { status = 503 } }, { retry = false })
    client:status()
    assert.equal(1, #transport.requests)
    client, transport = virtual_world.new():scripted { { status = 200, body = "<html>" } }
    assert.equal("unexpected", select(2, client:status()).outcome)
    assert.equal(1, #transport.requests)
  end)

  it("that was lost is not reported as a started sync", function()
    local lost = { network = { stage = "receive" } }
    local client = virtual_world.new():scripted({ lost, last = "repeat" }, { retry = false })
    for _, method in ipairs { "status", "ensure" } do
      local failure = select(2, client[method](client))
      assert.equal("interrupted", failure.outcome)
      assert.is_nil(failure.hint:find("may have started", 1, true), failure.hint)
    end
    client = virtual_world.new():scripted({ record {}, lost, last = "repeat" }, { retry = false })
    local failure = select(2, client:ensure())
    assert.same({ "interrupted", "unknown" }, { failure.outcome, failure.delivered })
    assert.matches("a sync may have started", failure.hint)
  end)

  it("that was cut off gives no record, but a status", function()
    local client = virtual_world.new():client {
      retry = false,
      transport = function()
        return { status = 200, headers = {}, body = '{"syncStatus":"completed","lastSy' }, {
          stage = "receive",
          name = "CURLE_PARTIAL_FILE",
          message = "cut",
          delivered = "unknown",
        }
      end,
    }
    local status, failure = client:status()
    assert.is_nil(status)
    assert.is_false(failure.ok)
    assert.equal("receive", failure.network.stage)
  end)

  it("that was cut off is repeated, because a read changes nothing", function()
    for _, method in ipairs { "status", "wait" } do
      local world = virtual_world.new()
      local whole = record { trigger = world.time - 9, last_sync = world.time - 5 }
      local requests = 0
      local client = world:client {
        transport = function()
          requests = requests + 1
          if requests == 1 then
            return { status = 200, headers = {}, body = whole.body:sub(1, 40) }, {
              stage = "receive",
              message = "cut",
              delivered = "unknown",
            }
          end
          return { status = 200, headers = {}, body = whole.body }
        end,
      }
      local report = client[method](client)
      assert.is_true(report.ok)
      assert.is_nil(report.network)
      assert.equal(2, requests)
    end
  end)

  it("updates the cooldown: no sync is posted within it", function()
    for _, method in ipairs { "status", "wait" } do
      local world = virtual_world.new()
      local trigger = world.time - 100
      local client, transport = world:scripted {
        record { trigger = trigger, last_sync = trigger + 1, date = world.time },
      }
      assert(client[method](client))
      local failure = select(2, client:sync())
      assert.equal("cooldown", failure.outcome)
      assert.equal("client", failure.answered_by)
      assert.equal(1, #transport.requests)
    end
  end)
end)
