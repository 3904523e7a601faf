-- The client's options and those of its methods: a mistake raises at the caller's line, and names the option.

local autopilot = require "autopilot"
local autopilot_client = require "autopilot.client"
local autopilot_fleet = require "autopilot.fleet"
local curl = require "autopilot.transport.curl"
local files = require "support.files"
local mistakes = require "support.mistakes"
local retry = require "autopilot.retry"
local virtual_world = require "support.virtual_world"

local assert_raised_at, mistake = mistakes.assert_raised_at, mistakes.of_client
local raised, this_line = mistakes.raised, mistakes.this_line

describe("autopilot.client: a mistyped option", function()
  it("raises at the caller's line and names the option that was probably meant", function()
    local line
    local message = raised(function()
      line = this_line() + 1
      autopilot_client { tokn = "secret" }
    end)
    assert_raised_at(line, message)
    assert.is_truthy(
      message:find("autopilot.client: unknown option 'tokn' (did you mean 'token'?)", 1, true)
    )
    assert.is_nil(message:find "secret")
  end)

  it("is told what to write instead, where another one is meant", function()
    local sign_in = "token = autopilot.token.client_secret { client_id = …, client_secret = … }"
    for _, case in ipairs {
      { { client_id = "secret" }, "unknown option 'client_id' (write " .. sign_in .. ")" },
      { { client_secret = "secret" }, "unknown option 'client_secret' (write " .. sign_in .. ")" },
      { { ca_file = "x" }, "unknown option 'ca_file' (did you mean 'http.ca_file'?)" },
      { { proxy = "x" }, "unknown option 'proxy' (did you mean 'http.proxy'?)" },
      {
        { timeout = 60 },
        "option 'timeout' must be a table such as { connect = …, total = … } (got 60)",
      },
      {
        { retry = 3 },
        "option 'retry' must be like autopilot.retry.policy { attempts = 3 }, or false (got 3)",
      },
      {
        { store = "redis://me:secret@host" },
        "option 'store' must be like autopilot.store.open 'file.db'",
      },
      {
        { token = autopilot.token.client_secret },
        "option 'token' must be what autopilot.token.client_secret(…) returns (got function)",
      },
      { autopilot, "was called with a colon: write a full stop in its place" },
    } do
      assert.equal("autopilot.client: " .. case[2], mistake(case[1]))
    end
  end)

  it("is named by its path inside timeout and http", function()
    assert.equal(
      "autopilot.client: unknown option 'timeout.conect' (did you mean 'timeout.connect'?)",
      mistake { timeout = { conect = 1 } }
    )
    assert.equal(
      "autopilot.client: unknown option 'http.ca_fil' (did you mean 'http.ca_file'?)",
      mistake { http = { ca_fil = "x" } }
    )
  end)

  it("raises for everything that is not a table of options", function()
    for _, given in ipairs { "token", 5, true } do
      assert.is_truthy(raised(autopilot_client, given):find "options must be a table")
    end
    assert.is_truthy(raised(autopilot_client):find "option 'token' is required")
  end)

  it("raises for a wrong type or range, naming the option", function()
    local wrong = {
      tenant = 5,
      cloud = "mars",
      base_url = 5,
      api_version = "a/b",
      retry = "no",
      timeout = 10,
      http = "x",
      cooldown = -1,
      cooldown_margin = -1,
      recover = "yes",
      transport = "x",
      sleep = 1,
      clock = 1,
      now = 1,
      random = 1,
      on_event = {},
    }
    for name, value in pairs(wrong) do
      local message = mistake { [name] = value }
      assert.is_truthy(message:find("option '" .. name .. "'", 1, true), message)
    end
  end)

  it("raises for durations that are zero, infinite or not a number", function()
    for _, seconds in ipairs { 0, -1, math.huge, 0 / 0 } do
      assert.is_truthy(mistake({ timeout = { total = seconds } }):find "timeout.total")
      assert.is_truthy(mistake({ timeout = { connect = seconds } }):find "timeout.connect")
    end
    assert.is_truthy(mistake({ cooldown = 0 / 0 }):find "cooldown")
    for _, name in ipairs { "cooldown", "cooldown_margin", "stuck_after" } do
      assert.is_truthy(mistake({ [name] = 1e300 }):find(name, 1, true))
    end
  end)

  it("raises for a retry that is not a policy or false", function()
    assert.is_truthy(mistake({ retry = true }):find "must be like autopilot.retry.policy")
    assert.is_truthy(mistake({ retry = {} }):find "must be like autopilot.retry.policy")
    assert.has_no.errors(function()
      autopilot_client { token = "t", retry = false }
      autopilot_client { token = "t", retry = retry.graph() }
    end)
  end)

  it("raises for an api_version that would change the path", function()
    for _, version in ipairs { "", "..", ".", "../x", "v1.0?x", "v1.0#x", "v 1", "v1\r\n" } do
      assert.is_truthy(mistake({ api_version = version }):find "api_version", version)
    end
  end)

  it("raises for a tenant that is not an id or domain", function()
    for _, tenant in ipairs { "", "a b", "a/b", "a\r\nb", "a\0b" } do
      assert.is_truthy(mistake({ tenant = tenant }):find "must be a tenant id or a domain")
    end
    local message = mistake { tenant = "6babcaad-604b-40ac-a9d7-9fd97c0b779" }
    assert.is_truthy(message:find("an id has 36 characters, this one 35", 1, true), message)
  end)
end)

describe("autopilot.client: methods", function()
  it("raise for a mistyped option at the caller's line", function()
    local client = virtual_world.new():scripted {}
    local options = { sync = "deadline", status = "deadline", wait = "timeout", ensure = "max_age" }
    for method, option in pairs(options) do
      local line
      local typo = option:sub(1, 3) .. option:sub(5)
      local message = raised(function()
        line = this_line() + 1
        client[method](client, { [typo] = 1 })
      end)
      assert_raised_at(line, message)
      local told = ("client:%s: unknown option '%s' (did you mean '%s'?)"):format(
        method,
        typo,
        option
      )
      assert.is_truthy(message:find(told, 1, true), message)
    end
  end)

  it("raise for anything but a table of options", function()
    local client = virtual_world.new():scripted {}
    for _, method in ipairs { "sync", "status", "wait", "ensure" } do
      for _, given in ipairs { "x", 5, true, false } do
        local message = raised(client[method], client, given)
        assert.is_truthy(message:find "options must be a table", method)
      end
    end
  end)

  it("raise for a wrong value, before anything is sent", function()
    local client, transport = virtual_world.new():scripted {}
    for _, case in ipairs {
      { "sync", { deadline = 0 } },
      { "sync", { deadline = "60" } },
      { "sync", { wait = 1 } },
      { "sync", { force = "yes" } },
      { "status", { deadline = -1 } },
      { "wait", { timeout = 0 } },
      { "wait", { since = "now" } },
      { "wait", { on_progress = 5 } },
      { "ensure", { max_age = -1 } },
      { "ensure", { wait = "no" } },
    } do
      local option = next(case[2])
      local message = raised(client[case[1]], client, case[2])
      assert.is_truthy(message:find(("client:%s: option '%s'"):format(case[1], option), 1, true))
      local is_time = option == "since"
      assert.is_true(
        not is_time or message:find("such as os.time() - 600 (got 'now')", 1, true) ~= nil
      )
    end
    assert.equal(0, #transport.requests)
  end)
end)

describe("an unusable file of authorities", function()
  local pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

  -- Everything that takes the option.
  local makers = {
    client = function(http)
      return autopilot_client { token = "t", http = http }
    end,
    transport = function(http)
      return curl.new { http = http }
    end,
  }

  --- Checks what all of them say of a file; nil: nothing.
  local function expect(path, complaint)
    for name, make in pairs(makers) do
      local made, message = pcall(make, { ca_file = path })
      if complaint then
        assert.is_false(made, name)
        assert.is_truthy(message:find("http.ca_file' " .. complaint, 1, true), message)
      else
        assert.is_true(made, message)
      end
    end
  end

  it("is reported before any request", function()
    expect("/no/such/file", "cannot be read: /no/such/file: No such file or directory")
    expect("/", "cannot be read: /: it is a folder")
    local wrong = { "no certificate", "-----BEGIN PRIVATE KEY-----\n", ("\48\130\3\1"):rep(40000) }
    for _, text in ipairs(wrong) do
      local path, remove = files.temporary(text)
      expect(path, "must hold certificates in PEM")
      remove()
    end
    local path, remove = files.temporary ""
    expect(path, ("cannot be read: %s: it is empty"):format(path))
    remove()
  end)

  it(
    "is an error for a fleet, and reported for each tenant whose options a function gives",
    function()
      local function token()
        return "t"
      end
      local given =
        { token = token, base_url = "https://127.0.0.1:1", http = { ca_file = "/no/file" } }
      local message = raised(function()
        autopilot_fleet { tenants = { "a", "b" }, client = given }
      end)
      assert.truthy(message:find("'http.ca_file' cannot be read: /no/file", 1, true), message)
      local function client()
        return given
      end
      for _, report in autopilot_fleet({ tenants = { "a", "b" }, client = client }):run() do
        assert.equal("no", report.delivered)
        assert.is_truthy(report.error.message:find("'ca_file' cannot be read: /no/file", 1, true))
        assert.is_nil((report.attempts or {})[1])
      end
    end
  )

  it("is usable if it has one certificate, at any position", function()
    local kinds = { pem, ("# words\n"):rep(20000) .. pem, (pem:gsub(" CERT", " TRUSTED CERT")) }
    for _, text in ipairs(kinds) do
      local path, remove = files.temporary(text)
      expect(path, nil)
      remove()
    end
  end)
end)
