-- What the tenants of a fleet share, and what each has for itself.

local autopilot = require "autopilot"
local core = require "autopilot.core"
local hostile = require "support.hostile_server"
local wire = require "support.wire"
local world = require "support.fleet_world"

describe("the retries of a fleet", function()
  it("are limited to a fifth of the successes, plus an initial allowance", function()
    local w = world.new()
    local inner, requests = w:transport(), 0
    local fleet = w:fleet {
      tenants = world.names(500),
      concurrency = 10,
      transport = function(request)
        requests = requests + 1
        local number = tonumber(request.headers["Authorization"]:match "%d+$")
        if number % 5 ~= 0 then
          local response, network = inner(request)
          return response, network
        end
        coroutine.yield(w.time - world.start + 0.2)
        return nil, { stage = "connect", name = "X", message = "no route", delivered = "no" }
      end,
      client = function(tenant)
        local number = tonumber(tenant:match "%d+")
        -- Each failing tenant has its own host, so that no host's circuit opens.
        local base = number % 5 == 0 and ("https://h%d.example"):format(number) or nil
        return { token = "token-" .. tenant, base_url = base }
      end,
    }
    world.collect(fleet)
    local retries = requests - 500
    assert.equal(400, fleet.summary.ok)
    local begins_with, seconds = 20, w.time - world.start
    assert.is_true(retries > begins_with)
    assert.is_true(retries <= begins_with + 400 / 5 + seconds / 5 + 1, retries)
  end)
end)

describe("the connections of a fleet", function()
  after_each(wire.close)
  teardown(wire.teardown)

  local function stepped_with_server(given)
    given.wait = function(set)
      hostile.step()
      set:step(0.001)
    end
    given.concurrency = 1
    return autopilot.fleet(given)
  end

  it("are shared by the tenants of a run, and by consecutive runs", function()
    local server = hostile.listen(function(connection)
      connection:serve()
    end)
    local fleet = stepped_with_server({
      tenants = { "t1", "t2", "t3" },
      client = {
        token = function()
          return "token"
        end,
        base_url = server:url "",
      },
    })
    for _ = 1, 2 do
      assert.equal(3, fleet:run({ on_report = function() end }).ok)
    end
    fleet:close()
    hostile.settle()
    assert.equal(1, #server.connections)
  end)

  it("are not used after a fork", function()
    local server = hostile.listen(function(connection)
      connection:serve()
    end)
    local fleet = stepped_with_server({
      tenants = { "t1" },
      client = { token = "token", base_url = server:url "" },
    })
    assert.equal(1, fleet:run({ on_report = function() end }).ok)
    local process_id = core.process_id
    core.process_id = function()
      return process_id() + 1
    end
    local done, summary = pcall(fleet.run, fleet, { on_report = function() end })
    core.process_id = process_id
    assert.is_true(done, tostring(summary))
    assert.equal(1, summary.ok)
    hostile.settle()
    assert.equal(2, #server.connections)
  end)

  it("obey each tenant's own options", function()
    local server = hostile.listen(function(connection)
      connection:serve()
    end)
    local fleet = stepped_with_server({
      tenants = { "one", "two", "one" },
      client = function(tenant)
        return {
          token = "token",
          base_url = server:url "",
          http = { user_agent = "agent-" .. tenant },
        }
      end,
    })
    assert.equal(3, fleet:run({ on_report = function() end }).ok)
    hostile.settle()
    local agents = {}
    for _, connection in ipairs(server.connections) do
      for agent in connection.transcript:gmatch "agent%-(%a+)" do
        agents[#agents + 1] = agent
      end
    end
    assert.equal("one two one", table.concat(agents, " "))
  end)
end)

describe("a list of tenants whose starts are spread", function()
  it("is read ahead, but not to its end", function()
    local w, read = world.new(), 0
    local fleet = w:fleet {
      tenants = function()
        read = read + 1
        return "t" .. read % 3000 -- without end
      end,
      operation = "status",
      spread = 1000,
    }
    fleet:run()()
    fleet:close()
    assert.is_true(read >= 20000 and read <= 20100, read)
  end)
end)
