-- `autopilot-sync fleet` as a process of its own, over TLS: many tenants with faults among them, killed,
-- interrupted, and taken up again. What it says is compared with what the service has seen.

local await = require "support.await"
local cjson = require "cjson.safe"
local command_process = require "support.command_process"
local emulated_service = require "support.emulated_service"
local files = require "support.files"
local fleet_command = require "support.fleet_command"

local function names(count)
  local lines = {}
  for index = 1, count do
    lines[index] = ("tenant%03d.example"):format(index)
  end
  return table.concat(lines, "\n") .. "\n"
end

--- The reports of an output, by tenant, and how many there are.
local function reports_in(text)
  local reports, order = fleet_command.reports_in(text)
  return reports, #order
end

describe("autopilot-sync fleet, as a process,", function()
  local service, env, list, state, clean_up

  setup(function()
    service = emulated_service.start { duration = 0 }
    env = service:environment {
      AZURE_CLIENT_ID = service.client_id,
      AZURE_CLIENT_SECRET = service.client_secret,
    }
  end)

  teardown(function()
    service.stop()
  end)

  before_each(function()
    service:control("POST", "reset")
    clean_up = {}
    local function file(text)
      local path, remove = files.temporary(text)
      clean_up[#clean_up + 1] = remove
      return path
    end
    list = file(names(60))
    state = file ""
  end)

  after_each(function()
    for _, remove in ipairs(clean_up) do
      remove()
    end
    os.remove(state .. "-wal")
    os.remove(state .. "-shm")
  end)

  -- How often the service was asked for a sync, and started one, for each tenant.
  local function seen()
    local asked, log = {}, service:control("GET", "log")
    for _, event in ipairs(log) do
      if event.event ~= "sync" and event.operation == "sync" and event.tenant then
        asked[event.tenant] = (asked[event.tenant] or 0) + 1
      end
    end
    return asked, fleet_command.syncs_in(log)
  end

  --- Has the service answer so many requests for a sync at once, and so many others late.
  local function hold(first, count, seconds)
    local faults = {}
    for number = 1, first + count do
      local late = number > first and seconds or 0
      faults[number] = { kind = "slow_answer", seconds = late, on = "sync" }
    end
    service:control("POST", "faults", faults)
  end

  -- Starts one; the first line of its output is the number of the process.
  local function start(args)
    local pipe = command_process.start(
      ("echo $$; exec %s fleet %s %s 2>&1"):format(command_process.program, list, args),
      env
    )
    return pipe, assert(pipe:read "*l")
  end

  local function send(signal, process)
    io.popen(("kill -%s %s"):format(signal, process)):close()
  end

  it("reports for every tenant what the service has seen, with any failures", function()
    local faults = {}
    for _, kind in ipairs {
      "unsent",
      "lost_request",
      "lost_answer",
      "status",
      "throttle",
      "lost_answer",
      "duplicated",
    } do
      faults[#faults + 1] = {
        kind = kind,
        on = "sync",
        status = kind == "status" and 503 or nil,
        retry_after = kind == "throttle" and 0 or nil,
      }
    end
    faults[#faults + 1] = { kind = "status", status = 400, body = "{}", on = "token" }
    service:control("POST", "faults", faults)
    local code, output, complaint = command_process.run("fleet " .. list .. " --json", env)
    assert.equal("", complaint)
    local reports, count = reports_in(output)
    assert.equal(60, count)
    local _, started = seen()
    local failed = 0
    for tenant, report in pairs(reports) do
      if report.ok then
        assert.equal(1, started[tenant], tenant)
      else
        failed = failed + 1
        assert.is_true(report.delivered ~= "no" or not started[tenant], output)
      end
    end
    assert.equal(failed > 0 and 9 or 0, code)
    assert.is_true(failed >= 1 and failed <= 8)
  end)

  it("prints a table, and no byte of a terminal's language", function()
    service:control("POST", "faults", { { kind = "status", status = 404, on = "sync" } })
    local code, output, complaint = command_process.run("fleet " .. list, env)
    assert.equal("", complaint)
    assert.equal(9, code)
    assert.matches(
      "^not_found: [^\n]*\n  tenant[^\n]*\n\nstarted +59\nnot_found +1\nin all +60  in [^\n]*\n$",
      output
    )
    assert.is_nil(output:find "[\r\27]")
  end)

  it("reads its list from a pipe, with or without a name", function()
    for _, script in ipairs {
      "cat %s | program fleet - --json",
      "mkfifo %s.pipe; timeout 60 sh -c 'cat %s >%s.pipe' & program fleet %s.pipe --json; "
        .. "wait; rm %s.pipe",
    } do
      local pipe = command_process.start((script:gsub("%%s", list)), env)
      local _, count = reports_in(pipe:read "*a")
      pipe:close()
      assert.equal(60, count)
      service:control("POST", "reset")
    end
  end)

  it("reports tenants while the list is still arriving", function()
    -- The writer of the list goes on when the first report is there, or gives up after 30 s.
    local script = [[
      { echo a.example
        for _ in $(seq 300); do [ -s LIST ] && break; sleep 0.1; done
        [ -s LIST ] && echo b.example
      } | program fleet - --json >LIST
      cat LIST]]
    local pipe = command_process.start((script:gsub("LIST", state)), env)
    local reports, count = reports_in(pipe:read "*a")
    pipe:close()
    assert.equal(2, count)
    assert.is_true(reports["a.example"].ok and reports["b.example"].ok)
  end)

  it("repeats nothing that was done when it is resumed after a kill", function()
    hold(12, 2, 600)
    local pipe, process = start("--json --concurrency 2 --state " .. state)
    local lines = {}
    for line in pipe:lines() do
      lines[#lines + 1] = line
      if #lines == 12 then
        await("two more are under way", function()
          return service:control("GET", "state").requests.sync == 14
        end)
        send("KILL", process)
      end
    end
    pipe:close()
    assert.is_true(#lines < 60)
    if not cjson.decode(lines[#lines]) then
      lines[#lines] = nil
    end
    local first = reports_in(table.concat(lines, "\n") .. "\n")

    local code, output, complaint =
      command_process.run(("fleet %s --json --state %s"):format(list, state), env)
    assert.matches("taking up the run that was begun before: %d+ done already\n$", complaint)
    local second, count = reports_in(output)
    assert.equal(60, count)
    local asked, started = seen()
    for tenant, report in pairs(second) do
      -- Also where the request was under way when the process was killed.
      assert.is_true(report.ok, tenant)
      assert.equal(1, started[tenant], tenant)
      if first[tenant] then
        assert.is_true(report.recalled)
        assert.equal(first[tenant].request_id, report.request_id)
        assert.equal(1, asked[tenant], tenant)
      end
    end
    assert.equal(0, code)
  end)

  it("reports what was sent when it is interrupted, and begins nothing else", function()
    hold(8, 52, 2) -- what was sent is awaited
    local pipe, process = start("--json --concurrency 4 --state " .. state)
    local lines = {}
    for line in pipe:lines() do
      lines[#lines + 1] = line
      if #lines == 8 then
        send("INT", process)
      end
    end
    pipe:close()
    local reports, told = {}, {}
    for _, line in ipairs(lines) do
      local report = cjson.decode(line)
      if type(report) == "table" then
        reports[report.tenant] = report
      else
        told[#told + 1] = line
      end
    end
    local _, started = seen()
    local count = 0
    for tenant in pairs(started) do
      assert.is_true(reports[tenant] and reports[tenant].ok, tenant)
      count = count + 1
    end
    for tenant, report in pairs(reports) do
      assert.equal(report.ok, started[tenant] ~= nil)
    end
    assert.is_true(count >= 8 and count < 60)
    assert.equal(
      "autopilot-sync: interrupted: what was sent is awaited; once more ends it at once",
      told[1]
    )
    assert.equal(
      "autopilot-sync: interrupted: the same command goes on where this one ended",
      told[2]
    )
  end)

  it("ends at once when it is interrupted twice", function()
    hold(0, 2, 40)
    local pipe, process = start "--json --concurrency 1"
    await("its first request", function()
      return next((seen()))
    end)
    send("INT", process)
    assert.matches("interrupted: what was sent is awaited", pipe:read "*l")
    send("INT", process)
    assert.is_nil(pipe:read "*l") -- no report: it did not wait for the answer
    pipe:close()
  end)
end)
