--- Machines that do one run of a fleet together, and what happens to them: they are killed, stopped for longer than
--- their lease, and cut off; the database is restarted, and crashes; their clocks are 30 s apart.
--
-- Isolated, each machine is in its own network namespace (`support.machine_network`), and this process must be in one
-- of the spec's own.

local await = require "support.await"
local cjson = require "cjson.safe"
local core = require "autopilot.core"
local database = require "autopilot.store.database"
local database_server = require "support.database_server"
local emulated_service = require "support.emulated_service"
local files = require "support.files"
local judge = require "support.machine_judge"
local network = require "support.machine_network"
local shell = require "autopilot.cli.emulate.shell"
local seeded_random = require "support.seeded_random"

local machines = {}

local function setting(name, default)
  return tonumber(os.getenv("MACHINES_" .. name)) or default
end

--- One machine: prints its process id, a line for each report, and then `end`.
local program = [[
local autopilot, core = require "autopilot", require "autopilot.core"
local json = require "cjson"
local given = json.decode(io.read "*a")
io.stdout:setvbuf "line"
print(core.process_id())
local function now() return core.now() + given.ahead end
local tenants = {}
for number = 1, given.count do
  tenants[number] = ("%s-%d.example"):format(given.name, number)
end
local state, message
for _ = 1, 300 do -- the database may be away
  state, message = require "autopilot.fleet.shared_state" {
    path = given.database, subject = given.name, host = given.url, resume_within = 3600,
    cooldown = 600, cooldown_margin = 10, now = now, clock = core.clock, lease = given.lease,
  }
  if state then break end
  core.sleep(0.1)
end
assert(state, message)
local fleet = assert(autopilot.fleet {
  tenants = tenants, state = state, concurrency = given.concurrency, now = now,
  client = {
    token = autopilot.token.client_secret {
      client_id = given.client_id, client_secret = given.client_secret, authority = given.url,
    },
    base_url = given.url, http = { ca_file = given.ca_file },
  },
})
fleet:run {
  on_report = function(tenant, report)
    local ids = {}
    for index, attempt in ipairs(report.attempts or {}) do
      ids[index] = attempt.client_request_id
    end
    print(json.encode {
      tenant = tenant, ok = report.ok, outcome = report.outcome, delivered = report.delivered,
      confirmed_by = report.confirmed_by, recalled = report.recalled, ids = ids,
      text = tostring(report),
    })
  end,
}
state:finish()
state:close()
print "end"
]]

---@class support.MachineWorld
local World = {}
World.__index = World

--- The address of the database.
function World:address()
  local form = "postgresql://tester:%s@127.0.0.1:%d/postgres"
  return form:format(self.server.password, self.server.port)
end

--- Starts a machine in the place of that number.
function World:begin(number, ahead)
  local given = {
    database = self:address(),
    url = self.service.url,
    ca_file = self.service.ca_file,
    client_id = self.service.client_id,
    client_secret = self.service.client_secret,
    count = self.count,
    concurrency = self.concurrency,
    lease = self.lease,
    name = self.name,
    ahead = ahead,
  }
  local input, remove_input = files.temporary(cjson.encode(given))
  local output, remove_output = files.temporary ""
  local place = self.places[number]
  shell.read(
    'case $5 in "") ;; *) set -- "$@" nsenter -t "$5" -n ;; esac; a=$1 b=$2 c=$3 d=$4; shift 5; '
      .. 'timeout -s KILL 900 "$@" "$a" "$b" <"$c" >"$d" 2>&1 &',
    emulated_service.interpreter(),
    self.script,
    input,
    output,
    place and place.process or ""
  )
  local machine = { number = number }
  function machine.text()
    return files.read(output) or ""
  end
  machine.process = await("a machine starts", function()
    return machine.text():match "^(%d+)\n"
  end, self.patience)
  function machine.signal(name)
    shell.read('kill -s "$1" "$2" 2>/dev/null', name, machine.process)
  end
  function machine.has_ended()
    local text = machine.text()
    assert(not text:find("traceback", 1, true), text:sub(-2000))
    return text:sub(-5) == "\nend\n"
  end
  function machine.remove()
    machine.signal "KILL"
    remove_input()
    remove_output()
  end
  self.begun[#self.begun + 1] = machine
  return machine
end

--- Lets answers to requests for a sync come late.
function World:slow_down(count, seconds)
  local faults = {}
  for _ = 1, count do
    faults[#faults + 1] = { kind = "slow_answer", on = "sync", seconds = seconds() }
    if #faults == 100 then
      self.service:control("POST", "faults", faults)
      faults = {}
    end
  end
  if #faults > 0 then
    self.service:control("POST", "faults", faults)
  end
end

--- What can happen to a machine, or to the database.
local mishaps = {
  kill = function(world, number)
    world.machines[number].signal "KILL"
    world.machines[number] = world:begin(number, 30 * world.random:integer(-1, 1))
  end,
  stop = function(world, number)
    world.machines[number].signal "STOP"
    core.sleep((1 + world.random.draw()) * world.lease)
    world.machines[number].signal "CONT"
  end,
  restart = function(world)
    world.server:stop()
    world.server:start()
  end,
  crash = function(world)
    world.server:crash()
  end,
  cut = function(world, number)
    world.places[number].link "down"
    core.sleep(2.5 * world.random.draw() * world.lease)
    world.places[number].link "up"
  end,
}

--- Raises if the run is not marked as finished, although all tenants were asked for.
function World:check_end(lost)
  local options = { driver = "PostgreSQL", database = self:address() }
  local connection = database.connect(options, function() end)
  local text = "SELECT count(*) FROM autopilot_run_2 WHERE finished_at IS NULL"
  local rows = assert(connection:call(database.run, text))
  connection:shut()
  assert(lost > 0 or tonumber(rows[1][1]) == 0, "the run was not finished")
end

--- Three machines do one run, and mishaps happen to them.
local function run_with_mishaps(world, most)
  local random, seen = world.random, {}
  world:slow_down(world.count, function()
    return 0.6 * random.draw()
  end)
  for number = 1, 3 do
    world.machines[number] = world:begin(number, 30 * (number - 2))
  end
  local kinds = { "kill", "stop", "restart", "crash", world.places[1] and "cut" or nil }
  for _ = 1, most do
    core.sleep(0.5 * random.draw())
    local kind, number = random:pick(kinds), random:integer(1, 3)
    if world.machines[number].has_ended() then
      break
    end
    mishaps[kind](world, number)
    seen[#seen + 1] = kind
  end
  for _, machine in ipairs(world.machines) do
    await("the end of the run", machine.has_ended, world.patience)
  end
  return seen
end

--- Cuts a machine off that has just sent requests, until another has taken its tenants over. What it has sent must
--- not arrive when the network is back, although its system would send it again.
local function cut_off(world)
  world.name, world.count = "late", 20 * world.concurrency
  local lease = world.lease
  world.lease = 2 * lease -- a busy machine may be slow to read what has arrived
  local lonely = world:begin(1, 0)
  await("the first machine asks", function()
    for tenant in pairs((judge.posts(world.service))) do
      if tenant:find "^late" then
        return true
      end
    end
  end, world.patience)
  world.places[1].link "down"
  local other = world:begin(2, 0)
  await("the second machine reports all", other.has_ended, world.patience)
  world.places[1].link "up"
  await("the first machine ends", lonely.has_ended, world.patience)
  judge.check_posts((judge.posts(world.service)))
  world.lease = lease
end

--- Seconds until the tenants of a killed machine are in progress on another.
local function take_over(world)
  world.name, world.count = "other", world.concurrency
  world:slow_down(world.count, function()
    return 600
  end)
  local dead = world:begin(1, 0)
  await("the first machine asks", function()
    local asked = 0
    for tenant in pairs((judge.posts(world.service))) do
      asked = asked + (tenant:find "^other" and 1 or 0)
    end
    return asked == world.count
  end, world.patience)
  local other = world:begin(2, 30)
  core.sleep(0.5)
  local killed_at = core.clock()
  dead.signal "KILL"
  await("the second machine reports all", other.has_ended, world.patience)
  return core.clock() - killed_at
end

--- Runs everything. Raises what went wrong.
---@param is_isolated boolean
---@return string summary
function machines.run(is_isolated)
  local count = setting("COUNT", is_isolated and 600 or 240)
  local world = setmetatable({
    random = seeded_random.new "MACHINES_SEED",
    lease = setting("LEASE", 1.5),
    count = count,
    concurrency = setting("CONCURRENCY", 16),
    patience = setting("PATIENCE", 120 + count / 10),
    name = "tenant",
    begun = {},
    machines = {},
    places = {},
  }, World)
  if is_isolated then
    network.prepare()
    for number = 1, 3 do
      world.places[number] = network.namespace(number)
    end
  end
  local remove_script
  world.script, remove_script = files.temporary(program)
  world.server = database_server.start "PostgreSQL"
  world.service = emulated_service.start { emulator = { log_limit = 20 * count + 20000 } }
  local is_fine, result = xpcall(function()
    local seen = run_with_mishaps(world, setting("MISHAPS", is_isolated and 12 or 6))
    local told, lost = judge.check_all(world)
    world:check_end(lost)
    if is_isolated then
      cut_off(world)
    end
    local seconds = take_over(world)
    local limit = 60 / 45 * world.lease + 5
    assert(seconds <= limit, ("taken over after %.1f s"):format(seconds))
    local outcomes = {}
    for outcome, number in pairs(told) do
      outcomes[#outcomes + 1] = ("%d %s"):format(number, outcome)
    end
    table.sort(outcomes)
    local text = "%d tenants (%s), %s: %s; %d not asked for; taken over after %.1f s, lease %.1f s"
    local said, reports = table.concat(seen, " "), table.concat(outcomes, ", ")
    local seed = tostring(world.random)
    return text:format(count, seed, said, reports, lost, seconds, world.lease)
  end, debug.traceback)
  for _, machine in ipairs(world.begun) do
    machine.remove()
  end
  world.service.stop()
  world.server:remove()
  for _, place in ipairs(world.places) do
    place.remove()
  end
  remove_script()
  return is_fine and result or error(("%s (%s)"):format(result, tostring(world.random)), 0)
end

return machines
