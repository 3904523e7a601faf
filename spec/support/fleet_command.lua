--- `autopilot-sync fleet` in this process, for specs: over the emulated service, in a time that passes only
-- in sleeps.

local assert = require "luassert"
local cjson = require "cjson.safe"
local command = require "support.command"
local emulator = require "autopilot.emulator"
local files = require "support.files"

local secret = "hidden&secret"

local fleet_command = { secret = secret, start = 1790000000.25 }

--- The world of a command, the service that it talks to, and what was sent.
---@param given { tenants: table?, faults: table|function|nil, on_request: function? }?
function fleet_command.world(given)
  given = given or {}
  local time = fleet_command.start
  local function now()
    return time
  end
  local service = emulator.new {
    clients = {
      app = { secret = secret },
      other = { secret = "hidden-other" },
      weak = { secret = secret, roles = {} },
    },
    tenants = given.tenants,
    now = now,
    faults = given.faults,
  }
  local answer, requests = service:transport(), {}
  local world = {
    env = { AZURE_CLIENT_ID = "app", AZURE_CLIENT_SECRET = secret },
    now = now,
    clock = now,
    random = function()
      return 0.5
    end,
    sleep = function(seconds)
      time = time + seconds
    end,
    transport = function(request)
      requests[#requests + 1] = request
      if given.on_request then
        given.on_request(request, #requests)
      end
      return answer(request)
    end,
    was_interrupted = function()
      return false
    end,
  }
  return world, service, requests
end

--- Runs a command line on a list. Nothing secret is ever printed.
function fleet_command.run(args, list, world)
  local path, remove = files.temporary(list)
  local ran = command.run("fleet " .. path .. " " .. (args or ""), world)
  remove()
  ran.err = ran.err:gsub(path:gsub("%p", "%%%0"), "LIST")
  assert.is_nil((ran.out .. ran.err):find("hidden", 1, true))
  return ran
end

--- The reports of a text that `--json` has printed, by tenant, and the tenants in their order. Fails when one
-- has two. An incomplete line is ignored: the process was killed while it wrote it.
---@param text string
---@return table<string, table> reports
---@return string[] order
function fleet_command.reports_in(text)
  local reports, order = {}, {}
  for line in text:gmatch "([^\n]*)\n" do
    local report = assert(cjson.decode(line), line)
    assert.is_nil(reports[report.tenant], "a second report of " .. report.tenant)
    reports[report.tenant] = report
    order[#order + 1] = report.tenant
  end
  return reports, order
end

--- The same of a command that ran.
function fleet_command.reports(ran)
  return fleet_command.reports_in(ran.out)
end

--- How many syncs a service has started for each tenant, by the events of its log.
---@param log table[]
---@return table<string, integer>
function fleet_command.syncs_in(log)
  local counts = {}
  for _, event in ipairs(log) do
    if event.event == "sync" then
      counts[event.tenant] = (counts[event.tenant] or 0) + 1
    end
  end
  return counts
end

--- The same of the service of a world.
function fleet_command.syncs(service)
  return fleet_command.syncs_in(service.log)
end

--- A list of so many tenants.
function fleet_command.names(count)
  local lines = {}
  for index = 1, count do
    lines[index] = ("tenant%02d.example"):format(index)
  end
  return table.concat(lines, "\n") .. "\n"
end

return fleet_command
