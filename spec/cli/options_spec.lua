-- How the options of the command and the environment reach the client.

local command = require "support.command"
local scripted = require "autopilot.transport.scripted"

local mistake = command.mistake

describe("options", function()
  local function request_of(args, env)
    env = env or {}
    env.AUTOPILOT_TOKEN = env.AUTOPILOT_TOKEN or "good"
    local transport = scripted { { status = 204 } }
    local ran = command.run(args, { env = env, transport = transport })
    assert.equal(0, ran.code)
    return transport.requests[1], ran
  end

  it("are passed to the client", function()
    local request, ran = request_of {
      "sync",
      "--tenant",
      "contoso",
      "--cloud=us_gov",
      "--timeout",
      "7.5",
      "--attempts",
      "2",
      "--deadline",
      "100",
    }
    assert.equal(
      "https://graph.microsoft.us/beta/deviceManagement/windowsAutopilotSettings/sync",
      request.url
    )
    assert.equal("Bearer good", request.headers.Authorization)
    assert.are.same({ connect = 7.5, total = 7.5 }, request.timeout)
    assert.is_truthy(ran.out:find("sync contoso: started", 1, true))
  end)

  it("take durations with a unit", function()
    for typed, seconds in pairs {
      ["90"] = 90,
      ["90s"] = 90,
      ["1.5m"] = 90,
      ["2h"] = 7200,
      [".5"] = 0.5,
    } do
      assert.equal(seconds, request_of({ "sync", "--timeout", typed }).timeout.total)
    end
    for _, typed in ipairs { "m", "1w", "1hs", "1.2.3", "90S", "1 h", "9999d" } do
      assert.matches("'%-%-timeout' must be a duration", mistake { "sync", "--timeout", typed })
    end
  end)

  it("include the proxy and the cooldown", function()
    local options
    local made = require "autopilot.client"
    package.loaded["autopilot.client"] = function(given, ...)
      options = given
      return made(given, ...)
    end
    finally(function()
      package.loaded["autopilot.client"] = made
    end)
    request_of "sync --proxy http://proxy.example:3128 --cooldown 30s"
    assert.same({ "http://proxy.example:3128", 30 }, { options.http.proxy, options.cooldown })
    request_of "sync --proxy none --cooldown 0"
    assert.same({ "", 0 }, { options.http.proxy, options.cooldown })
    assert.matches(
      "^%-%-proxy must .* or 'none'",
      mistake { "sync", "--proxy", "ftp://proxy.example" }
    )
    assert.matches(
      "'%-%-proxy' must not .*password.* HTTPS_PROXY$",
      mistake "sync --proxy http://me:hidden@proxy"
    )
  end)

  it("shorten the time for a connection only if they are shorter than its own limit", function()
    assert.are.same({ connect = 10, total = 30 }, request_of("sync --timeout 30").timeout)
    assert.are.same({ connect = 10, total = 60 }, request_of("sync").timeout)
  end)

  it("take precedence over the environment, and that over the defaults", function()
    local env = { AUTOPILOT_BASE_URL = "https://localhost:1", AZURE_TENANT_ID = "fabrikam" }
    local request, ran = request_of("sync", env)
    assert.is_truthy(request.url:find("https://localhost:1/", 1, true))
    assert.is_truthy(ran.out:find("sync fabrikam:", 1, true))
    request, ran = request_of("sync --base-url https://localhost:2 --tenant contoso", env)
    assert.is_truthy(request.url:find("https://localhost:2/", 1, true))
    assert.is_truthy(ran.out:find("sync contoso:", 1, true))
    request, ran = request_of("sync", { AUTOPILOT_BASE_URL = "", AZURE_TENANT_ID = "" })
    assert.is_truthy(request.url:find("https://graph.microsoft.com/", 1, true))
    assert.is_truthy(ran.out:find("sync: started", 1, true))
  end)

  it("may be repeated: the last one counts", function()
    local _, ran = request_of "sync --tenant a --tenant b"
    assert.is_truthy(ran.out:find("sync b:", 1, true))
  end)

  it("that are common to all commands may stand before the command's name", function()
    local _, ran = request_of "--json sync"
    assert.equal("{", ran.out:sub(1, 1))
    _, ran = request_of "--quiet sync"
    assert.equal("", ran.out)
  end)
end)
