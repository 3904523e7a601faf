-- `autopilot-sync fleet` where the system allows few open sockets: the other tenants wait for one.

local command_process = require "support.command_process"
local emulated_service = require "support.emulated_service"
local files = require "support.files"

describe("autopilot-sync fleet with a low limit of open files", function()
  it("does not fail for any tenant because of it", function()
    local service = emulated_service.start { duration = 0, http_version = "1.1" }
    local lines = {}
    for index = 1, 200 do
      lines[index] = ("tenant%03d.example\n"):format(index)
    end
    local list, remove = files.temporary(table.concat(lines))
    -- A child process would inherit the descriptors that earlier specs have left open.
    collectgarbage()
    collectgarbage()
    local script = ("ulimit -n 64; program fleet %s --concurrency 150 2>&1; echo $?"):format(list)
    local pipe = command_process.start(script, {
      AUTOPILOT_BASE_URL = service.url,
      AUTOPILOT_CA_FILE = service.ca_file,
      AZURE_AUTHORITY_HOST = service.url,
      AZURE_CLIENT_ID = service.client_id,
      AZURE_CLIENT_SECRET = service.client_secret,
    })
    local output = pipe:read "*a"
    pipe:close()
    service.stop()
    remove()
    assert.matches("^started +200\nin all +200  in [^\n]*\n0\n$", output)
  end)
end)
