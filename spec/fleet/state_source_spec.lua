-- A fleet's state file when the list of tenants fails in the middle: the run is not finished.

local state_of_specs = require "support.state_file"
local world = require "support.fleet_world"

describe("a fleet with a state file whose source of tenants raises", function()
  it("is resumed, and repeats nothing that is done", function()
    local w = world.new()
    local file = state_of_specs.new()
    local breaks_at = 3
    local function tenants()
      local index = 0
      return function()
        index = index + 1
        if index == breaks_at then
          error("the list breaks off", 0)
        end
        return index <= 5 and "t" .. index or nil
      end
    end
    local function run()
      local fleet = w:fleet {
        tenants = tenants,
        state = file.path,
        client = function(tenant)
          return { token = "token-" .. tenant, cooldown = 0 }
        end,
      }
      local done, result = pcall(world.collect, fleet)
      return done, result, fleet
    end
    local done, message = run()
    assert.is_false(done)
    assert.equal("the list breaks off", message)
    assert.equal(2, #w.requests)
    breaks_at = nil
    local reports, fleet
    done, reports, fleet = run()
    assert.is_true(done, tostring(reports))
    assert.equal(2, fleet.summary.known)
    assert.equal(5, fleet.summary.ok)
    for index = 1, 5 do
      assert.equal(1, #w:requests_of("t" .. index))
    end
    file:close()
  end)
end)
