-- The events of each request with `trace = true`, and what they never contain.

local client_secret = require("autopilot.token.application").client_secret
local token_world = require "support.token_world"
local virtual_world = require "support.virtual_world"

local assert_nowhere = token_world.assert_nowhere

local function lines_of(world)
  local lines = {}
  for index, event in ipairs(world:events_of "trace") do
    lines[index] = event.text
    assert.equal("contoso", event.tenant)
  end
  return lines
end

describe("the events trace", function()
  it("contain the request, the answer and its times, line by line", function()
    local world = virtual_world.new()
    local client = world:scripted({
      {
        status = 204,
        http_version = "2",
        headers = { ["request-id"] = "r", ["set-cookie"] = "session=hidden" },
        timings = { name_lookup = 0.001, connect = 0, tls = 0, first_byte = 0.25, total = 0.25 },
      },
    }, { trace = true })
    client:sync { client_request_id = "mine" }
    local lines = lines_of(world)
    assert.matches("^> POST https://graph%.microsoft%.com/beta/.*/sync$", lines[1])
    assert.same({
      "> Accept: application/json",
      "> Authorization: [hidden]",
      "> User-Agent: " .. client.options.http.user_agent,
      "> client-request-id: mine",
      "< HTTP/2 204",
      "< request-id: r",
      "< set-cookie: [hidden]",
      "* name lookup 0.001 s, first byte 0.250 s, total 0.250 s",
    }, { (table.unpack or unpack)(lines, 2) }) -- luacheck: compat
  end)

  it("contain the network failure, and the proxy without its password", function()
    local world = virtual_world.new()
    local client = world:scripted({
      { network = { stage = "tls", name = "CURLE_X", message = "no way", delivered = "no" } },
    }, { trace = true, retry = false, http = { proxy = "http://me:hidden@proxy.test:3128" } })
    client:status()
    local lines = lines_of(world)
    assert.equal("* proxy http://proxy.test:3128", lines[1])
    assert.equal("* tls failed (CURLE_X): no way", lines[#lines])
  end)

  --- The lines about the connection of a request whose transport tells these facts, in the place of libcurl.
  local function connection_lines(facts)
    local world, sent = virtual_world.new(), {}
    local transport = setmetatable({ close = function() end }, { __call = function() end })
    function transport.prepare(_, template)
      sent[#sent + 1] = template
      return function()
        return { status = 204, headers = {}, body = "", sends = 1, facts = facts }
      end
    end
    world:client({ trace = true, transport = transport }):sync()
    assert.is_true(sent[1].facts)
    local lines = {}
    for _, line in ipairs(lines_of(world)) do
      lines[#lines + 1] = line:find "^%*" and line or nil
    end
    return lines
  end

  it("contain the connection's address and proxy, and its TLS if it is new", function()
    local getenv = os.getenv
    os.getenv = function(name) -- luacheck: ignore
      return name == "https_proxy" and "http://me:hidden@proxy.test:3128" or getenv(name)
    end
    local is_fine, lines = pcall(
      connection_lines,
      "Address:192.0.2.7\0Connection:new\0TLS:TLSv1.3\0Proxy:https_proxy\0"
        .. "Issuer:CN = An authority\0Issuer:CN = Its root\0"
    )
    os.getenv = getenv -- luacheck: ignore
    assert(is_fine, lines)
    assert.same({
      "* proxy http://proxy.test:3128, named by https_proxy",
      "* connected to 192.0.2.7, a new connection",
      "* TLSv1.3, certificate issued by CN = An authority",
    }, lines)
    assert.same(
      { "* connected to 192.0.2.7, the connection of an earlier request" },
      connection_lines "Address:192.0.2.7\0Connection:open before\0"
    )
    assert.same({}, connection_lines(nil))
  end)

  it("contain real connections, which are used as without the option", function()
    local hostile, wire = require "support.hostile_server", require "support.wire"
    local server = hostile.listen(wire.tls(wire.serves()))
    local lines = {}
    local client = require "autopilot.client" {
      token = "good",
      base_url = server:url("", "https"),
      transport = wire.transport { ca_file = wire.certificates().ca },
      cooldown = 0,
      trace = true,
      on_event = function(event)
        lines[#lines + 1] = event.type == "trace" and event.text:match "^%* [cT].*" or nil
      end,
    }
    for _ = 1, 2 do
      assert(client:sync())
    end
    client:close()
    local count = #server.connections
    wire.close()
    wire.teardown()
    assert.equal(1, count)
    assert.equal("* connected to 127.0.0.1, a new connection", lines[1])
    assert.matches("^%* TLS[v%d.]*, certificate issued by .*Authority of the specs", lines[2])
    assert.equal("* connected to 127.0.0.1, the connection of an earlier request", lines[3])
    assert.equal(3, #lines)
  end)

  it("contain the request for a token too, without any secret that an answer repeats", function()
    local world = virtual_world.new()
    local secret = "a-secret/of more than sixteen characters"
    local echo =
      { ["x-echo"] = "secret " .. secret, ["x-token"] = "Bearer the-access-token-itself" }
    local client = world:scripted({
      {
        status = 200,
        body = '{"access_token":"the-access-token-itself","expires_in":60}',
        headers = echo,
      },
      { status = 204, headers = { ["x-token"] = echo["x-token"] } },
    }, {
      trace = true,
      token = client_secret { tenant = "contoso", client_id = "app", client_secret = secret },
    })
    assert.equal("started", client:sync().outcome)
    local lines = lines_of(world)
    assert.equal("> POST https://login.microsoftonline.com/contoso/oauth2/v2.0/token", lines[1])
    assert_nowhere("the-access-token-itself", lines)
    assert_nowhere(secret, lines)
  end)

  it("contain no password or key of the URL to which a user's own provider sends", function()
    local world = virtual_world.new()
    local client = world:client {
      trace = true,
      transport = function(request)
        return {
          status = 204,
          headers = { ["Set-Cookie"] = "hidden", place = request.url },
          body = "",
        }
      end,
      token = function(ask)
        ask.transport {
          method = "GET",
          url = "https://me:hidden@vault.test/a@b?code=hidden&resource=x&sig=hid=den#k",
          headers = {},
        }
        return "token"
      end,
    }
    client:sync()
    local lines = lines_of(world)
    assert.equal("> GET https://vault.test/a@b?code=[hidden]&resource=x&sig=[hidden]", lines[1])
    assert.equal("< Set-Cookie: [hidden]", lines[3])
    assert_nowhere("code=hidden", lines)
    assert_nowhere("hid=den", lines)
  end)

  it("ignore values from a user's own provider that they cannot show", function()
    local world = virtual_world.new()
    local client = world:client {
      trace = true,
      transport = function()
        return { status = 204, headers = {}, body = "" }
      end,
      token = function(ask)
        ask.transport { headers = { "not a name" } }
        return "token"
      end,
    }
    assert.equal("started", client:sync().outcome)
  end)

  it("ignore values from a transport that they cannot show", function()
    local world = virtual_world.new()
    local client = world:client {
      trace = true,
      retry = false,
      transport = function(request)
        return request.body and { status = 200, headers = 7, body = {} } or { status = 204 }
      end,
      token = client_secret { tenant = "contoso", client_id = "app", client_secret = "secret" },
    }
    local _, failure = client:sync()
    assert.equal("the token endpoint's answer holds no token", failure.error.message)
  end)

  it("are absent without the option", function()
    local world = virtual_world.new()
    world:scripted({ { status = 204 } }):sync()
    assert.same({}, world:events_of "trace")
  end)
end)
