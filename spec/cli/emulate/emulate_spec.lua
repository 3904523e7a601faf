local await = require "support.await"
local cjson = require "cjson.safe"
local emulated_service = require "support.emulated_service"
local files = require "support.files"
local shell = require "autopilot.cli.emulate.shell"

local unpack = unpack or table.unpack -- luacheck: compat
local processes_with = emulated_service.processes_with

local settings_path = "/beta/deviceManagement/windowsAutopilotSettings"

describe("the emulated service in nginx", function()
  local service

  setup(function()
    service = emulated_service.start {
      cooldown = 300,
      duration = 30,
      emulator = {
        tenants = { fabrikam = { licensed = false } },
        clients = { curl = { secret = "~~~???" } }, -- in base64, these give + and /
        retry_after = "header",
      },
    }
  end)

  teardown(function()
    service.stop()
  end)

  before_each(function()
    service:control("POST", "reset")
  end)

  --- A request by the curl command: its answer as text, in parts; nil and what curl says without one.
  local function curl(path, ...)
    local output = shell.read(
      [[exec curl -sS -i --max-time 20 "$@" 2>&1]],
      "--cacert",
      service.ca_file,
      "-H",
      "Authorization: Bearer " .. service.token,
      service.url .. path,
      ...
    )
    local version, status, rest = output:match "^HTTP/([%d.]+) (%d+)[^\r\n]*(\r\n.*)$"
    if not version then
      return nil, output
    end
    local head, body = rest:match "^(.-\r\n)\r\n(.*)$"
    return { status = tonumber(status), version = version, head = head:lower(), body = body }
  end

  it("answers over TLS in HTTP/1.1 and in HTTP/2, as the emulator does", function()
    for option, version in pairs { ["--http1.1"] = "1.1", ["--http2"] = "2" } do
      service:control("POST", "reset")
      local record = curl(settings_path, option)
      assert.equal(200, record.status)
      assert.equal(version, record.version)
      assert.equal("unknown", cjson.decode(record.body).syncStatus)
      assert.matches("\r\ncontent%-type: application/json\r\n", record.head)
      assert.matches("\r\ncontent%-length: " .. #record.body .. "\r\n", record.head)
      assert.matches("\r\nrequest%-id: %x+%-", record.head)
      assert.matches("\r\nx%-ms%-ags%-diagnostic: {", record.head)

      local function post(...)
        return curl(settings_path .. "/sync", option, "-X", "POST", ...)
      end
      local started = post()
      assert.equal(204, started.status)
      assert.equal("", started.body)
      assert.is_nil(started.head:find("content-", 1, true))
      local refused = post("-H", "client-request-id: mine")
      assert.equal(409, refused.status)
      assert.matches("\r\nclient%-request%-id: mine\r\n", refused.head)
      service:control("POST", "advance?seconds=40")
      refused = post()
      assert.equal(429, refused.status)
      assert.matches("\r\nretry%-after: 2%d%d\r\n", refused.head)
      service:control("POST", "faults", { kind = "status", status = 503, body = "<p>" })
      refused = post()
      assert.same({ 503, "<p>" }, { refused.status, refused.body })
    end
  end)

  it("gives each answer one Date header, the emulator's", function()
    assert.is_true(math.abs(service:control("GET", "state").now - os.time()) < 60)
    service:control("POST", "advance?seconds=86400000")
    local now = service:control("GET", "state").now
    local dates = {}
    for date in curl(settings_path).head:gmatch "\r\ndate: ([^\r]*)" do
      dates[#dates + 1] = date
    end
    assert.equal(1, #dates)
    assert.equal(os.date("!%Y", math.floor(now)), dates[1]:match "^%a+, %d+ %a+ (%d+) ")
  end)

  it("gives a token for the account that it prints", function()
    local form = table.concat({
      "grant_type=client_credentials",
      "client_id=" .. service.client_id,
      "client_secret=" .. service.client_secret,
      "scope=https%3A%2F%2Fgraph.microsoft.com%2F.default",
    }, "&")
    local status, _, body = service:request {
      method = "POST",
      path = ("/%s/oauth2/v2.0/token"):format(service.tenant),
      headers = { ["content-type"] = "application/x-www-form-urlencoded" },
      body = form,
    }
    assert.equal(200, status)
    local token = cjson.decode(body).access_token
    local authorization = { authorization = "Bearer " .. token }
    assert.equal(
      200,
      service:request { method = "GET", path = settings_path, headers = authorization }
    )
  end)

  it("gives a token for a secret in a Basic header, as curl -u sends it", function()
    local scope = "scope=https://graph.microsoft.com/.default"
    local path = ("/%s/oauth2/v2.0/token"):format(service.tenant)
    local form = { "-d", "grant_type=client_credentials", "-d", scope }
    local output = shell.read(
      [[exec curl -sS --max-time 20 "$@" 2>&1]],
      "--cacert",
      service.ca_file,
      "-u",
      "curl:~~~???",
      service.url .. path,
      unpack(form)
    )
    assert.matches('"token_type":"Bearer"', output)
  end)

  it("takes a token longer than a real one and a body of many kilobytes", function()
    local long = { authorization = "Bearer " .. ("t"):rep(60000) }
    assert.equal(401, service:request { method = "GET", path = settings_path, headers = long })
    local body = "grant_type=x&filler=" .. ("f"):rep(200000)
    local path = "/fabrikam/oauth2/v2.0/token"
    assert.equal(400, service:request { method = "POST", path = path, body = body })
  end)

  it("uses the cooldown that it is given", function()
    service:control("POST", "trigger", { tenant = service.tenant })
    service:control("POST", "advance?seconds=200") -- real time passes too
    local sync = { "--http1.1", "-X", "POST" }
    assert.equal(429, curl(settings_path .. "/sync", unpack(sync)).status)
    service:control("POST", "advance?seconds=100")
    assert.equal(204, curl(settings_path .. "/sync", unpack(sync)).status)
  end)

  it("passes the emulator's options on", function()
    local token = service:control("POST", "tokens", { tenant = "fabrikam" }).token
    local status = service:request {
      method = "POST",
      path = settings_path .. "/sync",
      headers = { authorization = "Bearer " .. token },
    }
    assert.equal(400, status)
  end)

  it("lets a test move its clock, trigger syncs, inject faults and read what happened", function()
    local empty = select(3, service:request { method = "GET", path = "/emulator/log" })
    assert.equal("[]", empty)
    local tenant = { tenant = service.tenant, by = "portal" }
    assert.same({ started = true }, service:control("POST", "trigger", tenant))
    assert.same(
      { started = false, reason = "in_progress" },
      service:control("POST", "trigger", tenant)
    )
    local before = service:control("GET", "state").now
    service:control("POST", "advance?seconds=700")
    local after = service:control("GET", "state").now
    assert.is_true(after - before >= 700 and after - before < 760)

    service:control(
      "POST",
      "faults",
      { { kind = "lost_answer", on = "sync" }, { kind = "throttle" } }
    )
    assert.equal(429, curl(settings_path).status)
    assert.is_nil(curl(settings_path .. "/sync", "--http1.1", "-X", "POST"))
    local seen = {}
    for index, event in ipairs(service:control("GET", "log")) do
      seen[index] = ("%s %s"):format(event.event, event.fault or event.by)
    end
    assert.same({
      "sync portal",
      "request throttle",
      "request lost_answer",
      "sync " .. service.client_id,
    }, seen)
    assert.same(
      { sync = 1, status = 1, token = 0, device_code = 0, identity = 0, discovery = 0, other = 0 },
      service:control("GET", "state").requests
    )
  end)

  it("closes the connection without an answer for a lost request or answer", function()
    for _, option in ipairs { "--http1.1", "--http2" } do
      for _, kind in ipairs { "unsent", "lost_request", "lost_answer" } do
        service:control("POST", "faults", { kind = kind })
        local answer, failure = curl(settings_path, option)
        assert.is_nil(answer)
        assert.matches("^curl: %(%d+%)", failure)
        assert.equal(200, curl(settings_path, option).status)
      end
    end
  end)

  it("sends a late answer without delaying others", function()
    local before = service:control("GET", "state").now
    service:control("POST", "faults", { kind = "slow_answer", seconds = 3600, on = "status" })
    local request = [[exec curl -sS --cacert "$1" "$2" >/dev/null 2>&1 & echo $!]]
    local late = shell.read(request, service.ca_file, service.url .. settings_path)
    local state = await("the request", function()
      local state = service:control("GET", "state")
      return state.requests.status == 1 and state
    end)
    shell.read('kill "$1"', late:match "%d+")
    assert.is_true(state.now < before + 1800) -- real time passes, not the emulator's alone
  end)

  it("has only the controls in doc/testing.md", function()
    local written = files.read "doc/testing.md"
    local source = files.read "lua/autopilot/cli/emulate/service.lua"
    local count = 0
    for name in source:gmatch '%["(%u+ %l+)"%] =' do
      assert.is_truthy(written:find("`" .. name .. "[`?]"), name)
      count = count + 1
    end
    assert.is_true(count >= 10)
  end)

  it("says why it refuses a control", function()
    assert.has_error(
      function()
        service:control("POST", "faults", { kind = "lost" })
      end,
      "the emulated service refuses POST faults: "
        .. "autopilot.emulator:inject: option 'kind' must be known (got 'lost')"
    )
    assert.has_error(
      function()
        service:control("POST", "trigger", 7)
      end,
      "the emulated service refuses POST trigger: "
        .. "autopilot.emulator: a tenant must be an id or a domain"
    )
    assert.has_error(function()
      service:control("GET", "nothing")
    end, "the emulated service refuses GET nothing: no such control")
  end)

  it("makes its folder private, and keeps only its certificate's key there", function()
    assert.matches("^drwx%-%-%-%-%-%-", shell.read('ls -ld "$1"', service.folder))
    for line in shell.read('ls -l "$1"', service.folder):gmatch "[^\n]+" do
      assert.is_truthy(line:match "^.[r-][w-][x-]%-%-%-%-%-%-" or line:match "^total")
    end
    local keys = shell.read('cd "$1" && grep -l "PRIVATE KEY" *.*', service.folder)
    assert.equal("server.key\n", keys)
    local certificate = shell.read('openssl x509 -in "$1" -noout -text', service.ca_file)
    assert.matches("CA:FALSE", certificate)
  end)

  it("listens on loopback only", function()
    local listening = shell.read('grep "listen " "$1/nginx.conf"', service.folder)
    local port = service.url:match ":(%d+)$"
    for line in listening:gmatch "[^\n]+" do
      local address = line:match "^ *listen (%S+):"
      assert.is_true(address == "127.0.0.1" or address == "[::1]")
      assert.matches(":" .. port .. " ssl", line)
    end
    assert.is_true(tonumber(port) >= 20000 and tonumber(port) <= 32000)
  end)

  it("has no secret among the arguments of its processes", function()
    local arguments = processes_with(service.folder)
    assert.matches("nginx", arguments)
    assert.equal("", processes_with(service.client_secret))
    assert.equal("", processes_with(service.token))
  end)

  it("logs nothing unexpected", function()
    assert.equal("", shell.read('cat "$1/error.log"', service.folder))
  end)
end)
