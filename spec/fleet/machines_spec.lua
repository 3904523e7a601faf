-- A fleet over several machines: processes with one list and one PostgreSQL. They are killed, and stopped for longer
-- than their lease lasts; the database is restarted, and crashes; their clocks are 30 s apart. By the log of the
-- emulated service no tenant is asked for twice and none is lost, and no report is false.

local cjson = require "cjson.safe"
local core = require "autopilot.core"
local database_server = require "support.database_server"
local emulated_service = require "support.emulated_service"
local files = require "support.files"
local nginx_world = require "support.nginx_world"
local shell = require "autopilot.cli.emulate.shell"

local obstacle = database_server.obstacle "PostgreSQL"

-- Seconds of a machine's lease in these specs.
local lease = 1.5

--- One machine: prints its process id, then a line for each report.
local machine = [[
local autopilot, core = require "autopilot", require "autopilot.core"
local json = require "cjson"
local given = json.decode(io.read "*a")
io.stdout:setvbuf "line"
print(core.process_id())
local function now() return core.now() + given.ahead end
local tenants = {}
for number = 1, given.count do
  tenants[number] = ("tenant-%d.example"):format(number)
end
local state, message
for _ = 1, 100 do -- the database may be restarting
  state, message = require "autopilot.fleet.shared_state" {
    path = given.database, subject = "sync", host = given.url, resume_within = 3600,
    cooldown = 600, cooldown_margin = 10, now = now, clock = core.clock, lease = given.lease,
  }
  if state then break end
  core.sleep(0.1)
end
assert(state, message)
local fleet = assert(autopilot.fleet {
  tenants = tenants, state = state, concurrency = 8, now = now,
  client = {
    token = autopilot.token.client_secret {
      client_id = given.client_id, client_secret = given.client_secret, authority = given.url,
    },
    base_url = given.url, http = { ca_file = given.ca_file },
  },
})
local summary = fleet:run {
  on_report = function(tenant, report)
    print(("%s %s %s"):format(tenant, report.outcome, report.recalled and "recalled" or "own"))
  end,
}
state:finish()
state:close()
print("end " .. summary.ok)
]]

describe("a fleet over several machines", function()
  if obstacle then
    return pending(obstacle)
  end

  local server, service, script, remove_script

  setup(function()
    server, service = database_server.start "PostgreSQL", emulated_service.start()
    script, remove_script = files.temporary(machine)
  end)

  teardown(function()
    service.stop()
    server:remove()
    remove_script()
  end)

  local function database()
    return ("postgresql://tester:%s@127.0.0.1:%d/postgres"):format(server.password, server.port)
  end

  --- Starts a machine; its output goes to a file.
  local function begin(count, ahead)
    local given = {
      database = database(),
      url = service.url,
      ca_file = service.ca_file,
      client_id = service.client_id,
      client_secret = service.client_secret,
      count = count,
      lease = lease,
      ahead = ahead,
    }
    local input, remove_input = files.temporary(cjson.encode(given))
    local output, remove_output = files.temporary ""
    shell.read(
      '"$1" "$2" <"$3" >"$4" 2>&1 &',
      emulated_service.interpreter(),
      script,
      input,
      output
    )
    local self = { output = output }
    function self.text()
      return files.read(output) or ""
    end
    self.process = nginx_world.await("a machine starts", function()
      return self.text():match "^(%d+)\n"
    end)
    function self.signal(name)
      shell.read('kill -s "$1" "$2" 2>/dev/null', name, self.process)
    end
    function self.remove()
      self.signal "KILL"
      remove_input()
      remove_output()
    end
    return self
  end

  --- How often each tenant was asked for, by the service's log.
  local function posts()
    local counts = {}
    for _, entry in ipairs(service:control("GET", "log")) do
      if entry.event == "request" and entry.operation == "sync" then
        counts[entry.tenant] = (counts[entry.tenant] or 0) + 1
      end
    end
    return counts
  end

  it("asks for each tenant once, whatever befalls the machines", function()
    local random = require("support.seeded_random").new "MACHINES_SEED"
    local count = 240
    for _ = 1, count do
      service:control("POST", "faults", { kind = "slow_answer", on = "sync", seconds = 0.3 })
    end
    local machines, outputs = {}, {}
    for number = 1, 3 do
      machines[number] = begin(count, 30 * (number - 2))
    end
    for _ = 1, 6 do
      local index = random:integer(1, 3)
      local chosen = machines[index]
      local mishap = random:pick { "kill", "stop", "restart", "crash" }
      if mishap == "restart" then
        server:stop()
        server:start()
      elseif mishap == "crash" then
        server:crash()
      elseif mishap == "kill" then
        chosen.signal "KILL"
        outputs[#outputs + 1] = chosen
        machines[index] = begin(count, 30 * random:integer(-1, 1))
      else
        chosen.signal "STOP"
        core.sleep(1.4 * lease)
        chosen.signal "CONT"
      end
      core.sleep(0.3)
    end
    for _, last in ipairs(machines) do
      nginx_world.await("the end of the run", function()
        assert(not last.text():find("traceback", 1, true), last.text())
        return last.text():match "\nend %d+\n"
      end)
      outputs[#outputs + 1] = last
    end
    local counts, told = posts(), {}
    for number = 1, count do
      local tenant = ("tenant-%d.example"):format(number)
      assert.are.equal(1, counts[tenant], tenant .. " " .. tostring(random))
    end
    for _, output in ipairs(outputs) do
      for tenant, outcome in output.text():gmatch "(tenant%S+) (%S+) %l+\n" do
        -- A machine whose lease has ended says that it did not ask.
        local is_true = outcome == "started" or outcome == "unreachable"
        told[outcome] = (told[outcome] or 0) + 1
        assert.is_true(is_true, ("%s %s %s"):format(tenant, outcome, tostring(random)))
      end
      output.remove()
    end
    -- Each of the last machines has told all tenants.
    assert.is_true(told.started >= 3 * count - (told.unreachable or 0), tostring(random))
  end)
end)
