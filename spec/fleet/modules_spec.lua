-- A fleet has all of its code before its first request: with thousands of sockets open, or after an upgrade
-- of its files hours later, there may be none to be had any more.

local fleet_world = require "support.fleet_world"
local unloaded = require "support.unloaded"

local every_trouble = {
  { kind = "unsent" },
  { kind = "lost_request" },
  { kind = "lost_answer" },
  { kind = "claims_challenge" },
  { kind = "throttle", retry_after = 3 },
  { kind = "status", status = 401 },
  { kind = "status", status = 403, body = '{"error":{"message":"{\\"Message\\":\\"No.\\"}"}}' },
  { kind = "status", status = 409 },
  { kind = "status", status = 429 },
  { kind = "status", status = 503, body = "<html>" },
  { kind = "status", status = 302 },
}

describe("a fleet that cannot load modules any more", function()
  for _, operation in ipairs { "sync", "ensure", "status", "wait" } do
    it("has loaded all modules for any failure of " .. operation, function()
      -- The emulated service loads its own modules first.
      local rehearsal = fleet_world.new { faults = every_trouble }
      fleet_world.collect(
        rehearsal:fleet { tenants = fleet_world.names(20), operation = operation }
      )
      local world = fleet_world.new { faults = every_trouble }
      local given = { tenants = fleet_world.names(20), operation = operation }
      if operation == "sync" or operation == "ensure" then
        given.arguments = { wait = true }
      end
      unloaded.run(function(close_files, missed)
        local fleet = world:fleet(given, require "autopilot.fleet")
        close_files()
        local seen = 0
        for _, report in fleet:run() do
          seen = seen + 1
          local message = report.error and report.error.message or ""
          assert.is_nil(message:find("module", 1, true), message)
        end
        assert.equal(20, seen)
        assert.are.same({}, missed)
      end)
    end)
  end
end)
