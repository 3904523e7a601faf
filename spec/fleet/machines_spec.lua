-- A fleet over several machines: processes with one list and one PostgreSQL. They are killed, and stopped for longer
-- than their lease lasts; the database is restarted, and crashes; their clocks are 30 s apart; in network namespaces
-- they are cut off, too. By the log of the emulated service no tenant is asked for twice and none is lost, and no
-- report is false.
--
-- MACHINES_COUNT=10000 says how many tenants, MACHINES_MISHAPS how many mishaps, MACHINES_SEED repeats a run,
-- MACHINES_LEASE is the lease in seconds.

local database_server = require "support.database_server"
local emulated_service = require "support.emulated_service"
local files = require "support.files"
local machine_network = require "support.machine_network"
local machines = require "support.machines"
local shell = require "autopilot.cli.emulate.shell"

local obstacle = database_server.obstacle "PostgreSQL"

describe("a fleet over several machines", function()
  if obstacle then
    return pending(obstacle)
  end

  it("asks once for each tenant, whatever happens to the machines", function()
    print("\nmachines: " .. machines.run(false))
  end)

  it("asks once for each tenant when machines are disconnected", function()
    local options = machine_network.namespace_options()
    if not options then
      return pending "network namespaces are not permitted here"
    end
    local script, remove_script = files.temporary [[
      local is_fine, said = pcall(require("support.machines").run, true)
      print((is_fine and "fine: " or "failed: ") .. said)]]
    local said = shell.read(
      'options=$1; shift; exec unshare $options "$@" 2>&1',
      options,
      emulated_service.interpreter(),
      script
    )
    remove_script()
    local summary = said:match "fine: ([^\n]+)"
    assert.truthy(summary, said)
    print("\nmachines, cut off: " .. summary)
  end)
end)
