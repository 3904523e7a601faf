-- What `--verbose` prints on standard error, and what it never prints.

local command = require "support.command"
local emulator = require "autopilot.emulator"

--- Runs a command against an emulator, in a world whose clock only sleeping advances.
local function run(args, rules)
  local options = {
    clients = { app = { secret = "the-secret-of-the-application" } },
    tokens = { ["the-ready-token"] = { tenant = "contoso" } },
  }
  for name, value in pairs(rules or {}) do
    options[name] = value
  end
  local is_triggered = options.is_triggered
  options.is_triggered = nil
  local service = emulator.new(options)
  if is_triggered then
    service:trigger "contoso"
    service:advance(1)
  end
  local function time()
    return service:now()
  end
  return command.run(args, {
    env = {
      AZURE_TENANT_ID = "contoso",
      AZURE_CLIENT_ID = "app",
      AZURE_CLIENT_SECRET = "the-secret-of-the-application",
    },
    transport = service:transport(),
    sleep = function(seconds)
      service:advance(seconds)
    end,
    clock = time,
    now = time,
    random = function()
      return 0.5
    end,
  })
end

describe("--verbose", function()
  it("prints requests, answers, pauses and their reasons, each with its time", function()
    local ran =
      run("sync --verbose", { faults = { { kind = "throttle", on = "sync", retry_after = 3 } } })
    assert.equal(0, ran.code)
    assert.matches("^sync contoso: started [^\n]*\n$", ran.out)
    local position = 1
    for _, line in ipairs {
      "   0%.000 > POST https://login%.microsoftonline%.com/contoso/oauth2/v2%.0/token\n",
      "   0%.000 < HTTP/2 200\n",
      "   0%.000 %* token: ok true, refresh false\n",
      "   0%.000 > POST https://graph%.microsoft%.com/beta/[%w/]*/sync\n",
      "   0%.000 > Authorization: %[hidden%]\n",
      "   0%.000 < HTTP/2 429\n",
      "   0%.000 < retry%-after: 3\n",
      "   0%.000 %* retry: delay 4, number 2, outcome throttled\n",
      "   4%.000 < HTTP/2 204\n",
      "   4%.000 %* response: [^\n]*outcome started, status 204\n",
    } do
      local _, last = ran.err:find(line, position)
      position = assert(last, line .. "\nin:\n" .. ran.err:sub(position))
    end
  end)

  it("prints what a command waits for", function()
    local ran = run("sync --wait --verbose", { duration = 5 })
    assert.equal(0, ran.code)
    assert.matches("\n   %d%.%d+ %* wait: in_progress %(%d s so far%), next read in ", ran.err)
  end)

  it("prints why ensure waits", function()
    local ran = run("ensure --verbose", { duration = 20, is_triggered = true })
    assert.equal(0, ran.code)
    local wait = " %* step: action wait, reason a sync is in progress that was triggered before\n"
    assert.matches(wait, ran.err)
    assert.matches(" %* step: action wait, reason cooldown for %d+ s\n", ran.err)
    assert.matches(" %* step: action sync, reason no sync was triggered since then\n", ran.err)
    local _, lines = ran.err:gsub(" %* wait: cooldown", "")
    assert.equal(1, lines)
  end)

  it("prints no token and no secret", function()
    for _, args in ipairs { "sync --verbose", "token --print --quiet --verbose" } do
      local ran = run(args)
      assert.equal(0, ran.code)
      assert.is_nil(ran.err:find("the-secret-of", 1, true))
      assert.is_nil(ran.err:find("eyJ", 1, true))
    end
  end)

  it("prints the requests of doctor and token", function()
    local ran = run "doctor --verbose"
    assert.matches("\n +0%.%d+ > GET https://graph%.[^\n]+\n", "\n" .. ran.err)
    assert.matches("\n +0%.%d+ > POST https://login%.[^\n]+\n", ran.err)
    assert.matches("Permission +ok", ran.out)
    assert.matches(" > POST https://login%.", run("token --verbose").err)
    assert.equal("", run("doctor").err)
  end)

  it("keeps its lines out of standard output", function()
    local ran = run "--verbose sync --json"
    assert.matches("^{[^\n]*}\n$", ran.out)
    assert.equal("", run("sync --json").err)
  end)
end)
