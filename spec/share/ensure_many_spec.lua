-- Many callers of `ensure` with one store: those that need a later moment than the running sync covers share the next.

local OverlappingCalls = require "support.overlapping_calls"
local emulator = require "autopilot.emulator"
local virtual_world = require "support.virtual_world"

local count, spread, running = 60, 240, 300

--- Calls `ensure` so many times while a sync runs, one each four seconds.
---@param new_client fun(calls: support.OverlappingCalls): autopilot.Client
---@param options_of fun(now: number): table arguments of `ensure`
local function run(new_client, options_of)
  local calls = OverlappingCalls.new()
  local service = emulator.new {
    now = calls.now,
    duration = running,
    tokens = { good = { tenant = "contoso" } },
  }
  calls.transport = service:transport()
  assert(service:trigger "contoso")
  local tasks = {}
  for number = 1, count do
    tasks[number] = calls:spawn(function()
      calls:sleep(number * spread / count)
      local given = options_of(calls.now())
      return new_client(calls):ensure(given), given.since
    end)
  end
  calls:run()
  return service, tasks
end

local function assert_one_trailing_sync(service, tasks)
  assert.equal(1, service.requests.sync)
  assert.equal(2, virtual_world.syncs_started(service))
  local record = service:record "contoso"
  -- The cooldown counts from the end of the running sync.
  local triggered = record.last_manual_trigger - OverlappingCalls.start
  assert.is_true(triggered >= running + 610 and triggered < running + 630, triggered)
  for _, task in ipairs(tasks) do
    local report = assert(task.results[1], tostring(task.results[2]))
    assert.equal("completed", report.outcome)
    assert.is_true(task.ended >= record.last_manual_trigger + running)
  end
end

describe("many callers of ensure while a sync runs", function()
  it("that need a sync after its trigger share one, after its cooldown", function()
    local service, tasks = run(function(calls)
      return calls:client()
    end, function(now)
      return { since = now }
    end)
    assert_one_trailing_sync(service, tasks)
  end)

  it("share one also within one client", function()
    local client
    local service, tasks = run(function(calls)
      client = client or calls:client()
      return client
    end, function(now)
      return { since = now }
    end)
    assert_one_trailing_sync(service, tasks)
  end)

  it("that need no later sync are served by the running one", function()
    local service, tasks = run(function(calls)
      return calls:client()
    end, function()
      return { since = OverlappingCalls.start - 60 }
    end)
    assert.equal(0, service.requests.sync)
    for _, task in ipairs(tasks) do
      assert.equal("completed", task.results[1].outcome)
    end
  end)
end)
