local cjson = require "cjson.safe"
local command = require "support.command"
local emulator = require "autopilot.emulator"
local files = require "support.files"
local outcome = require "autopilot.sync.outcome"
local new_report = require("autopilot.sync.report").new
local scripted = require "autopilot.transport.scripted"

local run, token = command.run_with_answers, command.token

local licence =
  '{"error":{"code":"BadRequest","message":"Request not applicable to target tenant."}}'

describe("the exit code", function()
  -- The table of the contract.
  local contract = {
    [0] = "started completed fresh",
    [1] = "rejected unexpected redirected not_found",
    [3] = "in_progress",
    [4] = "cooldown throttled",
    [5] = "token_error unauthenticated forbidden not_licensed",
    [6] = "unreachable interrupted unavailable",
    [7] = "sync_failed",
    [8] = "timed_out",
    [9] = "cancelled",
  }

  it("is the documented one for every outcome", function()
    local listed = { cancelled = true } -- only a fleet gives it, which ends with 9
    for code, names in pairs(contract) do
      for name in names:gmatch "%S+" do
        listed[name] = true
        assert.equal(code, outcome.exit_code { outcome = name, ok = code == 0 }, name)
      end
    end
    for name in pairs(outcome.all) do
      assert.is_true(listed[name], name)
      local made = new_report { outcome = name }
      assert.equal(made.ok, outcome.exit_code(made) == 0, name)
    end
  end)

  it("is 0 for a status that was read, and 1 for an unknown outcome", function()
    assert.equal(0, outcome.exit_code { ok = true })
    assert.equal(1, outcome.exit_code { ok = false })
    assert.equal(1, outcome.exit_code { ok = false, outcome = "strange" })
  end)

  it("is listed by --help", function()
    local help = run("--help", {}).out
    for code, names in pairs(contract) do
      local line = help:match(("\n +%d +([^\n]*)"):format(code))
      for name in names:gmatch "%S+" do
        assert.is_truthy(line:find(name, 1, true), name)
      end
    end
  end)

  for _, case in ipairs {
    { 0, "started", { status = 204 } },
    { 1, "not_found", { status = 404 } },
    { 1, "rejected", { status = 418 } },
    { 1, "redirected", { status = 302 } },
    { 1, "unexpected", { status = 200, body = "<html>Welcome to the hotel</html>" } },
    { 3, "in_progress", { status = 409 } },
    { 4, "cooldown", { status = 429 } },
    { 4, "throttled", { status = 429, headers = { ["Retry-After"] = "5" } } },
    { 5, "unauthenticated", { status = 401 } },
    { 5, "forbidden", { status = 403 } },
    { 5, "not_licensed", { status = 400, body = licence } },
    { 6, "unavailable", { status = 500 } },
    { 6, "unreachable", { network = { stage = "resolve" } } },
    { 6, "interrupted", { network = { stage = "receive" } } },
  } do
    it(("of sync is %d for %s"):format(case[1], case[2]), function()
      local answers = { case[3], last = "repeat" }
      local ran = run("sync --attempts 1", answers)
      assert.equal(case[1], ran.code)
      local json = run("sync --attempts 1 --json", answers)
      assert.equal(case[1], json.code)
      assert.equal(case[2], cjson.decode(json.out).outcome)
    end)
  end
end)

describe("sync", function()
  it("prints its result in one line on standard output", function()
    local ran = run("sync --tenant contoso", {
      { status = 204, headers = { ["request-id"] = "5c0e" } },
    })
    assert.equal(
      "sync contoso: started (HTTP 204, confirmed by the response, request-id 5c0e)\n",
      ran.out
    )
    assert.equal("", ran.err)
  end)

  it("prints a failure and a hint on standard error, a line each", function()
    local ran = run("sync", { { status = 409 } })
    assert.equal("", ran.out)
    assert.matches("^sync: in_progress [^\n]*\nA sync is already running[^\n]*\n$", ran.err)
  end)

  it("prints nothing but failures with --quiet", function()
    local ran = run("sync --quiet", { { status = 204 } })
    assert.equal("", ran.out .. ran.err)
    assert.equal(
      run("sync", { { status = 409 } }).err,
      run("sync --quiet", { { status = 409 } }).err
    )
  end)

  it("prints exactly one report as JSON, and nothing else, for every outcome", function()
    for _, args in ipairs { "sync --json", "sync --json --quiet" } do
      for _, answer in ipairs { { status = 204 }, { status = 409 } } do
        local ran = run(args, { answer })
        assert.equal("", ran.err)
        local report = cjson.decode(ran.out)
        assert.matches("^[^\n]+\n$", ran.out)
        assert.equal("sync", report.operation)
        assert.equal(answer.status, report.status)
        assert.equal(1, #report.attempts)
      end
    end
  end)

  it("makes at most the attempts of --attempts", function()
    for attempts = 1, 3 do
      local transport = scripted { { network = { stage = "connect" } }, last = "repeat" }
      local ran = run("sync --attempts " .. attempts, transport)
      assert.equal(6, ran.code)
      assert.equal(attempts, #transport.requests)
    end
  end)

  it("ends by its deadline", function()
    local time, slept = 0, 0
    local transport = scripted { { network = { stage = "connect" } }, last = "repeat" }
    local ran = run("sync --json --deadline 5 --attempts 100", transport, {
      clock = function()
        return time
      end,
      sleep = function(seconds)
        time, slept = time + seconds, slept + seconds
      end,
      random = function()
        return 0.9
      end,
    })
    assert.equal(6, ran.code)
    assert.equal("deadline", cjson.decode(ran.out).gave_up)
    assert.is_true(slept > 0 and slept <= 5)
    assert.is_true(transport.requests[#transport.requests].timeout.total <= 5)
  end)

  it("reads when a refusal ends by its deadline, too", function()
    for taken, most in pairs { [0] = 5, [4] = 1, [5] = false } do
      local time, asked_for = 0, false
      local transport = scripted {
        function()
          time = taken
          return { status = 429 }
        end,
        function(request)
          asked_for = request.timeout.total
          return { status = 503 }
        end,
      }
      local ran = run("sync --attempts 1 --deadline 5", transport, {
        clock = function()
          return time
        end,
      })
      assert.equal(4, ran.code)
      assert.equal(most, asked_for)
    end
  end)

  it("prints no control characters for a terminal", function()
    local body = '{"error":{"code":"x","message":"a\\u001b[2Jb\\r\\nc\\u009bd"}}'
    local ran = run("sync", { { status = 418, body = body } })
    assert.is_nil(ran.err:gsub("\n", ""):find "%c")
    assert.is_nil(ran.err:find("\194\155", 1, true))
    assert.matches("^[^\n]*\n[^\n]*\n$", ran.err)
  end)
end)

describe("a bug", function()
  local function broken()
    error("boom " .. token .. "\nand more")
  end

  it("ends in 1 with one line, without a traceback and without a secret", function()
    local ran = run("sync", broken)
    assert.equal(1, ran.code)
    assert.equal("", ran.out)
    assert.matches(
      "^autopilot%-sync: internal error: [^\n]*cli_spec%.lua:%d+: boom %[redacted%]\n$",
      ran.err
    )
  end)

  it("shows where it happened when AUTOPILOT_DEBUG is 1, still without a secret", function()
    local env = { AUTOPILOT_TOKEN = token, AUTOPILOT_DEBUG = "1" }
    local ran = run("sync", broken, { env = env })
    assert.equal(1, ran.code)
    assert.is_truthy(ran.err:find("stack traceback:", 1, true))
    assert.is_truthy(ran.err:find("and more", 1, true))
  end)

  it("prints no secret, of any origin and form", function()
    local path, remove = files.temporary "hidden-1"
    local requests = 0
    local function broken_later(request)
      requests = requests + 1
      if requests == 1 and request.headers.Authorization == "Bearer hidden-1" then
        files.write(path, "hidden-2")
        return { status = 401, headers = {}, body = "" }
      end
      error("boom hidden-1, " .. request.headers.Authorization:match "%S+$")
    end
    local refreshed = run("sync --token-file " .. path, broken_later)
    remove()
    requests = 1
    local from_variable = run("sync", broken_later, { env = { AUTOPILOT_TOKEN = "hidden-1" } })
    local input = {
      read = function()
        return "hidden-1"
      end,
    }
    local from_input = run("sync --token-file -", broken_later, { stdin = input })
    for _, ran in ipairs { refreshed, from_variable, from_input } do
      assert.matches("boom %[redacted%], %[redacted%]\n$", ran.err)
    end
  end)

  it("may raise a value of any type", function()
    for _, value in ipairs { {}, true, 7 } do
      local ran = run("sync", function()
        error(value)
      end)
      assert.equal(1, ran.code)
      assert.matches("^autopilot%-sync: internal error: [^\n]+\n$", ran.err)
    end
    assert.equal(
      1,
      run("sync", function()
        error()
      end).code
    )
  end)
end)

describe("an interrupt", function()
  local function interrupt()
    error "interrupted!"
  end

  it("ends in 130 with one line, which says what it leaves open", function()
    local ran = run("sync", interrupt)
    assert.equal(130, ran.code)
    assert.equal("", ran.out)
    assert.equal(
      "autopilot-sync: interrupted: the request for a sync may have been sent\n",
      ran.err
    )
    for _, args in ipairs { "status --json", "ensure --json", "sync --dry-run --json" } do
      ran = run(args, interrupt)
      assert.equal(130, ran.code)
      assert.equal("", ran.out)
      assert.equal("autopilot-sync: interrupted: no sync was asked for\n", ran.err)
    end
    ran = run("ensure", function(request)
      if request.method == "POST" then
        interrupt()
      end
      return { status = 200, body = '{"syncStatus":"unknown"}' }
    end)
    assert.equal(
      "autopilot-sync: interrupted: the request for a sync may have been sent\n",
      ran.err
    )
    ran = run("sync --wait", function(request)
      return request.method == "GET" and interrupt() or { status = 204, body = "" }
    end)
    assert.equal("autopilot-sync: interrupted: a sync was started\n", ran.err)
  end)

  it("says what became of the requests that ended before it", function()
    local refused = { stage = "connect", name = "CURLE_COULDNT_CONNECT", message = "refused" }
    refused.timeout, refused.delivered = false, "no"
    local lost = { stage = "receive", name = "CURLE_RECV_ERROR", message = "lost" }
    lost.timeout, lost.delivered = false, "unknown"
    for _, case in ipairs {
      { "no sync was asked for", refused },
      { "the request for a sync was refused", nil, 409 },
      { "the request for a sync was refused", nil, 429, ["retry-after"] = "60" },
      { "the request for a sync may have been sent", nil, 503 },
      { "the request for a sync may have been sent", lost },
    } do
      local said, failure, status = case[1], case[2], case[3]
      local ran = run("ensure", function(request)
        if request.method == "GET" then
          return { status = 200, body = '{"syncStatus":"unknown"}' }
        elseif failure then
          return nil, failure
        end
        return { status = status, headers = { ["retry-after"] = case["retry-after"] }, body = "" }
      end, { sleep = interrupt })
      assert.equal(("autopilot-sync: interrupted: %s\n"):format(said), ran.err)
    end
    local service = emulator.new { tokens = { [token] = { tenant = "contoso" } } }
    service:inject { kind = "lost_request", on = "sync" }
    service:inject { kind = "unsent", on = "sync" }
    local ran = run("sync", service:transport(), {
      sleep = function()
        return #service.injected == 0 and interrupt()
      end,
      now = function()
        return service:now()
      end,
    })
    assert.equal(
      "autopilot-sync: interrupted: the request for a sync may have been sent\n",
      ran.err
    )
  end)
end)

describe("a standard output that cannot be written", function()
  local function run_into(failure, args, answer)
    return run(args, { answer }, { stdout = command.sink(failure) })
  end

  it("is not a failure when its reader has gone", function()
    local gone = { message = "Broken pipe", number = 32 }
    assert.are.same(
      { code = 0, out = "", err = "" },
      run_into(gone, "sync --json", { status = 204 })
    )
    assert.equal(3, run_into(gone, "sync --json", { status = 409 }).code)
  end)

  it("ends in 1 with one line if the result would have been 0", function()
    local full = { message = "No space left on device", number = 28 }
    local ran = run_into(full, "sync --json", { status = 204 })
    assert.equal(1, ran.code)
    assert.equal(
      "autopilot-sync: the output could not be written: No space left on device\n",
      ran.err
    )
    assert.equal(1, run_into(full, "--help").code)
    assert.equal(0, run_into(full, "sync --quiet", { status = 204 }).code)
  end)

  it("does not hide the exit code of a failed sync", function()
    local full = { message = "No space left on device", number = 28 }
    local ran = run_into(full, "sync --json", { status = 409 })
    assert.equal(3, ran.code)
  end)
end)
