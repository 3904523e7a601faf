--- Machines that do one run of a fleet together, and what happens to them: they are killed, stopped for longer than
--- their lease, and cut off; the database is restarted, and crashes; their clocks are 30 s apart.
--
-- Isolated, each machine is in its own network namespace. The database and the service are in that of this
-- process, which must be the spec's own. Their loopback address is reached by each machine through a link that can be
-- taken down.

local cjson = require "cjson.safe"
local core = require "autopilot.core"
local database = require "autopilot.store.database"
local database_server = require "support.database_server"
local emulated_service = require "support.emulated_service"
local files = require "support.files"
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

--- The options of `unshare` with which this user may make network namespaces, or nil.
---@return string?
function machines.namespace_options()
  local try = [[
    for options in "-n" "-c --keep-caps -n"; do
      unshare $options sh -c '
        ip link set lo up && ip link add one type veth peer name other &&
        echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet && nsenter -t $$ -n true' \
        >/dev/null 2>&1 && { printf '%s\n' "$options"; exit; }
    done]]
  return shell.read(try):match "^[^\n]+"
end

local function await(what, seconds, reached)
  local deadline = core.clock() + seconds
  local result = reached()
  while not result do
    assert(core.clock() < deadline, "it did not happen: " .. what)
    core.sleep(0.02)
    result = reached()
  end
  return result
end

---@class support.MachineWorld
local World = {}
World.__index = World

--- A namespace with a link to this one; nil without isolation.
local function namespace(number)
  local path, remove = files.temporary ""
  local holder =
    assert(io.popen(("exec unshare -n sh -c 'echo $$ >%s; exec cat >/dev/null'"):format(path), "w"))
  local process = await("a namespace", 10, function()
    return files.read(path):match "^(%d+)\n"
  end)
  remove()
  local made = shell.read(
    [[
    set -e
    ip link add "machine$1" type veth peer name uplink netns "$2"
    echo 1 >"/proc/sys/net/ipv4/conf/machine$1/route_localnet"
    ip addr add "10.9.$1.1/24" dev "machine$1"
    ip link set "machine$1" up
    nsenter -t "$2" -n sh -ec '
      echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet
      ip addr add "10.9.$1.2/24" dev uplink
      ip link set uplink up
      ip route add 127.0.0.1/32 via "10.9.$1.1" dev uplink src "10.9.$1.2"' sh "$1"
    echo made]],
    tostring(number),
    process
  )
  assert(made == "made\n", "a namespace was not made")
  return {
    process = process,
    link = function(state)
      shell.read('ip link set "machine$1" "$2"', tostring(number), state)
    end,
    remove = function()
      holder:close()
    end,
  }
end

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
  machine.process = await("a machine starts", self.patience, function()
    return machine.text():match "^(%d+)\n"
  end)
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

--- What happened to the requests for a sync, by the service's log: statuses by tenant, and by client request id.
function World:posts()
  local by_tenant, by_id = {}, {}
  for _, entry in ipairs(self.service:control("GET", "log")) do
    if entry.event == "request" and entry.operation == "sync" then
      by_tenant[entry.tenant] = by_tenant[entry.tenant] or {}
      table.insert(by_tenant[entry.tenant], entry.status)
      by_id[entry.client_request_id] = entry.status
    end
  end
  return by_tenant, by_id
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

--- Raises for each field of a report that is untrue, by the service's log.
local function check(report, posts, by_id)
  local own = {} -- statuses of this report's own requests
  for _, id in ipairs(report.ids) do
    own[#own + 1] = by_id[id]
  end
  local count = posts[report.tenant] and #posts[report.tenant] or 0
  local is_true
  if report.ok then
    is_true = report.outcome == "started" and count == 1
  elseif report.delivered == "no" then
    is_true = #own == 0
  else
    is_true = report.delivered == "unknown" and report.outcome ~= "in_progress"
  end
  assert(is_true, ("%s, but %d requests were seen: %s"):format(report.text, count, #own))
end

--- Raises if a tenant was asked for twice.
local function check_posts(posts)
  for tenant, statuses in pairs(posts) do
    local said = table.concat(statuses, ", ")
    assert(#statuses == 1, ("%s was asked for %d times: %s"):format(tenant, #statuses, said))
  end
end

--- Checks all reports and requests; returns how many tenants have which outcome at the end.
function World:check_all()
  local posts, by_id = self:posts()
  local told = {}
  check_posts(posts)
  for _, machine in ipairs(self.begun) do
    local seen = 0
    for line in machine.text():gmatch "(%b{})\n" do
      local report = assert(cjson.decode(line), line)
      check(report, posts, by_id)
      told[report.outcome] = (told[report.outcome] or 0) + 1
      seen = seen + 1
    end
    assert(not machine.has_ended() or seen == self.count, "a machine has not told all tenants")
  end
  local lost = 0
  for number = 1, self.count do
    lost = lost + (posts[("tenant-%d.example"):format(number)] and 0 or 1)
  end
  return told, lost
end

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
    await("the end of the run", world.patience, machine.has_ended)
  end
  return seen
end

--- Cuts a machine off that has just sent requests, until another has taken its tenants over. What it has sent must
--- not arrive when the network is back, although its system would send it again.
local function cut_off(world)
  world.name, world.count = "late", 20 * world.concurrency
  local lonely = world:begin(1, 0)
  await("the first machine asks", world.patience, function()
    for tenant in pairs((world:posts())) do
      if tenant:find "^late" then
        return true
      end
    end
  end)
  world.places[1].link "down"
  local other = world:begin(2, 0)
  await("the second machine reports all", world.patience, other.has_ended)
  world.places[1].link "up"
  await("the first machine ends", world.patience, lonely.has_ended)
  check_posts((world:posts()))
end

--- Seconds until the tenants of a killed machine are in progress on another.
local function take_over(world)
  world.name, world.count = "other", world.concurrency
  world:slow_down(world.count, function()
    return 600
  end)
  local dead = world:begin(1, 0)
  await("the first machine asks", world.patience, function()
    local asked = 0
    for tenant in pairs((world:posts())) do
      asked = asked + (tenant:find "^other" and 1 or 0)
    end
    return asked == world.count
  end)
  local other = world:begin(2, 30)
  core.sleep(0.5)
  local killed_at = core.clock()
  dead.signal "KILL"
  await("the second machine reports all", world.patience, other.has_ended)
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
    shell.read "ip link set lo up; echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet"
    for number = 1, 3 do
      world.places[number] = namespace(number)
    end
  end
  local remove_script
  world.script, remove_script = files.temporary(program)
  world.server = database_server.start "PostgreSQL"
  world.service = emulated_service.start { emulator = { log_limit = 20 * count + 20000 } }
  local is_fine, result = xpcall(function()
    local seen = run_with_mishaps(world, setting("MISHAPS", is_isolated and 12 or 6))
    local told, lost = world:check_all()
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
