-- `--dry-run` of `sync` and `ensure`: what it shows, its exit code, and that nothing is posted.

local cjson = require "cjson.safe"
local autopilot = require "autopilot"
local command = require "support.command"
local dry_run = require "autopilot.cli.dry_run"
local emulator = require "autopilot.emulator"

local start = 1767225600 -- 2026-01-01T00:00:00Z

--- Runs a command so many seconds after the tenant's sync was triggered, which runs for 60; nil: there was none.
-- The machine's clock is an hour behind the service's.
local function run(args, age, rules)
  local service = emulator.new {
    start = start,
    duration = 60,
    tokens = { good = { tenant = "contoso" } },
    faults = rules,
  }
  if age then
    assert(service:trigger "contoso")
    service:advance(age)
  end
  local ran = command.run(args, {
    env = { AUTOPILOT_TOKEN = "good", AZURE_TENANT_ID = "contoso" },
    transport = service:transport(),
    sleep = function(seconds)
      service:advance(seconds)
    end,
    clock = function()
      return service:now()
    end,
    now = function()
      return service:now() - 3600
    end,
  })
  assert.equal(0, service.requests.sync)
  ran.because = ran.out:match "\nBecause +([^\n]*)\n"
  ran.sends = ran.out:match "^Would send +([^\n]*)\n"
  return ran
end

local post = "POST https://graph.microsoft.com/beta/deviceManagement/windowsAutopilotSettings/sync"

describe("a dry run", function()
  local cases = {
    { "sync", nil, 0, post, "a sync is possible" },
    { "sync", 30, 3, post, "a sync is in progress, so a refusal is to be expected" },
    { "sync", 90, 4, post, "the cooldown lasts 9 min 40 s more, so a refusal is to be expected" },
    { "sync --cooldown 20s", 90, 0, post, "a sync is possible" },
    { "ensure", 700, 0, post, "no sync that counts is known" },
    { "ensure --since -2m", 90, 0, "nothing", "a sync that counts is known" },
    { "ensure --max-age 2m", 90, 0, "nothing", "a sync that counts is known" },
    { "ensure --since -2m", 30, 0, "nothing", "a sync that counts is in progress, and is awaited" },
    { "ensure --since -2m --no-wait", 30, 0, "nothing", "a sync that counts is known" },
    {
      "ensure",
      90,
      0,
      post,
      "no sync that counts is known; but first it waits: the cooldown lasts 9 min 40 s more",
    },
    { "ensure --deadline 5m", 90, 4, "nothing", "the cooldown lasts 9 min 40 s more" },
    { "ensure --deadline 5m", 30, 4, "nothing", "the cooldown lasts 9 min 40 s more" },
    { "ensure --no-wait", 90, 4, "nothing", "the cooldown lasts 9 min 40 s more" },
    { "ensure --no-wait", 30, 3, "nothing", "a sync is in progress" },
  }
  for _, case in ipairs(cases) do
    local args, age, code, sends, because = (table.unpack or unpack)(case, 1, 5) -- luacheck: compat
    it(("of %s, %s s after a trigger: %s"):format(args, tostring(age), because), function()
      local ran = run(args .. " --dry-run", age)
      assert.same({ code, sends, because, "" }, { ran.code, ran.sends, ran.because, ran.err })
      assert.matches("\nTenant        contoso\nState         ", ran.out)
    end)
  end

  --- A record whose sync was triggered at the start, 700 s before it is read.
  local function record_of(state, last_sync)
    local body = cjson.encode {
      syncStatus = state,
      lastManualSyncTriggerDateTime = "2026-01-01T00:00:00Z",
      lastSyncDateTime = last_sync,
    }
    return { { kind = "status", on = "status", status = 200, body = body } }
  end

  it("of ensure says that a sync after the trigger has failed", function()
    local rules = record_of("failed", "2026-01-01T00:00:00Z")
    local ran = run("ensure --dry-run --since -20m", 700, rules)
    assert.same({ 0, post }, { ran.code, ran.sends })
    assert.equal("the sync that counts has failed", ran.because)
    ran = run("ensure --dry-run --since -20m --no-wait --json", 90, rules)
    assert.same({ 7, "sync_failed" }, { ran.code, cjson.decode(ran.out).outcome })
  end)

  it("of ensure does not take an earlier state for the end of its sync", function()
    local rules = record_of("completed", "2025-12-31T12:00:00Z")
    local ran = run("ensure --dry-run --since -20m", 700, rules)
    assert.same({ 0, "nothing" }, { ran.code, ran.sends })
    assert.equal("a sync that counts is in progress, and is awaited", ran.because)
  end)

  --- A client of a tenant whose sync was triggered so many seconds ago, and the emulated service.
  local function client_of(age, options)
    local service =
      emulator.new { start = start, duration = 60, tokens = { good = { tenant = "t" } } }
    if age then
      assert(service:trigger "t")
      service:advance(age)
    end
    options = options or {}
    options.token, options.tenant, options.transport = "good", "t", service:transport()
    options.clock, options.now =
      function()
        return service:now()
      end, function()
        return service:now() - 3600
      end
    function options.sleep(seconds)
      service:advance(seconds)
    end
    return autopilot.client(options), service
  end

  it("of ensure predicts what ensure then does", function()
    for _, age in ipairs { 0, 30, 90, 300, 700 } do
      for _, max_age in ipairs { 0, 60, 120, 720 } do
        for _, timeout in ipairs { 40, 200, 3600 } do
          for _, wait in ipairs { false, true } do
            local name = ("%d s after a trigger, max_age %d, timeout %d, %s"):format(
              age,
              max_age,
              timeout,
              tostring(wait)
            )
            local wanted = { max_age = max_age, timeout = timeout, wait = wait }
            local planned = dry_run.of(client_of(age > 0 and age or nil), "ensure", wanted)
            local client, service = client_of(age > 0 and age or nil)
            local report, failure = client:ensure(wanted)
            local outcome = (report or failure).outcome
            assert.equal(planned.would_post, service.requests.sync > 0, name)
            assert.equal(planned.outcome or outcome, outcome, name)
          end
        end
      end
    end
  end)

  --- Another client of the same service, store and clocks.
  local function other_than(client, service)
    local options = client.options
    return autopilot.client {
      token = "good",
      tenant = "t",
      store = options.store,
      transport = service:transport(),
      clock = options.clock,
      now = options.now,
      sleep = options.sleep,
    }
  end

  it("of sync sends nothing when the store has a cooldown", function()
    local client, service = client_of(nil, { store = autopilot.store.memory {} })
    assert(client:sync())
    service:advance(100)
    local report = dry_run.of(other_than(client, service), "sync")
    assert.same({ false, "cooldown", nil }, { report.would_post, report.outcome, report.request })
    assert.equal("the cooldown lasts 8 min 30 s more", report.reason)
    assert.equal(1, service.requests.sync)
  end)

  it("of sync waits for a Retry-After from the store, and does not call it a cooldown", function()
    local client, service = client_of(nil, { store = autopilot.store.memory {}, retry = false })
    service:inject { kind = "throttle", on = "sync", retry_after = 20 }
    assert.equal("throttled", select(2, client:sync()).outcome)
    local report = dry_run.of(other_than(client, service), "sync")
    assert.same({ true, nil }, { report.would_post, report.outcome })
    assert.equal("a sync is possible", report.reason)
  end)

  it("says that it is a dry run even if the record cannot be read", function()
    local client, service = client_of(nil, { retry = false })
    for _, operation in ipairs { "sync", "ensure" } do
      service:inject { kind = "status", on = "status", status = 503 }
      local report = dry_run.of(client, operation)
      assert.same(
        { "unavailable", "status", true, nil },
        { report.outcome, report.operation, report.dry_run, report.would_post }
      )
    end
    assert.equal(0, service.requests.sync)
  end)

  it("of ensure reports a sync in progress when the record came after the deadline", function()
    local store, service = autopilot.store.memory {}, nil
    local get = store.get
    function store.get(...)
      service:advance(1)
      return get(...)
    end
    local client
    client, service = client_of(30, { store = store, cooldown = 0 })
    service:inject { kind = "slow_answer", on = "status", seconds = 4.5 }
    local report = dry_run.of(client, "ensure", { timeout = 5 })
    assert.same({ false, "in_progress" }, { report.would_post, report.outcome })
    assert.equal("a sync is in progress", report.reason)
  end)

  it("reports the same as JSON", function()
    local ran = run("sync --dry-run --json", 90)
    local report = cjson.decode(ran.out)
    assert.equal(4, ran.code)
    assert.same({ false, "sync", "cooldown", true, true, post }, {
      report.ok,
      report.operation,
      report.outcome,
      report.dry_run,
      report.would_post,
      report.request,
    })
    assert.equal(580, report.retry_after)
    report = cjson.decode(run("ensure --dry-run --json --max-age 2m", 90).out)
    assert.same({ true, "fresh", false }, { report.ok, report.outcome, report.would_post })
  end)

  it("reports only an expected refusal with --quiet", function()
    assert.same({ code = 0, out = "", err = "" }, run "sync --dry-run --quiet")
    local ran = run("sync --dry-run --quiet", 90)
    assert.same({ 4, "" }, { ran.code, ran.out })
    assert.matches("^sync contoso: cooldown", ran.err)
  end)

  it("ends like the failed read of the record", function()
    local ran = run("sync --dry-run --attempts 1", nil, { { kind = "unsent" } })
    assert.same({ 6, "" }, { ran.code, ran.out })
    assert.matches("^status contoso: unreachable", ran.err)
  end)
end)
