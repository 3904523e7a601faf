-- What a client remembers of its tenant, and which requests would be in vain.

local ServiceClock = require "autopilot.sync.service_clock"
local TenantMemory = require "autopilot.sync.knowledge"
local settings = require "autopilot.sync.record"
local records = require "autopilot.sync.record"

--- A memory whose service's clock is known to agree with Unix time, within the second that Date leaves open;
-- so is the client's own, to keep the numbers short.
local function new(cooldown)
  local function now()
    return 5000
  end
  local clock = ServiceClock.new { now = now, clock = now }
  return TenantMemory.new({ cooldown = cooldown or 600, cooldown_margin = 10 }, clock), clock
end

local function record(trigger, last_sync, status)
  return {
    sync_status = status or "completed",
    last_manual_trigger = trigger,
    last_sync = last_sync,
    trigger_known = true,
  }
end

describe("autopilot.sync.knowledge", function()
  it("is empty at first", function()
    local memory = new()
    assert.is_nil((memory:refusal(5000)))
    assert.is_nil(memory:cooldown_left(5000))
  end)

  it("remembers its own sync for the interval and the margin", function()
    local memory = new()
    memory:note_started(5000, 5001)
    assert.same({ "cooldown", 609 }, { memory:refusal(5002) })
    assert.same({ "cooldown", 0.5 }, { memory:refusal(5610.5) })
    assert.is_nil((memory:refusal(5611)))
  end)

  it("remembers a refusal, with its outcome, until its Retry-After has passed", function()
    local memory = new()
    memory:note_refused("throttled", 100, 5000)
    assert.same({ "throttled", 1 }, { memory:refusal(5099) })
    assert.equal(1, memory:held_for(5099))
    assert.is_nil((memory:refusal(5100)))
    memory:note_refused("in_progress", 100, 5200)
    assert.same({ "in_progress", 1 }, { memory:refusal(5299) })
  end)

  it("does not shorten one Retry-After by another", function()
    local memory = new()
    memory:note_refused("throttled", 100, 5000)
    memory:note_refused("throttled", 50, 5000)
    assert.same({ "throttled", 40 }, { memory:refusal(5060) })
  end)

  it("remembers a bare 429 for the interval, and a bare 409 not at all", function()
    local memory = new()
    memory:note_refused("in_progress", nil, 5000)
    assert.is_nil((memory:refusal(5001)))
    memory:note_refused("cooldown", nil, 5000)
    assert.same({ "cooldown", 1 }, { memory:refusal(5609) })
    assert.is_nil((memory:refusal(5610)))
  end)

  it("prefers a record to a bare 429", function()
    local memory = new()
    memory:note_refused("cooldown", nil, 5000)
    settings.note(memory, record(4500, 4501))
    assert.same({ "cooldown", 110 }, { memory:refusal(5001) })
  end)

  it("takes the later of the record's stamps", function()
    local memory = new()
    settings.note(memory, record(4500, 4700))
    assert.equal(310, memory:cooldown_left(5000))
    memory = new()
    settings.note(memory, record(4700, 4500))
    assert.equal(310, memory:cooldown_left(5000))
  end)

  it("ignores a record that is out of date", function()
    local memory = new()
    memory:note_started(5000, 5000)
    settings.note(memory, record(1000, 1001))
    assert.same({ "cooldown", 609 }, { memory:refusal(5001) })
  end)

  it("has no cooldown with cooldown = 0, but keeps a Retry-After", function()
    local memory = new(0)
    memory:note_started(5000, 5000)
    settings.note(memory, record(5000, 5001))
    memory:note_refused("cooldown", nil, 5001)
    assert.is_nil((memory:refusal(5002)))
    memory:note_refused("throttled", 100, 5001)
    assert.same({ "throttled", 99 }, { memory:refusal(5002) })
  end)

  it("counts the record's stamps by the service's clock", function()
    local memory, clock = new()
    clock:observe(105000, 0, 5000)
    settings.note(memory, record(104900, 104901))
    local outcome, seconds = memory:refusal(5000)
    assert.equal("cooldown", outcome)
    assert.is_true(seconds >= 511 - 0.01 and seconds <= 512.01)
  end)

  it(
    "tells until when the last sync keeps the tenant from another, by the service's clock",
    function()
      local memory = new()
      assert.is_nil(memory:cooldown_until())
      settings.note(memory, record(4500, 4700.5))
      assert.equal(5310.5, memory:cooldown_until())
      memory = new(0)
      settings.note(memory, record(4500, 4700.5))
      assert.is_nil(memory:cooldown_until())
    end
  )

  it("counts a moment as covered only by a trigger that is surely not before it", function()
    local memory, clock = new()
    assert.equal(5000, records.covering_trigger(record(5000), 5000, memory))
    assert.is_nil(records.covering_trigger(record(4999.9), 5000, memory))
    assert.is_nil(records.covering_trigger(record(nil, 6000), 5000, memory))
    clock:observe(5000, 0, 5000) -- up to a second ahead
    assert.is_nil(records.covering_trigger(record(5000.9), 5000, memory))
    assert.equal(5001.1, records.covering_trigger(record(5001.1), 5000, memory))
  end)

  it("counts a moment as covered by its own sync, whose stamp cannot be another's", function()
    local memory, clock = new()
    clock:observe(5000, 0, 5000)
    memory:note_started(5000, 5000.2)
    assert.equal(5000.1, records.covering_trigger(record(5000.1), 5000, memory))
    assert.is_nil(records.covering_trigger(record(4000), 5000, memory))
    assert.is_nil(records.covering_trigger(record(5000.1), 5001.5, memory))
  end)

  it("uses the last trigger if no moment is given", function()
    local memory = new()
    assert.equal(77, records.covering_trigger(record(77), nil, memory))
    assert.is_nil(records.covering_trigger(record(nil), nil, memory))
  end)

  it("counts failed as the end of a sync, unless it has seen that sync completed", function()
    local memory = new()
    local failed = record(4000, 4030, "failed")
    settings.note(memory, failed)
    assert.equal("sync_failed", records.ending(failed, 4000, memory))
    local completed = record(4700, 4730)
    settings.note(memory, completed)
    assert.equal("completed", records.ending(completed, 4700, memory))
    local failed_by_itself = record(4700, 4990, "failed")
    settings.note(memory, failed_by_itself)
    assert.equal("completed", records.ending(failed_by_itself, 4700, memory))
    assert.equal("sync_failed", records.ending(record(4995, 4999, "failed"), 4995, memory))
    assert.is_nil(records.ending(record(4995, 4999, "in_progress"), 4995, memory))
  end)
end)
