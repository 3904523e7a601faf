-- `make bench-machines`: what a shared store adds to a sync, and what a fleet over several machines costs and
-- gains. Real SQLite, Redis and PostgreSQL on loopback. The service answers at once: inside the process, so that only
-- our own side is measured; and for fleets also over TLS, with a token of its own for each tenant. Figures are printed
-- as tables. A part whose server is missing is left out.

package.path = "spec/?.lua;" .. package.path

local autopilot = require "autopilot"
local core = require "autopilot.core"
local database_server = require "support.database_server"
local emulated_service = require "support.emulated_service"
local files = require "support.files"
local shell = require "autopilot.cli.emulate.shell"

local quick = os.getenv "QUICK" == "yes"
local syncs, tenants = quick and 200 or 2000, quick and 2000 or 10000

local function row(...)
  print("| " .. table.concat({ ... }, " | ") .. " |")
end

local function median(list)
  table.sort(list)
  return list[math.floor(#list / 2) + 1]
end

local function answer()
  return { status = 204, headers = {}, body = "", http_version = "1.1" }
end

-- ---- What a store adds -------------------------------------------------------------------------------

local folder, remove_folder = files.folder()
local servers = {}
for _, kind in ipairs { "Redis", "PostgreSQL" } do
  servers[kind] = not database_server.obstacle(kind) and database_server.start(kind) or nil
end

local kinds = { "none", "SQLite", "Redis", "PostgreSQL" }
local stores = {
  SQLite = autopilot.store.sql { driver = "SQLite3", database = folder .. "/store.db" },
  Redis = servers.Redis and servers.Redis:store(),
  PostgreSQL = servers.PostgreSQL and servers.PostgreSQL:store(),
}

local times, calls = {}, {}
for number = 1, syncs do
  for _, kind in ipairs(kinds) do
    local store, count = stores[kind], 0
    local counted = store
      and setmetatable({}, {
        __index = function(_, method)
          return function(_, ...)
            count = count + 1
            return store[method](store, ...)
          end
        end,
      })
    if store or kind == "none" then
      local client = autopilot.client {
        tenant = ("tenant-%d.example"):format(number),
        token = "made-up",
        store = counted,
        transport = answer,
      }
      local began = core.clock()
      assert(client:sync())
      times[kind] = times[kind] or {}
      table.insert(times[kind], core.clock() - began)
      calls[kind] = count
    end
  end
end

row("store", "calls of one sync", "added to a sync, median")
row("---", "---", "---")
local without = median(times.none)
for index = 2, #kinds do
  local kind = kinds[index]
  if times[kind] then
    row(kind, calls[kind], ("%.2f ms"):format((median(times[kind]) - without) * 1000))
  end
end

-- ---- Fleets ------------------------------------------------------------------------------------------

--- One machine: prints when it begins and ends, and its processor time, all in seconds.
local machine = [[
local autopilot, core = require "autopilot", require "autopilot.core"
local state, first, count, url = arg[1], tonumber(arg[2]), tonumber(arg[3]), arg[4]
local list = {}
for number = 1, count do
  list[number] = ("tenant-%d-%d.example"):format(first, number)
end
local client = url and {
  token = autopilot.token.client_secret {
    client_id = arg[5], client_secret = arg[6], authority = url,
  },
  base_url = url, http = { ca_file = arg[7] },
} or {
  token = function() return "made-up" end,
  transport = function()
    return { status = 204, headers = {}, body = "", http_version = "1.1" }
  end,
}
local began, processor = core.clock(), os.clock()
local fleet = assert(autopilot.fleet {
  tenants = list, client = client, state = state ~= "none" and state or nil,
})
local summary = fleet:run { on_report = function() end }
assert(summary.ok == count, "some tenants failed")
print(("%.6f %.6f %.6f"):format(began, core.clock(), os.clock() - processor))
]]

local server, run_number = servers.PostgreSQL, 0
local script, remove_script = files.temporary(machine)
local address = server
  and ("postgresql://tester:%s@127.0.0.1:%d/postgres"):format(server.password, server.port)

--- Each machine has a core of its own.
local run_machines = [[
  machines=$1 interpreter=$2; shift 2
  for n in $(seq "$machines"); do
    taskset -c $((n - 1)) "$interpreter" "$@" 2>&1 & pids="$pids $!"
  done
  for pid in $pids; do wait "$pid"; done]]

local function empty_tables()
  server:store().connection:call(function(database)
    for _, name in ipairs { "run_2", "part_3", "report_2" } do
      pcall(require("autopilot.store.database").run, database, "TRUNCATE autopilot_" .. name)
    end
    return true
  end)
end

--- Seconds until so many machines have done all tenants, and the processor time of each.
local function measure(machines, state, count, ...)
  run_number = run_number + 1
  empty_tables()
  local interpreter, number = emulated_service.interpreter(), tostring(run_number)
  local total = tostring(count)
  local said =
    shell.read(run_machines, tostring(machines), interpreter, script, state, number, total, ...)
  local first, last, processor, seen = math.huge, 0, 0, 0
  for began, ended, used in said:gmatch "(%S+) (%S+) (%S+)\n" do
    first, last = math.min(first, tonumber(began) or 0), math.max(last, tonumber(ended) or 0)
    processor, seen = processor + (tonumber(used) or 0), seen + 1
  end
  assert(seen == machines, said)
  return last - first, processor / machines
end

--- Measures a run of no state, and of one and two machines with state, in turn.
local function compare(title, count, ...)
  local ways = {
    { "one machine, no state", 1, "none" },
    { "one machine, state in PostgreSQL", 1, address },
    { "two machines, state in PostgreSQL", 2, address },
  }
  local seconds, processors = { {}, {}, {} }, { {}, {}, {} }
  for round = 1, quick and 2 or 5 do
    for index, way in ipairs(ways) do
      seconds[index][round], processors[index][round] = measure(way[2], way[3], count, ...)
    end
  end
  print ""
  row(("fleet of %d, %s"):format(count, title), "seconds, median", "processor time of each machine")
  row("---", "---", "---")
  local function cells(lists)
    local none, one, two = median(lists[1]), median(lists[2]), median(lists[3])
    return {
      ("%.2f"):format(none),
      ("%.2f (%.2f times no state)"):format(one, one / none),
      ("%.2f (%.2f times as fast as one)"):format(two, one / two),
    }
  end
  local by_clock, by_processor = cells(seconds), cells(processors)
  for index, way in ipairs(ways) do
    row(way[1], by_clock[index], by_processor[index])
  end
end

if server then
  compare("answers at once in the process", tenants)
  local service = emulated_service.start()
  local given = { service.url, service.client_id, service.client_secret, service.ca_file }
  compare("over TLS", tenants / 2, given[1], given[2], given[3], given[4])
  service.stop()
end

remove_script()
for _, started in pairs(servers) do
  started:remove()
end
remove_folder()
