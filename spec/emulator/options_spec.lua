-- The emulated service's own clock, or that of its user; mistakes in its options and in calls.

local emulated_graph = require "support.emulated_graph"
local emulator = require "autopilot.emulator"

local new_service, sync_request = emulated_graph.new, emulated_graph.sync_request

describe("autopilot.emulator: its clock", function()
  it("stands still until it is advanced", function()
    local service = emulator.new { start = 1000.5 }
    assert.equal(1000.5, service:now())
    service:advance(0.25)
    assert.equal(1000.75, service:now())
    for _, seconds in ipairs { -1, 0 / 0, math.huge, "1" } do
      assert.has_error(function()
        service:advance(seconds)
      end)
    end
    assert.equal(1000.75, service:now())
  end)

  it("may be the user's, who may also supply the pause for a late answer", function()
    local time, slept = 5000, {}
    local service, transport = new_service {
      now = function()
        return time
      end,
      sleep = function(seconds)
        slept[#slept + 1] = seconds
      end,
    }
    service:advance(10)
    time = 5001
    assert.equal(5011, service:now())
    service:inject { kind = "slow_answer", seconds = 3 }
    assert.equal(204, transport(sync_request()).status)
    assert.same({ 3 }, slept)
    assert.equal(5011, service:now())
  end)
end)

describe("autopilot.emulator: mistakes", function()
  it("in an option raise at the caller's line and name it", function()
    local wrong = {
      ["unknown option 'cooldwn' %(did you mean 'cooldown'%?%)"] = { cooldwn = 1 },
      ["option 'cooldown' must be at least 0"] = { cooldown = -1 },
      ["option 'duration' must be at least 0"] = { duration = -1 },
      ["option 'zone' must be 'Z' or an offset such as '%-08:00'"] = { zone = "PST" },
      ["option 'cooldown_from' must be one of"] = { cooldown_from = "start" },
      ["option 'retry_after' must be one of"] = { retry_after = "both" },
      ["build_server: option 'issuer' is required"] = {
        build_server = { key = "secret", subject = "job" },
      },
      ["build_server: option 'key' must be a string %(got number%)"] = {
        build_server = { key = 7, subject = "job", issuer = "https://build.test" },
      },
      ["identity: unknown option 'clientid' %(did you mean 'client_id'%?%)"] = {
        identity = { tenant = "t", clientid = "c" },
      },
      ["tokens: option 'tenant' is required"] = { tokens = { secret = {} } },
      ["clients: unknown option 'secrt' %(did you mean 'secret'%?%)"] = {
        clients = { app = { secrt = "x" } },
      },
      ["option 'clients' must be a map from texts to tables"] = { clients = { app = "secret" } },
      ["option 'tenants' must be a map from texts to tables"] = { tenants = { "contoso" } },
      ["faults: option 'kind' is required"] = { faults = { {} } },
    }
    for message, given in pairs(wrong) do
      local ok, told = pcall(function()
        local made = emulator.new(given)
        return made
      end)
      assert.is_false(ok)
      assert.matches("options_spec%.lua:%d+: autopilot%.emulator%.new: " .. message, told)
      assert.is_nil(told:gsub("'secret'", ""):find("secret", 1, true))
    end
  end)

  it("in a tenant raise at the caller's line", function()
    local service = emulator.new()
    for _, tenant in ipairs { false, 7 } do
      for _, method in ipairs { "trigger", "record" } do
        local ok, told = pcall(function()
          local answer = service[method](service, tenant or nil)
          return answer
        end)
        assert.is_false(ok)
        local message = "autopilot%.emulator: a tenant must be an id or a domain$"
        assert.matches("options_spec%.lua:%d+: " .. message, told)
      end
    end
  end)

  it("in a request raise as well", function()
    local service = emulator.new()
    for _, request in ipairs { 7, {}, { method = "GET" }, { url = "/" } } do
      assert.has_error(function()
        service:handle(request)
      end)
    end
  end)
end)
