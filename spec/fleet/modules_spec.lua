-- A fleet has all of its code before its first request: with thousands of sockets open, or after an upgrade
-- of its files hours later, there may be none to be had any more.

local fleet_world = require "support.fleet_world"

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

--- Runs the function with none of our Lua modules loaded, and gives back those that were.
local function without_modules(act)
  local loaded = {}
  for module, value in pairs(package.loaded) do
    if module:find "^autopilot" and module ~= "autopilot.core" then
      loaded[module] = value
    end
  end
  local path, cpath = package.path, package.cpath
  for module in pairs(loaded) do
    package.loaded[module] = nil
  end
  local done, message = pcall(act)
  package.path, package.cpath = path, cpath
  for module in pairs(package.loaded) do
    if module:find "^autopilot" and module ~= "autopilot.core" then
      package.loaded[module] = nil
    end
  end
  for module, value in pairs(loaded) do
    package.loaded[module] = value
  end
  assert(done, message)
end

describe("a fleet that cannot load modules any more", function()
  for _, operation in ipairs { "sync", "ensure", "status", "wait" } do
    it("has what it needs for " .. operation .. ", whatever goes wrong", function()
      -- The service has all of its own before.
      local rehearsal = fleet_world.new { faults = every_trouble }
      fleet_world.collect(
        rehearsal:fleet { tenants = fleet_world.names(20), operation = operation }
      )
      local world = fleet_world.new { faults = every_trouble }
      local given = { tenants = fleet_world.names(20), operation = operation }
      if operation == "sync" or operation == "ensure" then
        given.arguments = { wait = true }
      end
      without_modules(function()
        local fleet = world:fleet(given, require "autopilot.fleet")
        package.path, package.cpath = "", ""
        local seen = 0
        for _, report in fleet:run() do
          seen = seen + 1
          local message = report.error and report.error.message or ""
          assert.is_nil(message:find("module", 1, true), message)
        end
        assert.equal(20, seen)
      end)
    end)
  end
end)
