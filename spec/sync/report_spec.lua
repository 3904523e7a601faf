-- The report: its line of text, and how it is completed.

local report = require "autopilot.sync.report"
local virtual_world = require "support.virtual_world"

local new_report = report.new

describe("autopilot.sync.report", function()
  it("is one line: tenant, result, when to ask again, and the ids for support", function()
    local line = tostring(new_report {
      operation = "sync",
      tenant = "contoso",
      outcome = "cooldown",
      retry_after = 344.2,
      status = 429,
      request_id = "5c0e",
      delivered = "yes",
    })
    assert.equal(
      "sync contoso: cooldown, again in 345 s (HTTP 429, delivered: yes, request-id 5c0e)",
      line
    )
  end)

  it("omits what is empty", function()
    assert.equal("sync: started", tostring(new_report { operation = "sync", outcome = "started" }))
    assert.equal("ensure: fresh", tostring(new_report { operation = "ensure", outcome = "fresh" }))
    assert.equal(
      "status x: completed",
      tostring(
        new_report { operation = "status", tenant = "x", ok = true, sync_status = "completed" }
      )
    )
    assert.equal("status: ok", tostring(new_report { operation = "status", ok = true }))
  end)

  it("says that it is the answer to another call's request", function()
    local joined =
      new_report { operation = "sync", outcome = "started", joined = true, status = 204 }
    assert.equal("sync: started (joined, HTTP 204)", tostring(joined))
  end)

  it("gives the service's or the network's message", function()
    assert.equal(
      "sync: forbidden, Not you. (HTTP 403)",
      tostring(new_report {
        operation = "sync",
        outcome = "forbidden",
        status = 403,
        error = { code = "Forbidden", message = "Not you." },
      })
    )
    assert.equal(
      "sync: rejected, BadRequest",
      tostring(
        new_report { operation = "sync", outcome = "rejected", error = { code = "BadRequest" } }
      )
    )
    assert.equal(
      "sync: unreachable, tls: certificate has expired (delivered: no)",
      tostring(new_report {
        operation = "sync",
        outcome = "unreachable",
        delivered = "no",
        network = { stage = "tls", message = "certificate has expired" },
      })
    )
  end)

  it("stays one line for any texts in it", function()
    local line = tostring(new_report {
      operation = "sync",
      tenant = "con\ntoso",
      outcome = "rejected",
      request_id = "a\r\nb",
      error = { message = "first\nsecond\r\nthird\0fourth\27[31m" },
      network = { stage = "receive", message = "a\nb" },
    })
    assert.is_nil(line:find "%c")
    assert.is_truthy(line:find "first second")
  end)

  it("shows every wait that a service can ask for", function()
    for _, text in ipairs { "0", "0.4", "2.128", "99999999999999999999999", ("9"):rep(400) } do
      local answer = { status = 429, headers = { ["Retry-After"] = text } }
      local client = virtual_world.new():scripted({ answer }, { retry = false })
      local failure = select(2, client:sync())
      assert.is_truthy(tostring(failure):find "^sync contoso: throttled, again in %d+ s")
    end
    for _, text in ipairs { "1e300", "1e999", "-1e999", "99999999999999999999999", "0.5" } do
      local answer =
        { status = 429, body = '{"error":{"message":"{\\"RetryAfter\\": ' .. text .. '}"}}' }
      local client = virtual_world.new():scripted({ answer }, { retry = false })
      local failure = select(2, client:sync())
      assert.is_truthy(tostring(failure):find "^sync contoso: ")
      local seconds = failure.retry_after
      assert.is_true(seconds == nil or (seconds >= 0 and seconds < math.huge), text)
    end
  end)

  it("has ok and a hint by its outcome", function()
    local failure = new_report { operation = "sync", outcome = "in_progress" }
    assert.is_false(failure.ok)
    assert.is_truthy(failure.hint)
    local success = new_report { operation = "sync", outcome = "started" }
    assert.is_true(success.ok)
    assert.is_nil(success.hint)
  end)

  it("keeps a more specific hint", function()
    local failure = new_report { operation = "sync", outcome = "forbidden", hint = "Ask Ada." }
    assert.equal("Ask Ada.", failure.hint)
  end)

  it("is returned alike by every operation: a result alone, or nil and a failure", function()
    local client = virtual_world.new():scripted({
      { status = 204 },
      { status = 403 },
      virtual_world.record {},
      { status = 403 },
    }, { cooldown = 0 })
    for _, method in ipairs { "sync", "status" } do
      local result, nothing = client[method](client)
      assert.is_true(result.ok)
      assert.is_nil(nothing)
      assert.equal(method, result.operation)
      local none, failure = client[method](client)
      assert.is_nil(none)
      assert.is_false(failure.ok)
      assert.equal(method, failure.operation)
      assert.equal("contoso", failure.tenant)
      assert.equal(getmetatable(result), getmetatable(failure))
    end
  end)

  it("has the duration of the whole operation, sleeps included, and of each attempt", function()
    local world = virtual_world.new { random = 0.5 }
    local waits = { 3, 5 }
    local client = world:client {
      recover = false,
      transport = function()
        world:pass(table.remove(waits, 1))
        return { status = #waits == 1 and 503 or 204, headers = {}, body = "" }
      end,
    }
    local result = client:sync()
    local slept = world.slept[1]
    assert.is_true(slept > 0)
    assert.near(3 + slept + 5, result.elapsed, 1e-6)
    assert.near(3, result.attempts[1].elapsed, 1e-6)
    assert.near(5, result.attempts[2].elapsed, 1e-6)
    assert.equal(0, result.attempts[1].delay)
    assert.near(slept, result.attempts[2].delay, 1e-6)
    assert.same({ 1, 2 }, { result.attempts[1].number, result.attempts[2].number })
  end)
end)
