-- `make bench-machines`: what a shared store adds to a sync, and what a fleet over several machines costs and
-- gains. Real SQLite, Redis and PostgreSQL on loopback; the service answers at once, inside the process, so that only
-- our own side is measured. Figures are printed as a table. A part whose server is missing is left out.

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

local machine = [[
local autopilot, core = require "autopilot", require "autopilot.core"
local state, first, count = arg[1], tonumber(arg[2]), tonumber(arg[3])
local list = {}
for number = 1, count do
  list[number] = ("tenant-%d-%d.example"):format(first, number)
end
local fleet = assert(autopilot.fleet {
  tenants = list,
  state = state ~= "none" and state or nil,
  client = {
    token = function() return "made-up" end,
    transport = function()
      return { status = 204, headers = {}, body = "", http_version = "1.1" }
    end,
  },
})
local summary = fleet:run { on_report = function() end }
assert(summary.ok == count, "some tenants failed")
]]

if servers.PostgreSQL then
  local script, remove_script = files.temporary(machine)
  local server = servers.PostgreSQL
  local address = ("postgresql://tester:%s@127.0.0.1:%d/postgres"):format(
    server.password,
    server.port
  )
  local run_number = 0

  --- Seconds until so many machines have done all tenants, one core for each.
  local function seconds(state, machines)
    run_number = run_number + 1
    local script_line = [[
      for n in $(seq "$6"); do
        taskset -c $((n - 1)) "$1" "$2" "$3" "$4" "$5" & pids="$pids $!"
      done
      for pid in $pids; do wait "$pid" || echo failed; done]]
    server:store().connection:call(function(database)
      for _, name in ipairs { "run_1", "worker_1", "part_2", "report_1" } do
        pcall(
          require("autopilot.store.database").run,
          database,
          "TRUNCATE autopilot_" .. name
        )
      end
      return true
    end)
    local began = core.clock()
    local said = shell.read(
      script_line,
      emulated_service.interpreter(),
      script,
      state,
      tostring(run_number),
      tostring(tenants),
      tostring(machines)
    )
    assert(said == "", said)
    return core.clock() - began
  end

  local none, one, two = {}, {}, {}
  for round = 1, quick and 2 or 5 do
    none[round], one[round], two[round] =
      seconds("none", 1), seconds(address, 1), seconds(address, 2)
  end
  print ""
  row("fleet of " .. tenants .. ", answers at once", "seconds, median")
  row("---", "---")
  row("one machine, no state", ("%.2f"):format(median(none)))
  row(
    "one machine, state in PostgreSQL",
    ("%.2f (%.2f times)"):format(median(one), median(one) / median(none))
  )
  row(
    "two machines, state in PostgreSQL",
    ("%.2f (%.2f times as fast)"):format(median(two), median(one) / median(two))
  )
  remove_script()
end

for _, server in pairs(servers) do
  server:remove()
end
remove_folder()
