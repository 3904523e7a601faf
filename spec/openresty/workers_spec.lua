-- autopilot.openresty and events of whole workers: several of them, a reload, a crash, a name server
-- that does not answer.

local await = require "support.await"
local cjson = require "cjson.safe"
local database_server = require "support.database_server"
local libcurl = require "support.libcurl"
local nginx_world = require "support.nginx_world"
local openresty_world = require "support.openresty_world"
local slow_dns = require "support.slow_dns"

local obstacle = nginx_world.obstacle()

--- Sends that many calls; the i-th has the id `id-i`.
local function begin_calls(world, token, count)
  local calls = {}
  for index = 1, count do
    calls[index] = world:begin("one", ("token=%s&id=id-%d"):format(token, index))
  end
  return calls
end

--- How many were started and answered with their own id, how many not at all, and by which workers.
local function answers_of(calls)
  local result, workers = { right = 0, wrong = 0, none = 0 }, {}
  for index, call in ipairs(calls) do
    local answer = call:answer()
    local body = cjson.decode(answer.body)
    if answer.status == 0 then
      result.none = result.none + 1
    elseif body and body.outcome == "started" and body.request_id == "id-" .. index then
      result.right = result.right + 1
      workers[body.worker] = true
    else
      result.wrong = result.wrong + 1
    end
  end
  return result, workers
end

describe("autopilot.openresty", function()
  if obstacle then
    return pending(obstacle)
  end

  it("needs few of the worker's connections, however many calls there are", function()
    local world = openresty_world.start { connections = 64 }
    local result = world:run("many", "token=together-200&count=200")
    assert.same({ 200, 0, {} }, { result.started, result.wrong, result.others })
    result = world:run("many", "token=stall&count=50&total=3&late=50")
    assert.equal(100, #result.others)
    for _, other in ipairs(result.others) do
      assert.equal("interrupted", other.outcome)
    end
    assert.equal(300, world.upstream:counts().requests)
    assert.equal(30, world:run("many", "token=answer-0&count=30").started)
    local complaints = world.server:complaints()
    world:stop()
    assert.same({}, complaints)
  end)

  for _, driver in ipairs { "thread", "polling" } do
    it("lets calls wait if there are few descriptors, with the driver " .. driver, function()
      local world = openresty_world.start {
        connections = 400,
        descriptors = 120,
        http_version = "1.1",
        driver = driver,
      }
      local result = world:run("many", "token=answer-0.2&count=200")
      for _, other in ipairs(result.others) do
        assert.same({ "unreachable", "no" }, { other.outcome, other.delivered })
      end
      assert.equal(200, result.started + #result.others)
      if not libcurl.is_between("8.10", "8.13") then -- these may open too many connections
        assert.equal(200, result.started)
      end
      assert.equal(result.started, world.upstream:counts().requests)
      local complaints = world.server:complaints { "exceed open file resource limit" }
      world:stop()
      assert.same({}, complaints)
    end)
  end

  it("reports that nginx ended a worker before the answer came", function()
    local world = openresty_world.start { shutdown_timeout = 1 }
    world:run("detached", "token=stall")
    world:await_arrivals(1)
    world.server:reload()
    local result = await("the end of the old worker's call", function()
      return world:run("notes").detached
    end)
    local complaints = world.server:complaints()
    world:stop()
    assert.same({ "interrupted", "unknown", "WORKER_SHUTDOWN" }, {
      result.outcome,
      result.delivered,
      result.name,
    })
    assert.same({}, complaints)
  end)

  it("continues for a tenant whose request crashed, once its claim has expired", function()
    local world = openresty_world.start { workers = 2 }
    local doomed = world:begin("shared", "token=stall")
    world:await_arrivals(1)
    for _, worker in ipairs(world.server:workers()) do
      world.server:kill_worker(worker)
    end
    assert.equal(0, doomed:answer().status)
    -- It may have been delivered, so it is not sent again at once: other calls report when it may be.
    local impatient = world:run("shared", "token=answer-0&deadline=0.2")
    assert.equal("in_progress", impatient.outcome)
    assert.equal("no", impatient.delivered)
    assert.is_true(impatient.retry_after > 0 and impatient.retry_after < 15)
    assert.equal(1, world.upstream:counts().requests)
    assert.equal("started", world:run("shared", "token=answer-0").outcome)
    assert.equal(2, world.upstream:counts().requests)
    local complaints = world.server:complaints { "worker process %d+ exited on signal 9" }
    world:stop()
    assert.same({}, complaints)
  end)

  it("sends one request if three hosts with one Redis ask for a tenant at once", function()
    local missing = database_server.obstacle "Redis"
    if missing then
      return pending(missing)
    end
    local redis = database_server.start "Redis"
    local environment = { STORE = redis:options().url }
    local hosts = { openresty_world.start { environment = environment } }
    local upstream = hosts[1].upstream
    for number = 2, 3 do
      hosts[number] = openresty_world.start { environment = environment, upstream = upstream }
    end
    local calls, outcomes = {}, {}
    for number = 1, 60 do
      calls[number] = hosts[number % 3 + 1]:begin("shared", "token=held&total=30")
    end
    for _, host in ipairs(hosts) do
      await("all calls begin", function()
        return host:run("notes").begun == 20
      end)
    end
    upstream:release()
    for _, call in ipairs(calls) do
      local outcome = cjson.decode(call:answer().body).outcome
      outcomes[outcome] = (outcomes[outcome] or 0) + 1
    end
    assert.same({ started = 60 }, outcomes)
    assert.equal(1, upstream:counts().requests)
    for _, host in ipairs(hosts) do
      assert.same({}, host.server:complaints())
      host.server:stop()
    end
    upstream:stop()
    redis:remove()
  end)

  for _, driver in ipairs { "thread", "polling" } do
    describe("with the driver " .. driver .. " in several workers", function()
      local world

      before_each(function()
        world = openresty_world.start { driver = driver, workers = 2 }
      end)

      after_each(function()
        world:stop()
      end)

      it("gives 200 requests at once their own answers", function()
        local result, workers = answers_of(begin_calls(world, "together-200", 200))
        assert.same({ right = 200, wrong = 0, none = 0 }, result)
        local count = 0
        for _ in pairs(workers) do
          count = count + 1
        end
        assert.equal(2, count)
        assert.same({}, world.server:complaints())
      end)

      it("finishes what was begun before a reload, and then ends the old workers", function()
        local before = world.server:workers()
        local calls = begin_calls(world, "held", 40)
        world:await_arrivals(40)
        world.server:reload()
        world.upstream:release()
        assert.same({ right = 40, wrong = 0, none = 0 }, (answers_of(calls)))
        await("the old workers end", function()
          return world.server:process_count() == 2
        end)
        assert.not_same(before, world.server:workers())
        assert.same(
          { right = 10, wrong = 0, none = 0 },
          (answers_of(begin_calls(world, "answer-0", 10)))
        )
        assert.same({}, world.server:complaints())
      end)

      it("isolates the crash of a worker, and its successor works", function()
        local calls = begin_calls(world, "held", 60)
        world:await_arrivals(60)
        world.server:kill_worker(world.server:workers()[1])
        world.upstream:release()
        local result = answers_of(calls)
        assert.equal(0, result.wrong)
        assert.is_true(result.none > 0 and result.none < 60, result.none)
        assert.equal(60, result.none + result.right)
        local later, workers = answers_of(begin_calls(world, "answer-0", 60))
        assert.same({ right = 60, wrong = 0, none = 0 }, later)
        for _, worker in ipairs(world.server:workers()) do
          assert.is_true(workers[worker])
        end
        assert.same({}, world.server:complaints { "worker process %d+ exited on signal 9" })
      end)
    end)

    describe("with the driver " .. driver .. " and a name server that does not answer", function()
      local world, names

      before_each(function()
        names = slow_dns.new()
        world = openresty_world.start {
          driver = driver,
          host = "graph.example.test",
          environment = names.environment,
        }
      end)

      after_each(function()
        names:open()
        world:stop()
        names:remove()
      end)

      it("serves others while names are looked up", function()
        local calls = begin_calls(world, "answer-0", 20)
        for _ = 1, 20 do
          assert.equal("alive", world.server:get("/alive").body)
        end
        assert.equal(0, world.upstream:counts().requests)
        names:open()
        assert.same({ right = 20, wrong = 0, none = 0 }, (answers_of(calls)))
        assert.same({}, world.server:complaints())
      end)

      it("ends a call at its deadline, even if the name is still being looked up", function()
        local result = world:run("one", "token=answer-0&total=0.2")
        assert.equal("unreachable", result.outcome)
        assert.equal("resolve", result.stage)
        assert.is_true(result.timeout)
        assert.equal("no", result.delivered)
        assert.same({}, world.server:complaints())
      end)
    end)
  end
end)
