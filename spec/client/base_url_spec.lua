-- The token is sent to a host over TLS, or to this machine, and nowhere else.

local autopilot_client = require "autopilot.client"
local core = require "autopilot.core"
local mistake = require("support.mistakes").of_client
local virtual_world = require "support.virtual_world"

describe("autopilot.client: the base_url", function()
  local function accepted(url)
    return pcall(autopilot_client, { token = "t", base_url = url, transport = function() end })
  end

  it("is a scheme, a host and an optional port", function()
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

  it("is refused with anything else, in any disguise", function()
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

  it("is never quoted, because it may contain a password", function()
    local message = mistake { base_url = "https://admin:hunter2@host" }
    assert.is_nil(message:find "hunter2")
    assert.is_nil(message:find "admin")
  end)

  it("replaces the cloud's host only", function()
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

  it("on this machine leaves the environment's proxy to requests to other hosts", function()
    local client = autopilot_client { token = "t", base_url = "https://127.0.0.1:1" }
    local request, proxies = core.request, {}
    finally(function()
      core.request = request
      client:close()
    end)
    function core.request(given)
      proxies[#proxies + 1] = given.proxy or "the environment's"
      return request(given)
    end
    for _, url in ipairs { "https://127.0.0.1:1/beta", "https://login.example/token" } do
      client.transport:prepare { method = "GET", url = url }
    end
    assert.same({ "", "the environment's" }, proxies)
  end)
end)
