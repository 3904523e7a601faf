-- The example for OpenResty between requests: its keep-fresh timer and its metrics.

local await = require "support.await"
local database_server = require "support.database_server"
local example_world = require "support.example_world"
local nginx_world = require "support.nginx_world"
local process_facts = require "support.process_facts"
local prometheus_text = require "support.prometheus_text"
local socket = require "socket"

local named = example_world.named

local obstacle = nginx_world.obstacle()

describe("the example for OpenResty", function()
  if obstacle then
    return pending(obstacle)
  end

  local world

  local expected

  before_each(function()
    expected = {}
  end)

  after_each(function()
    local complaints = world.server:complaints(expected)
    world:stop()
    assert.same({}, complaints)
  end)

  local function ensured(tenant, outcome)
    return world:count(tenant, "ensure", outcome)
  end

  --- The tenants whose records were read, in order.
  local function looks()
    local tenants = {}
    for _, event in ipairs(world.service:control("GET", "log")) do
      if event.event == "request" and event.operation == "status" then
        table.insert(tenants, event.tenant)
      end
    end
    return tenants
  end

  it("keeps its tenants fresh with one post each, and checks them regularly", function()
    world = example_world.start {
      tenants = { "one.example", "two.example", "three.example" },
      keep_fresh_every = 0.05,
      service = { http_version = "1.1" },
    }
    await("several looks at fresh tenants", function()
      return ensured("three.example", "fresh") >= 5
    end)
    assert.equal(3, world:arrived "sync")
    for _, tenant in ipairs { "one.example", "two.example", "three.example" } do
      assert.equal(1, ensured(tenant, "started"))
    end
  end)

  it("never begins a check during another one, also over a reload", function()
    world = example_world.start {
      tenants = { "one.example", "two.example" },
      keep_fresh_every = 0.02,
      environment = { PORTAL_CONCURRENCY = "1" },
    }
    await("looks", function()
      return #looks() >= 10
    end)
    for _ = 1, 4 do
      world:inject { kind = "slow_answer", on = "status", seconds = 0.3 }
    end
    world.server:reload()
    local before = #looks()
    await("looks after the reload", function()
      return #looks() >= before + 10
    end)
    local list = looks()
    -- The old worker may leave the second tenant to the new one, which begins with the first.
    local out_of_turn = 0
    for index = 2, #list do
      out_of_turn = out_of_turn + (list[index] == list[index - 1] and 1 or 0)
    end
    assert.is_true(out_of_turn <= 1, table.concat(list, " "))
    assert.equal(2, world:arrived "sync")
  end)

  it("checks several tenants at a time", function()
    world = example_world.start { tenants = named(30), keep_fresh_every = 0.05 }
    await("the first look", function()
      return world:metric "autopilot_keep_fresh_timestamp_seconds" > 0
    end)
    assert.equal(30, world:metric 'autopilot_tenants{state="fresh"}')
    assert.equal(30, world:arrived "sync")
    for _ = 1, 8 do
      world:inject { kind = "slow_answer", on = "status", seconds = 2 }
    end
    local before, began = #looks(), socket.gettime()
    await("the next look", function()
      return #looks() >= before + 30
    end)
    assert.is_true(socket.gettime() - began < 8) -- one after the other would take twice as long
  end)

  it("skips tenants, for a while, whose sync it has seen completed", function()
    world = example_world.start {
      tenants = named(3),
      keep_fresh_every = 0.05,
      read_again_after = 1,
      service = { duration = 0 },
    }
    local reads = await("a second read of each", function()
      local count = #looks()
      return count >= 6 and count
    end)
    local function looked_at()
      return world:metric "autopilot_keep_fresh_timestamp_seconds"
    end
    -- Looks go on, and ask for nothing.
    for _ = 1, 3 do
      local before = looked_at()
      await("another look", function()
        return looked_at() > before
      end)
    end
    local asked = #looks()
    await("the next reads", function()
      return #looks() >= reads + 3
    end)
    assert.is_true(asked <= reads + 3, asked)
    assert.equal(3, world:arrived "sync")
  end)

  it("soon checks a tenant again that is not settled", function()
    world = example_world.start {
      tenants = { "one.example" },
      keep_fresh_every = 0.05,
      read_again_after = 3600,
      service = { duration = 300 },
    }
    await("several looks at a sync that runs", function()
      return ensured("one.example", "fresh") >= 5
    end)
    assert.equal(1, world:arrived "sync")
  end)

  it("checks 3000 tenants, and reports their metrics without blocking its workers", function()
    world = example_world.start {
      tenants = named(3000),
      keep_fresh_every = 1,
      read_again_after = 3600,
      service = { duration = 0 },
    }
    local function count_ages()
      return select(
        2,
        world.server:get("/metrics").body:gsub("\nautopilot_last_sync_age_s[^#]-{", "")
      )
    end
    await("two looks", function()
      return count_ages() == 3000
    end, 300)
    assert.equal(3000, world:metric 'autopilot_tenants{state="fresh"}')
    assert.equal(3000, world:arrived "sync")
    local function used()
      local seconds = 0
      for _, worker in ipairs(world.server:workers()) do
        seconds = seconds + process_facts.processor_time(worker)
      end
      return seconds
    end
    local least = math.huge
    for _ = 1, 20 do
      local before = used()
      assert.equal(3000, count_ages())
      least = math.min(least, used() - before)
    end
    assert.is_true(least < 0.02, least) -- in pieces of 300 tenants
  end)

  it("keeps them fresh while its Redis is unreachable, and logs that once a check", function()
    world = example_world.start {
      tenants = { "one.example", "two.example" },
      keep_fresh_every = 3600,
      environment = { PORTAL_STORE = "redis://me:secret-word@127.0.0.1:1" },
    }
    local complaint = "keep fresh: the store failed: Redis: "
    expected = { complaint }
    await("the first look", function()
      return world:metric "autopilot_keep_fresh_timestamp_seconds" > 0
    end)
    assert.equal(1, ensured("one.example", "started"))
    assert.equal(1, ensured("two.example", "started"))
    local log = world.server:log()
    assert.equal(1, select(2, log:gsub(complaint, "")))
    assert.is_nil(log:find("secret-word", 1, true))
    local families = prometheus_text.read(world.server:get("/metrics").body)
    local failures = families.autopilot_store_failures_total
    assert.equal("Calls of the store that failed.", failures.help)
    assert.is_true(failures.samples[1].value > 0)
  end)

  describe("during a check", function()
    local missing = database_server.obstacle "Redis"
    if missing then
      return pending(missing)
    end

    local claim = "portal: keep fresh"
    local redis

    -- Begins a check whose first tenant takes a second.
    before_each(function()
      -- Redis ends before nginx, which tells the end of a connection whatever `lua_socket_log_errors` says.
      expected = { "keep fresh: the store failed: Redis: ", "recv%(%) failed %(104: " }
      redis = database_server.start "Redis"
      local store = redis:store()
      assert.is_true(store:add(claim, "of the spec", 60))
      world = example_world.start {
        tenants = { "one.example", "two.example" },
        keep_fresh_every = 0.05,
        environment = { PORTAL_STORE = redis:options().url, PORTAL_CONCURRENCY = "1" },
      }
      world:inject { kind = "slow_answer", on = "status", seconds = 1 }
      assert.is_true(store:delete_if(claim, "of the spec"))
      await("the first tenant", function()
        return world:arrived "status" == 1
      end)
    end)

    after_each(function()
      redis:remove()
    end)

    it("continues with the other tenants when its Redis fails", function()
      redis:stop()
      await("the second tenant", function()
        return ensured("two.example", "started") == 1
      end)
    end)

    it("leaves the other tenants to the check that has claimed them", function()
      assert.is_true(redis:store():set(claim, "of another host", 60))
      await("the first tenant's end", function()
        return ensured("one.example", "started") == 1
      end)
      await("the end of the look", function()
        return world:metric "autopilot_keep_fresh_timestamp_seconds" > 0
      end)
      assert.same({ "one.example" }, looks())
    end)
  end)

  it("continues after its worker has crashed", function()
    world = example_world.start { tenants = { "one.example" }, keep_fresh_every = 1 }
    expected = { "worker process %d+ exited on signal 9" }
    local function last_look()
      return world:metric "autopilot_keep_fresh_timestamp_seconds"
    end
    local first = await("the first look", function()
      return last_look() > 0 and last_look()
    end)
    -- Right after the next one, so that no check is in progress.
    local before = await("the next look", function()
      return last_look() > first and last_look()
    end)
    for _, worker in ipairs(world.server:workers()) do
      world.server:kill_worker(worker)
    end
    await("a look after the crash", function()
      return last_look() > before + 0.5
    end)
    assert.equal(1, world:arrived "sync")
  end)

  it("starts another sync once the last one is older than PORTAL_MAX_AGE", function()
    world = example_world.start {
      tenants = { "one.example" },
      keep_fresh_every = 0.05,
      environment = { PORTAL_MAX_AGE = "1" },
    }
    -- The service wants ten minutes between two syncs; until then it is left alone.
    await("a look at a tenant that cools down", function()
      return ensured("one.example", "cooldown") >= 2
    end)
    assert.equal(1, world:arrived "sync")
  end)

  it("reports metrics of all workers in Prometheus's format", function()
    world = example_world.start {
      tenants = { "one.example", 'we"ird\\tenant' },
      service = { duration = 0 },
    }
    assert.equal(202, select(2, world:sync "one.example").status)
    local calls = {}
    for index = 1, 100 do
      calls[index] = world:begin_sync "one.example"
    end
    for _, call in ipairs(calls) do
      assert.equal(429, call:answer().status)
    end
    world:ready "one.example"
    local weird = world:sync "we%22ird%5Ctenant"
    assert.equal("token_error", weird.outcome) -- no tenant of Entra's has such a name
    local answer = world.server:get "/metrics"
    assert.equal("text/plain; version=0.0.4; charset=utf-8", answer.headers["content-type"])
    local families = prometheus_text.read(answer.body)

    local function value(name, labels)
      for _, sample in ipairs(families[name].samples) do
        local fits = true
        for label, text in pairs(labels) do
          fits = fits and sample.labels[label] == text
        end
        if fits then
          return sample.value
        end
      end
    end

    local total = "autopilot_operations_total"
    assert.equal("counter", families[total].type)
    assert.equal(1, value(total, { outcome = "started" }))
    assert.equal(100, value(total, { outcome = "cooldown" }))
    assert.equal(1, value(total, { outcome = "read" }))
    assert.equal(1, value(total, { outcome = "token_error" }))
    local responses = "autopilot_responses_total"
    assert.equal(1, value(responses, { status = "204" }))
    assert.equal(1, value(responses, { status = "200" }))
    local attention = "autopilot_tenant_needs_attention"
    assert.equal(1, #families[attention].samples)
    assert.equal(1, value(attention, { tenant = 'we"ird\\tenant', outcome = "token_error" }))
    assert.equal(1, value("autopilot_tenants", { state = "fresh" }))
    assert.equal(1, value("autopilot_tenants", { state = "needs_attention" }))
    local age = value("autopilot_last_sync_age_seconds", { tenant = "one.example" })
    assert.is_true(age >= 0 and age < 60, age)
    assert.is_nil(value("autopilot_last_sync_age_seconds", { tenant = 'we"ird\\tenant' }))
  end)

  it("reports durations as a histogram whose buckets only grow", function()
    world = example_world.start { tenants = { "one.example" } }
    world:inject { kind = "slow_answer", on = "sync", seconds = 0.3 }
    world:sync "one.example"
    world:ready "one.example"
    local families = prometheus_text.read(world.server:get("/metrics").body)
    local family = families.autopilot_operation_duration_seconds
    assert.equal("histogram", family.type)
    local buckets, sum, count = {}, nil, nil
    for _, sample in ipairs(family.samples) do
      if sample.labels.operation == "sync" then
        if sample.name:match "_bucket$" then
          table.insert(buckets, sample)
        elseif sample.name:match "_sum$" then
          sum = sample.value
        else
          count = sample.value
        end
      end
    end
    assert.equal(1, count)
    assert.is_true(sum >= 0.3, sum) -- the duration of the one call
    assert.is_true(#buckets > 5)
    local last = 0
    for _, bucket in ipairs(buckets) do
      local limit = bucket.labels.le == "+Inf" and math.huge or tonumber(bucket.labels.le)
      assert.is_true(limit > last)
      assert.equal(sum <= limit and 1 or 0, bucket.value)
      last = limit
    end
  end)

  it("has no secret in its metrics or answers", function()
    world = example_world.start { tenants = { "one.example" }, keep_fresh_every = 0.05 }
    await("looks", function()
      return ensured("one.example", "fresh") >= 1
    end)
    local texts = { world.server:get("/metrics").body, world.server:log() }
    table.insert(texts, world:begin_sync("one.example"):answer().body)
    table.insert(texts, world.server:get("/ready/one.example").body)
    for _, text in ipairs(texts) do
      assert.is_nil(text:find(world.service.client_secret, 1, true))
      assert.is_nil(text:find "eyJ") -- how a token begins
    end
  end)
end)
