-- The facade of the ways to sign in.

local autopilot = require "autopilot"
local mistakes = require "support.mistakes"
local token = require "autopilot.token"
local virtual_world = require "support.virtual_world"

--- A client that signs in with a secret, and its service.
local function signing_in(world)
  local provider = token.client_secret { client_id = "app", client_secret = "s" }
  local clients = { app = { secret = "s" } }
  return world:emulated({ clients = clients }, { token = provider, cooldown = 0 })
end

describe("autopilot.token", function()
  it("is a part of the library", function()
    assert.equal(token, autopilot.token)
  end)

  it("has only its ways to sign in", function()
    assert.is_nil(token.oauth)
    assert.is_nil(token.clients)
    assert.is_nil(token[1])
  end)

  it("loads a way when it is first used", function()
    local module = "autopilot.token.application"
    package.loaded[module] = nil
    package.loaded["autopilot.token"] = nil
    local fresh = require "autopilot.token"
    local make = fresh.client_secret
    assert.is_nil(package.loaded[module])
    make { client_id = "a", client_secret = "b" }
    assert.is_truthy(package.loaded[module])
    package.loaded["autopilot.token"] = token
  end)

  it("caches the tokens of its providers: one token request for many syncs", function()
    local world = virtual_world.new()
    local client, service = signing_in(world)
    for _ = 1, 5 do
      assert(client:sync())
      world:pass(600)
    end
    assert.equal(1, service.requests.token)
    world:pass(600)
    assert(client:sync())
    assert.equal(2, service.requests.token)
  end)

  it("replaces a token that the service refuses", function()
    local world = virtual_world.new()
    local client, service = signing_in(world)
    assert(client:status())
    -- All that it knew is lost: it is another service now.
    local known = service.tokens
    for text in pairs(known.issued) do
      known.issued[text] = nil
    end
    assert(client:status())
    assert.equal(2, service.requests.token)
  end)

  it("reports a caller's mistake at the caller's line", function()
    for _, case in ipairs {
      { "client_secret", { client_id = "a", client_secrt = "b" }, "unknown option 'client_secrt'" },
      { "client_secret", { client_id = "a" }, "needs one of the options" },
      { "client_certificate", {}, "is required" },
      { "workload_identity", { token_fil = "x" }, "unknown option 'token_fil'" },
      { "device_code", { client_id = "a" }, "option 'prompt' is required" },
      { "environment", { tenant = "a/b" }, "option 'tenant' must be" },
      { "static", "", "the token must not be empty" },
      { "cached", "x", "option 'provider' must be a function" },
      { "chain", {}, "needs a list of token providers" },
    } do
      local line
      local message = mistakes.raised(function()
        line = mistakes.this_line() + 1
        local provider = token[case[1]](case[2])
        return provider
      end)
      mistakes.assert_raised_at(line, message, ("autopilot.token.%s: "):format(case[1]))
      assert.is_truthy(message:find(case[3]), message)
    end
  end)
end)
