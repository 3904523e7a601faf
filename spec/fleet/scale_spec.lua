-- An end-to-end test: the command, its state file, nginx with the emulated service behind it, a token for
-- each tenant, random faults, and a kill in the middle. What is reported of every tenant is compared
-- with what the service saw.
--
-- FLEET_TENANTS says how many (default 120; 10000 for the full run), FLEET_SEED repeats a run.

local files = require "support.files"
local fleet_command = require "support.fleet_command"
local SeededRandom = require "support.seeded_random"
local cjson = require "cjson.safe"
local emulated_service = require "support.emulated_service"
local shell = require "autopilot.cli.emulate.shell"

local count = tonumber(os.getenv "FLEET_TENANTS") or 120
local random = SeededRandom.new "FLEET_SEED"

--- One request in ten meets one of these.
local function random_faults()
  local faults = {}
  for _ = 1, math.ceil(count / 10) do
    faults[#faults + 1] = random:pick {
      { kind = "lost_request", on = "sync" },
      { kind = "lost_answer", on = "sync" },
      { kind = "slow_answer", on = "sync", seconds = 0.3 },
      { kind = "status", on = "sync", status = 503, after = true },
      { kind = "status", on = "sync", status = 502 },
      { kind = "throttle", on = "sync", retry_after = 1 },
      { kind = "lost_answer", on = "status" },
      { kind = "status", on = "token", status = 400 },
      { kind = "lost_answer", on = "token" },
    }
  end
  return faults
end

local start_script = [[
  export AUTOPILOT_BASE_URL="$1" AUTOPILOT_CA_FILE="$2" AZURE_AUTHORITY_HOST="$1/"
  export AZURE_CLIENT_ID="$3" AZURE_CLIENT_SECRET="$4"
  export AUTOPILOT_FLEET_LIST="$5" AUTOPILOT_FLEET_STATE="$6"
  run() {
    LD_PRELOAD="$PRELOAD" exec "$LUA" bin/autopilot-sync fleet "$AUTOPILOT_FLEET_LIST" \
      --state "$AUTOPILOT_FLEET_STATE" --json --concurrency 64 --auth secret
  }
  LUA="$7" PRELOAD="${10}" # the sanitizers' runtime, for the interpreter alone
]]

-- Killed without warning when a third is done.
local kill_script = start_script
  .. [[
  run >"$8" 2>"$8.err" & pid=$!
  left=30000
  while kill -0 "$pid" 2>/dev/null && [ "$(wc -l <"$8")" -lt "$9" ] && [ "$left" -gt 0 ]; do
    sleep 0.02; left=$((left - 1))
  done
  kill -9 "$pid"; wait "$pid" 2>/dev/null; echo killed
]]

local resume_script = start_script
  .. [[
  code=0; (run >"$8" 2>"$8.err") || code=$?
  echo "$code"
]]

--- The reports of an output, by tenant, and how many there are.
local function reports_of(path)
  local reports, order = fleet_command.reports_in(files.read(path))
  return reports, #order
end

describe("a fleet of " .. count .. " tenants over real sockets", function()
  it("claims nothing false, loses and repeats no tenant, even if it is killed", function()
    local service = emulated_service.start { emulator = { log_limit = 1000000 } }
    local names = {}
    for index = 1, count do
      names[index] = ("tenant%05d.example"):format(index)
    end
    local list, remove_list = files.temporary(table.concat(names, "\n") .. "\n")
    local output, remove_output = files.temporary ""
    local state = output .. ".state"
    service:control("POST", "faults", random_faults())
    local interpreter = emulated_service.interpreter()
    local function run(script, wanted)
      return (
        shell
          .read(
            script,
            service.url,
            service.ca_file,
            service.client_id,
            service.client_secret,
            list,
            state,
            interpreter,
            output,
            wanted or "",
            os.getenv "LD_PRELOAD" or ""
          )
          :gsub("%s+$", "")
      )
    end
    local ok, message = pcall(function()
      assert.equal("killed", run(kill_script, ("%d"):format(math.ceil(count / 3))))
      local before, begun = reports_of(output)
      assert.is_true(begun >= count / 3, files.read(output .. ".err"))
      local code = run(resume_script)
      local reports, number = reports_of(output)
      assert.equal(count, number, files.read(output .. ".err"))
      assert.is_true(code == "0" or code == "9", code .. files.read(output .. ".err"))
      local syncs = fleet_command.syncs_in(service:control("GET", "log"))
      local started = 0
      for _, name in ipairs(names) do
        local report = assert(reports[name], name .. " is lost")
        local truth = tostring(random) .. " " .. cjson.encode(report)
        assert.is_true((syncs[name] or 0) <= 1, "doubled: " .. truth)
        if report.ok then
          started = started + 1
          assert.equal(1, syncs[name], "a false claim: " .. truth)
        elseif report.delivered == "no" and not before[name] then
          assert.is_nil(syncs[name], "it was delivered: " .. truth)
        end
        if before[name] and before[name].ok then
          assert.is_true(report.ok, "known to be done: " .. truth)
          assert.equal(before[name].request_id, report.request_id, truth)
        end
      end
      assert.is_true(started > count * 0.8, started)
      print(
        ("\nfleet: %d tenants (%s), %d reports before the kill, %d started, %d failed"):format(
          count,
          tostring(random),
          begun,
          started,
          count - started
        )
      )
    end)
    service:stop()
    remove_list()
    remove_output()
    for _, suffix in ipairs { ".err", ".state", ".state-wal", ".state-shm", ".state-journal" } do
      os.remove(output .. suffix)
    end
    if not ok then
      error(message, 0)
    end
  end)
end)
