-- The client's defaults, and what closing it does.

local autopilot_client = require "autopilot.client"
local core = require "autopilot.core"
local mistakes = require "support.mistakes"
local virtual_world = require "support.virtual_world"

local raised = mistakes.raised

describe("autopilot.client: defaults", function()
  it("are the documented ones", function()
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

  it("ends the client: every method then raises at the caller's line", function()
    local client, transport = virtual_world.new():scripted {}
    client:close()
    for _, method in ipairs { "sync", "status", "wait", "ensure" } do
      local line
      local message = raised(function()
        line = mistakes.this_line() + 1
        client[method](client)
      end)
      mistakes.assert_raised_at(line, message)
      assert.is_truthy(message:find(("client:%s: the client is closed"):format(method), 1, true))
    end
    assert.equal(0, #transport.requests)
  end)

  it("explains a call without its colon", function()
    local client = virtual_world.new():scripted {}
    for _, method in ipairs { "sync", "status", "wait", "ensure", "doctor", "close" } do
      for _, argument in ipairs { false, { timeout = 1 } } do
        local line
        local message = raised(function()
          line = mistakes.this_line() + 1
          client[method](argument or nil)
        end)
        mistakes.assert_raised_at(line, message, ("client.%s: "):format(method))
        assert.truthy(message:find(("as in client:%s {}"):format(method), 1, true), message)
      end
    end
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

  it("leaves the caller's own transport open", function()
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
