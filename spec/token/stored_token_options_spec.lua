-- The options of a cache whose tokens are in a store.

local cached = require "autopilot.token.cached"
local mistakes = require "support.mistakes"
local stores = require "autopilot.store"
local token_store = require "support.token_store"

describe("the options of a cache with a store", function()
  local function mistake(given)
    return mistakes.raised(function()
      local provider = cached(print, given)
      return provider
    end)
  end

  it("raise at the caller's line when something is missing", function()
    for _, case in ipairs {
      { { store = stores.memory() }, "option 'store' needs option 'identity'" },
      {
        { store = stores.memory(), identity = "app" },
        "option 'store' needs option 'encryption_key'",
      },
      {
        { store = stores.memory(), identity = "app", encryption_key = "password" },
        "option 'encryption_key' must have at least 32 random bytes",
      },
      { { store = {} }, "option 'store' must have a method 'add'" },
    } do
      local message = mistake(case[1])
      assert.is_truthy(message:find(case[2], 1, true), message)
      assert.is_truthy(message:find("stored_token_options_spec.lua:", 1, true), message)
      assert.is_nil(message:find("password", 1, true))
    end
  end)

  it("say what to install if luaossl is missing", function()
    local loaded, preload = package.loaded["openssl.cipher"], package.preload["openssl.cipher"]
    package.loaded["openssl.cipher"] = nil
    package.preload["openssl.cipher"] = function()
      error "not there"
    end
    local given =
      { store = stores.memory(), identity = "app", encryption_key = token_store.encryption_key }
    local ok, message = pcall(mistake, given)
    package.loaded["openssl.cipher"], package.preload["openssl.cipher"] = loaded, preload
    assert(ok, message)
    assert.is_truthy(message:find("needs luaossl, which is not installed", 1, true), message)
  end)

  it("apply to a provider that has a cache already, without a second one", function()
    local world = token_store.new()
    local fetched = token_store.source()
    local provider = cached(fetched.provider)
    assert.are.equal(provider, cached(provider))
    assert.are.equal("token-1", (world:worker(provider)(world:asking())))
    assert.are.equal("token-1", (world:worker(provider)(world:asking())))
    assert.are.equal("token-2", (provider(world:asking())))
  end)
end)
