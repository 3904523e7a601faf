-- A cooldown that differs from the option `cooldown`: how it is learnt, reported and used.

local retry = require "autopilot.retry"
local virtual_world = require "support.virtual_world"

--- A client, and a service whose cooldown lasts so many seconds.
local function new(cooldown, options)
  local world = virtual_world.new { ahead = -500 }
  local client, service = world:emulated({ cooldown = cooldown }, options)
  return client, world, service
end

local function learned(world)
  local list = {}
  for index, event in ipairs(world:events_of "cooldown_learned") do
    list[index] = { event.before, event.cooldown }
  end
  return list
end

describe("a cooldown that is shorter than the option says", function()
  it("is learnt when a request is accepted within it, reported, and used", function()
    local client, world = new(60)
    assert(client:sync())
    world:pass(90)
    assert.equal("cooldown", select(2, client:sync()).outcome)
    local report = assert(client:sync { force = true })
    local cooldown = learned(world)[1][2]
    assert.is_true(cooldown >= 90 and cooldown <= 93)
    assert.same({ { 600, cooldown } }, learned(world))
    local hint = "The service's cooldown is shorter than the 10 min that were assumed: "
      .. "1 min %d s are assumed from now on."
    assert.equal(hint:format(cooldown - 60), report.hint)
    world:pass(cooldown + 5)
    assert.equal("cooldown", select(2, client:sync()).outcome)
    world:pass(10)
    report = assert(client:sync())
    assert.is_nil(report.hint)
    assert.equal(1, #learned(world))
  end)

  it("is no hint for a failure that has another reason", function()
    local client, world, service = new(60)
    assert(client:sync())
    world:pass(90)
    service:inject { kind = "failed_sync", on = "sync" }
    local failure = select(2, client:sync { force = true, wait = true })
    assert.equal("sync_failed", failure.outcome)
    assert.matches("the sync failed: ask for another", failure.hint)
    assert.equal(1, #learned(world))
  end)

  it("is learnt from the record's stamp of another client's sync", function()
    local client, world, service = new(60)
    service:trigger "contoso"
    world:pass(120)
    client:status()
    assert(client:sync { force = true })
    local cooldown = learned(world)[1][2]
    assert.is_true(cooldown >= 120 and cooldown <= 123)
  end)

  it("is dropped for good when a request is refused after it", function()
    local client, world, service = new(60)
    assert(client:sync())
    world:pass(90)
    assert(client:sync { force = true })
    local cooldown = learned(world)[1][2]
    service.syncs.rules.cooldown = 600
    world:pass(cooldown + 15)
    local _, failure = client:sync()
    assert.equal("service", failure.answered_by)
    assert.same({ cooldown, 600 }, learned(world)[2])
    -- Not that it is longer: another client may have asked for a sync since.
    local hint = "The service refused a request after the 1 min %d s that were assumed as its "
      .. "cooldown: 10 min are assumed from now on."
    assert.equal(hint:format(cooldown - 60), failure.hint)
    assert.near(610 - cooldown - 15, failure.retry_after, 2)
    world:pass(600)
    service.syncs.rules.cooldown = 60
    assert(client:sync())
    world:pass(90)
    assert(client:sync { force = true })
    assert.equal(2, #learned(world))
  end)

  it("is dropped, too, when the sleep until its end was slightly too short", function()
    local client, world, service
    client, world, service = new(60, {
      retry = retry.patient(),
      sleep = function(seconds)
        world:pass(seconds - 0.001)
      end,
    })
    assert(client:sync())
    world:pass(90)
    assert(client:sync { force = true })
    local cooldown = learned(world)[1][2]
    service.syncs.rules.cooldown = 600
    local _, failure = client:sync { deadline = 400 }
    assert.equal(1, #failure.attempts)
    assert.same({ cooldown, 600 }, learned(world)[2])
  end)

  it("is not learnt if the client knows no earlier sync, nor without a cooldown", function()
    local client, world, service = new(60)
    service:trigger "contoso"
    world:pass(90)
    assert(client:sync())
    client, world = new(60, { cooldown = 0 })
    assert(client:sync())
    world:pass(90)
    assert(client:sync())
    assert.same({}, learned(world))
  end)

  it("is not learnt from the client's own sync in a record that came before the answer", function()
    local world = virtual_world.new()
    local client
    local options = {}
    local emulated, service = world:emulated()
    local transport = service:transport()
    function options.transport(request)
      local response = transport(request)
      if request.url:find "/sync$" and not options.has_read then
        options.has_read = true
        client:status()
        world:pass(2)
      end
      return response
    end
    emulated:close()
    client = world:client(options)
    assert(client:status())
    assert(client:sync())
    assert.same({}, learned(world))
  end)
end)

describe("a cooldown that is longer than the option says", function()
  it("is not assumed: another client's sync may explain a refusal", function()
    local client, world = new(900)
    assert(client:sync())
    world:pass(612)
    local _, failure = client:sync()
    assert.equal("service", failure.answered_by)
    assert(client:status())
    assert.same({}, learned(world))
    world:pass(600)
    assert.equal("client", select(2, client:sync()).answered_by)
    world:pass(11)
    assert(client:sync())
  end)
end)
