-- autopilot.openresty in real nginx: many calls at once, every phase, and failures between a worker
-- and the service. What happens to whole workers is in workers_spec, the example in example_spec.

local await = require "support.await"
local nginx_world = require "support.nginx_world"
local openresty_world = require "support.openresty_world"
local process_facts = require "support.process_facts"

local obstacle = nginx_world.obstacle()

describe("autopilot.openresty", function()
  if obstacle then
    return pending(obstacle)
  end

  for _, driver in ipairs { "thread", "polling" } do
    for _, http_version in ipairs { "1.1", "2" } do
      describe(("with the driver %s, over HTTP/%s"):format(driver, http_version), function()
        local world

        setup(function()
          world = openresty_world.start { driver = driver, http_version = http_version }
        end)

        teardown(function()
          world:stop()
        end)

        after_each(function()
          assert.same({}, world.server:complaints())
          assert.same({}, world.upstream.server:complaints())
        end)

        it("answers each of 200 light threads with its own answer, all at once", function()
          local worker = world.server:workers()[1]
          local before = process_facts.resident(worker)
          local result = world:run("many", "token=together-200&count=200")
          assert.same({ started = 200, wrong = 0, others = {} }, {
            started = result.started,
            wrong = result.wrong,
            others = result.others,
          })
          local growth = process_facts.resident(worker) - before -- MiB; a TLS connection needs some 60 KiB
          assert.is_true(growth <= (http_version == "2" and 10 or 20), growth)
          local counts = world.upstream:counts()
          assert.equal(0, counts[http_version == "2" and "http1" or "http2"])
        end)

        it("serves other requests while calls are under way", function()
          local before = world.upstream:counts().requests
          local call = world:begin("many", "token=held&count=50")
          world:await_arrivals(before + 50)
          assert.equal("alive", world.server:get("/alive").body)
          world.upstream:release()
          assert.equal(200, call:answer().status)
        end)

        it(
          "does not run in circles while it waits, nor when there is nothing to wait for",
          function()
            local worker, before = world.server:workers()[1], world.upstream:counts().requests
            local call = world:begin("one", "token=answer-1")
            world:await_arrivals(before + 1)
            local at_begin = process_facts.sleeps(worker)
            assert.equal(200, call:answer().status)
            local at_end = process_facts.sleeps(worker)
            -- A second by polling: 100 looks.
            assert.is_true(at_end - at_begin <= (driver == "thread" and 20 or 250))
            -- A request of a light thread that was killed before is given up after two seconds.
            await("the worker rests", function()
              local at_rest = process_facts.sleeps(worker)
              for _ = 1, 5 do
                world.upstream:counts() -- which takes its time
              end
              return process_facts.sleeps(worker) - at_rest <= 5
            end)
          end
        )

        it("does not disturb other light threads when one is killed", function()
          assert.same({ killed = 1, right = 11 }, world:run "kill")
        end)

        it("reports connection and server certificate in client:doctor", function()
          local checks = world:run "doctor"
          assert.equal("127.0.0.1 is 127.0.0.1", checks.name_resolution.text)
          assert.matches("HTTP/" .. http_version, checks.connection.text)
          assert.matches(
            "^issued by .+, ends .+ GMT; trusted are the authorities of",
            checks.tls.text
          )
        end)

        it("lets a token function sleep and use cosockets", function()
          assert.equal("started", world:run("provider").outcome)
        end)

        it("ends a call to a stalled service at its deadline", function()
          local result = world:run("one", "token=stall&total=1")
          assert.equal("interrupted", result.outcome)
          assert.is_true(result.timeout)
          assert.equal("unknown", result.delivered)
        end)

        it("reports a connection that the service resets", function()
          local result = world:run("one", "token=reset")
          assert.equal("interrupted", result.outcome)
          assert.is_false(result.timeout)
        end)

        it("cancels the call of a disconnected client, and closes its connection", function()
          world:run("many", "token=answer-0&count=20")
          local arrived = world.upstream:counts().requests
          local aborted = world:run("notes").aborted or 0
          local worker = world.server:workers()[1]
          local open_before = process_facts.descriptors(worker)
          local calls = {}
          for index = 1, 20 do
            calls[index] = world:begin "abortable"
          end
          world:await_arrivals(arrived + 20)
          for _, call in ipairs(calls) do
            call:abort()
          end
          await("the handlers of aborted clients", function()
            return world:run("notes").aborted == aborted + 20
          end)
          await("descriptors go back", function()
            world:run "collect"
            return process_facts.descriptors(worker) <= open_before
          end)
          assert.equal("started", world:run("one", "token=answer-0").outcome)
        end)

        it("frees all answers, however many come at once", function()
          -- What the library does not notice would be found out by a timeout, after 10 s and more.
          for round = 1, 30 do
            local result = world:run("many", "token=answer-0&count=" .. 90 + round)
            assert.equal(90 + round, result.started)
            assert.is_true(result.elapsed < 10, result.elapsed)
          end
        end)

        it("has no more descriptors, and hardly more memory, after 20 rounds", function()
          local worker = world.server:workers()[1]
          -- Over HTTP/1.1 idle connections are kept, as many as calls were under way at once.
          local kept = http_version == "2" and 0 or 360
          local most, resident = 0, {}
          for round = 1, 20 do
            world:run("many", "token=answer-0&count=200")
            world:run "collect"
            if round <= 10 then
              most = math.max(most, process_facts.descriptors(worker))
            else -- a connection may still be about to close
              await("descriptors go back", function()
                return process_facts.descriptors(worker) <= math.max(most + 5, kept)
              end)
            end
            resident[round] = process_facts.resident(worker)
          end
          -- MiB: a leak grows in both halves, the heap in a step when more calls overlap than before.
          local growth = math.min(resident[12] - resident[4], resident[20] - resident[12])
          assert.is_true(growth <= 1.6, table.concat(resident, " "))
        end)

        it(
          "fails at once inside a C function, where no call can wait, and sends nothing",
          function()
            local before = world.upstream:counts().requests
            for name, result in pairs(world:run "inside_c") do
              assert.equal(
                "unreachable C_BOUNDARY no",
                table.concat({
                  result.outcome,
                  result.name,
                  result.delivered,
                }, " "),
                name
              )
            end
            assert.equal(before, world.upstream:counts().requests)
          end
        )
      end)
    end
  end

  describe("in each phase", function()
    local world

    setup(function()
      world = openresty_world.start()
      await("the timer of init_worker", function()
        return world:run("notes").timer
      end)
    end)

    teardown(function()
      world:stop()
    end)

    for _, phase in ipairs { "rewrite", "access", "content" } do
      it("works in " .. phase, function()
        assert.equal("done", world.server:get("/" .. phase).body)
        assert.equal("started", world:run("notes")[phase].outcome)
      end)
    end

    it("works in a timer that init_worker has set", function()
      local timer = await("the timer", function()
        return world:run("notes").timer
      end)
      assert.equal("started", timer.outcome)
    end)

    it("fails at once, and asks and sends nothing, in phases that cannot wait", function()
      local before = world.upstream:counts()
      assert.equal("done", world.server:get("/filters").body)
      local notes = await("the log phase", function()
        local notes = world:run "notes"
        return notes.log and notes
      end)
      for _, phase in ipairs { "init", "init_worker", "header_filter", "body_filter", "log" } do
        local result = notes[phase]
        assert.equal("unreachable", result.outcome, phase)
        assert.equal("PHASE", result.name, phase)
        assert.equal("no", result.delivered, phase)
        assert.is_false(result.token_was_asked_for, phase)
      end
      assert.same(before, world.upstream:counts())
      assert.same({}, world.server:complaints())
    end)
  end)
end)
