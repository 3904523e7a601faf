-- The client's options, its closing, and the rule that a caller's mistake raises where it was made.

local autopilot_client = require "autopilot.client"
local core = require "autopilot.core"
local retry = require "autopilot.retry"
local virtual_world = require "support.virtual_world"

local raised = virtual_world.raised

--- The line of this file that calls this function.
local function this_line()
  return debug.getinfo(2, "l").currentline
end

--- Fails unless the message points at that line of this file.
local function assert_raised_at(line, message)
  local place = ("client_spec.lua:%d: "):format(line)
  assert.is_truthy(message:find(place, 1, true), message)
end

--- The mistake that these options are said to be, without its place.
local function mistake(given)
  given.token = given.token or "token"
  return (raised(autopilot_client, given):gsub("^.-:%d+: ", ""))
end

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
  end)

  it("raises for a retry that is neither a policy nor false", function()
    assert.is_truthy(mistake({ retry = true }):find "must be made by autopilot.retry, or false")
    assert.is_truthy(mistake({ retry = {} }):find "must be made by autopilot.retry, or false")
    assert.has_no.errors(function()
      autopilot_client { token = "t", retry = false }
      autopilot_client { token = "t", retry = retry.graph() }
    end)
  end)

  it("raises for an api_version that would leave its place in the path", function()
    for _, version in ipairs { "", "..", ".", "../x", "v1.0?x", "v1.0#x", "v 1", "v1\r\n" } do
      assert.is_truthy(mistake({ api_version = version }):find "api_version", version)
    end
  end)

  it("raises for a tenant that is no id and no domain", function()
    for _, tenant in ipairs { "", "a b", "a/b", "a\r\nb", "a\0b" } do
      assert.is_truthy(mistake({ tenant = tenant }):find "must be a tenant id or a domain")
    end
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
    end
    assert.equal(0, #transport.requests)
  end)
end)

describe("autopilot.client: the base_url", function()
  local function accepted(url)
    return pcall(autopilot_client, { token = "t", base_url = url, transport = function() end })
  end

  it("is a scheme, a host and perhaps a port", function()
    for _, url in ipairs {
      "https://graph.example",
      "https://graph.example/",
      "https://graph.example:8443",
      "https://Graph.EXAMPLE",
      "HTTPS://graph.example",
      "https://10.0.0.1:65535",
      "https://[2001:db8::1]:443",
    } do
      assert.is_true(accepted(url), url)
    end
  end)

  it("may be http for a loopback host only", function()
    for _, url in ipairs {
      "http://localhost",
      "http://LOCALHOST:8080",
      "http://127.0.0.1:1",
      "http://127.255.255.254",
      "http://[::1]:8080",
    } do
      assert.is_true(accepted(url), url)
    end
    for _, url in ipairs {
      "http://graph.microsoft.com",
      "http://128.0.0.1",
      "http://127.0.0.1.evil.example",
      "http://127.0.0.1evil",
      "http://127.1",
      "http://127.0.0.256",
      "http://127.999.0.1",
      "http://0.0.0.0",
      "http://10.0.0.1",
      "http://localhost.evil.example",
      "http://evil-localhost",
      "http://[::2]",
      "http://[2001:db8::1]",
      "http://169.254.169.254",
    } do
      assert.is_false(accepted(url), url)
      assert.is_truthy(mistake({ base_url = url }):find "must be https", url)
    end
  end)

  it("is refused with anything more, whatever trick hides it", function()
    for _, url in ipairs {
      "",
      "graph.microsoft.com",
      "//graph.microsoft.com",
      "https://",
      "https:///",
      "https://:443",
      "https://host/path",
      "https://host//",
      "https://host?query",
      "https://host/?query",
      "https://host#fragment",
      "https://user@host",
      "https://user:password@host",
      "http://127.0.0.1@evil.example",
      "http://127.0.0.1:80@evil.example",
      "http://127.0.0.1\\@evil.example",
      "http://127.0.0.1#@evil.example",
      "http://localhost:80:evil",
      "https://host:",
      "https://host:0",
      "https://host:00",
      "https://host:65536",
      "https://host:123456",
      "https://host:-1",
      "https://host:+1",
      "https://host:1e3",
      "https://host:8443x",
      "https://ho st",
      " https://host",
      "https://host ",
      "https://host\n",
      "https://host\r\nX: y",
      "https://host\0.evil",
      "https://host\t",
      "https://h%6fst",
      "https://[::1",
      "https://::1",
      "https://[::1]x",
      "https://[fe80::1%25eth0]",
      "https://[host]",
      "ftp://host",
      "file:///etc/passwd",
      "javascript:alert(1)",
      "https:host",
      "https:/host",
      "httpss://host",
    } do
      assert.is_false(accepted(url), url)
      assert.is_truthy(mistake({ base_url = url }):find "option 'base_url' must be", url)
    end
  end)

  it("is never quoted, since a password may stand in it", function()
    local message = mistake { base_url = "https://admin:hunter2@host" }
    assert.is_nil(message:find "hunter2")
    assert.is_nil(message:find "admin")
  end)

  it("takes the place of the cloud's host, and nothing else", function()
    local world = virtual_world.new()
    local client, transport = world:scripted(
      { { status = 204 } },
      { base_url = "https://gateway.example:8443/" }
    )
    client:sync()
    assert.equal(
      "https://gateway.example:8443/beta/deviceManagement/windowsAutopilotSettings/sync",
      transport.requests[1].url
    )
  end)
end)

describe("autopilot.client: secrets and header values", function()
  it("refuses CR, LF and NUL in a token at once, without quoting it", function()
    for _, bad in ipairs { "secret\r", "secret\n", "\nsecret", "sec\0ret", "secret\r\nX: y" } do
      local message = mistake { token = bad }
      assert.is_truthy(message:find "option 'token' must not contain CR, LF or NUL")
      assert.is_nil(message:find "secret")
      assert.is_nil(message:find "sec")
    end
  end)

  it("refuses an empty token, and one that is neither text nor a provider", function()
    assert.is_truthy(mistake({ token = "" }):find "option 'token' must not be empty")
    for _, bad in ipairs { 5, true, {} } do
      assert.is_truthy(
        mistake({ token = bad }):find "option 'token' must be a string or a function"
      )
    end
  end)

  it("refuses control characters in the user agent, without quoting it", function()
    for _, bad in ipairs { "fleet\r\nX: y", "fleet\n", "fleet\0", "fleet\127" } do
      local message = mistake { http = { user_agent = bad } }
      assert.is_truthy(message:find "option 'http.user_agent' must not contain control characters")
      assert.is_nil(message:find "fleet")
    end
  end)

  it("refuses a client_request_id that is no plain id, without quoting it", function()
    local client, transport = virtual_world.new():scripted {}
    local bad_ids = { "", "fleet\r\nX: y", "fleet\0", "fleet 1", "fleet:1", ("f"):rep(129) }
    for _, bad in ipairs(bad_ids) do
      local message = raised(client.sync, client, { client_request_id = bad })
      assert.is_truthy(message:find "client:sync: option 'client_request_id' must", bad)
      assert.is_nil(message:find "fleet")
    end
    assert.equal(0, #transport.requests)
  end)

  it("does not show the token or a proxy's password in tostring or in an error", function()
    local client = autopilot_client { token = "hush-hush", tenant = "contoso" }
    assert.equal("autopilot.client (contoso, https://graph.microsoft.com)", tostring(client))
    assert.is_nil(mistake({ http = { proxy = "ftp://me:hunter2@proxy" } }):find "hunter2")
  end)

  it("refuses a proxy for http, where the token would pass in the clear", function()
    local line
    local message = raised(function()
      line = this_line() + 1
      autopilot_client {
        token = "t",
        base_url = "http://127.0.0.1:8080",
        http = { proxy = "http://proxy:3128" },
      }
    end)
    assert.is_truthy(message:find "http.proxy")
    assert.is_truthy(message:find("client_spec.lua:", 1, true))
    assert.is_true(line > 0)
  end)
end)

describe("autopilot.client: defaults", function()
  it("are those of the contract", function()
    local world = virtual_world.new()
    local client, transport = world:scripted { { status = 204 } }
    client:sync()
    local request = transport.requests[1]
    assert.same({ connect = 10, total = 60 }, request.timeout)
    assert.equal("POST", request.method)
    assert.is_nil(request.body)
    assert.equal(
      "https://graph.microsoft.com/beta/deviceManagement/windowsAutopilotSettings/sync",
      request.url
    )
    local refused = select(2, client:sync())
    assert.equal("cooldown", refused.outcome)
    assert.equal(610, refused.retry_after)
  end)

  it("can be changed one by one", function()
    local world = virtual_world.new()
    local client, transport = world:scripted({ { status = 204 } }, {
      api_version = "v1.0",
      timeout = { total = 5 },
      cooldown = 60,
      cooldown_margin = 1,
    })
    client:sync()
    assert.same({ connect = 10, total = 5 }, transport.requests[1].timeout)
    assert.is_truthy(transport.requests[1].url:find("/v1.0/deviceManagement/", 1, true))
    assert.equal(61, select(2, client:sync()).retry_after)
  end)

  it("work with the system's own clocks and randomness", function()
    local scripted = require "autopilot.transport.scripted"
    local client = autopilot_client { token = "t", transport = scripted { { status = 204 } } }
    local before = core.now()
    local report = assert(client:sync())
    assert.is_true(report.elapsed >= 0 and report.elapsed < 60)
    local refused = select(2, client:sync())
    assert.is_true(refused.retry_at >= before + 609 and refused.retry_at <= core.now() + 611)
  end)

  it("do not change what the caller gave", function()
    local given = { token = "t", http = {}, timeout = {}, base_url = "http://127.0.0.1:1" }
    autopilot_client(given)
    assert.same({ token = "t", http = {}, timeout = {}, base_url = "http://127.0.0.1:1" }, given)
  end)
end)

describe("autopilot.client: close", function()
  it("may be called again and again", function()
    local client = autopilot_client { token = "t" }
    client:close()
    client:close()
    client:close()
    assert.equal("autopilot.client (closed)", tostring(client))
  end)

  it("ends the client: every method raises at its caller's line then", function()
    local client, transport = virtual_world.new():scripted {}
    client:close()
    for _, method in ipairs { "sync", "status", "wait", "ensure" } do
      local line
      local message = raised(function()
        line = this_line() + 1
        client[method](client)
      end)
      assert_raised_at(line, message)
      assert.is_truthy(message:find(("client:%s: the client is closed"):format(method), 1, true))
    end
    assert.equal(0, #transport.requests)
  end)

  it("forgets the token", function()
    local client = virtual_world.new():client {
      token = function()
        return "hush-hush"
      end,
      transport = function()
        return { status = 204 }
      end,
    }
    client:sync()
    client:close()
    local seen = {}
    local function search(value)
      assert.is_false(type(value) == "string" and value:find("hush", 1, true) ~= nil)
      if type(value) == "table" and not seen[value] then
        seen[value] = true
        for key, field in pairs(value) do
          search(key)
          search(field)
        end
      end
    end
    search(client)
  end)

  it("leaves a transport alone that the caller gave", function()
    local closed = false
    local transport = setmetatable({
      close = function()
        closed = true
      end,
    }, {
      __call = function()
        return { status = 204 }
      end,
    })
    autopilot_client({ token = "t", transport = transport }):close()
    assert.is_false(closed)
  end)

  it("happens at the end of a block in Lua 5.4", function()
    local load_text = loadstring or load -- luacheck: compat
    local in_block = load_text [[
      local make = ...
      local outside
      do
        local client <close> = make()
        outside = client
      end
      return outside
    ]]
    if not in_block then
      return -- an older Lua does not know the syntax
    end
    local client = in_block(function()
      return autopilot_client { token = "t" }
    end)
    assert.is_truthy(raised(client.sync, client):find "closed")
  end)

  it("happens when the client is collected", function()
    local metatable = getmetatable(autopilot_client { token = "t" })
    local client = autopilot_client { token = "t" }
    metatable.__gc(client)
    metatable.__gc(client)
    assert.is_truthy(raised(client.status, client):find "closed")
    autopilot_client { token = "unused" } -- one that nobody keeps
    collectgarbage()
    collectgarbage()
  end)
end)
