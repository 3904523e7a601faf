-- What the providers share: how a sign-in fails, and foreign text in messages.

local provider = require "autopilot.token.provider"

describe("a provider of autopilot.token.provider.kind", function()
  local function ask(provide)
    local new = provider.kind("spec", {}, function()
      return provide
    end)
    return new {} {}
  end

  it("returns a message with details if its sign-in fails", function()
    local facts = { code = "TenantMismatch", hint = "Name one tenant." }
    local details = { code = "TenantMismatch", hint = "Name one tenant.", is_transient = false }
    local function fail()
      provider.fail("wrong", facts)
    end
    local function need()
      provider.need(nil, "wrong", facts)
    end
    assert.same({ nil, "wrong", details }, { ask(fail) })
    assert.same({ nil, "wrong", details }, { ask(need) })
    assert.is_nil(facts.is_transient)
  end)

  it("says that another attempt would fail in the same way", function()
    local function provide()
      provider.fail "wrong"
    end
    assert.same({ nil, "wrong", { is_transient = false } }, { ask(provide) })
    local function wait()
      provider.fail("busy", { is_transient = true })
    end
    assert.same({ nil, "busy", { is_transient = true } }, { ask(wait) })
  end)

  it("reads and sends nothing after the deadline", function()
    local new = provider.kind("spec", {}, function()
      return error
    end)
    local function now()
      return 1000
    end
    local message, details = select(2, new {} { now = now, deadline = 1000 })
    assert.equal("the deadline passed before the token was there", message)
    assert.same({ is_transient = true }, details)
  end)

  it("continues with the values that it needs, and raises any other error", function()
    local function provide()
      return provider.need("a-token", "wrong")
    end
    assert.equal("a-token", (ask(provide)))
    local function broken()
      error("boom", 0)
    end
    assert.same({ false, "boom" }, { pcall(ask, broken) })
  end)
end)

describe("autopilot.token.provider.cleaner", function()
  it("makes one bounded line of valid UTF-8 without control and direction characters", function()
    local clean = provider.cleaner()
    assert.equal("a b [31mc", clean "  a\r\n\0b \27[31mc\n")
    assert.equal("ab\239\191\189", clean "a\226\128\174b\255")
    assert.equal(("x"):rep(299) .. "\226\128\166", clean(("x"):rep(5000)))
    assert.equal("xx\226\128\166", clean("xxxx", 3))
  end)

  it("removes secrets before the text is cut, and everything like a token", function()
    local clean = provider.cleaner { "hush-4f6c1d0e9a7b-hush" }
    local line = clean(("x"):rep(290) .. "hush-4f6c1d0e9a7b-hush")
    assert.is_nil(line:find("hush", 1, true))
    assert.equal("no [redacted]", clean "no eyJhbGciOiJub25lIn0.eyJ0aWQiOiJjb250b3NvIn0.c2ln")
  end)

  it("is nil for anything but text, and if nothing is left", function()
    local clean = provider.cleaner()
    for _, value in ipairs { 5, true, {}, "", " \r\n" } do
      assert.is_nil((clean(value)))
    end
    assert.is_nil((clean(nil)))
  end)
end)

describe("autopilot.token.provider.open", function()
  it("makes a provider by its name", function()
    local function getenv() end
    local _, message = provider.open("environment", { getenv = getenv }) {}
    assert.is_truthy(message:find "^the environment names no way to sign in", message)
  end)

  it("makes one that reports its invalid options when it is called", function()
    local opened = provider.open("client_secret", { client_secret = "hidden" }, "it is wrong: ")
    local token, message, details = opened {}
    assert.is_nil(token)
    assert.is_truthy(message:find("^it is wrong: .*option 'client_id' is required"), message)
    assert.is_nil(message:find("hidden", 1, true))
    assert.same({ is_transient = false }, details)
  end)
end)
