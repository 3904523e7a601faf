-- What the cache writes into a store of tokens, and what it reads there.

local sealed_text = require "autopilot.token.sealed_text"
local token_store = require "support.token_store"

local world

before_each(function()
  world = token_store.new()
end)

--- All keys and values that are written into the world's store from now on.
local function spy()
  local inner, seen, spies = world.store, {}, {}
  for _, method in ipairs { "add", "get", "set", "delete_if" } do
    spies[method] = function(_, ...)
      for _, text in ipairs { ... } do
        seen[#seen + 1] = tostring(text)
      end
      return inner[method](inner, ...)
    end
  end
  world:replace(spies)
  return seen
end

describe("what is in the store", function()
  it("is neither the token nor the key", function()
    local seen = spy()
    local function provider()
      return "eyJ-a-very-secret-token", 3600
    end
    assert.are.equal("eyJ-a-very-secret-token", (world:worker(provider)(world:asking())))
    assert.are.equal("eyJ-a-very-secret-token", (world:worker(provider)(world:asking())))
    local all = table.concat(seen, "\n")
    assert.is_nil(all:find("secret-token", 1, true))
    assert.is_nil(all:find(token_store.encryption_key, 1, true))
  end)

  --- The token of a worker whose store has this value for every key but those of claims. `seal` encrypts it.
  local function token_beside(value, seal)
    world = token_store.new()
    local real = world.store
    world:replace {
      get = function(_, name)
        return name:find ":claim$" and real:get(name) or seal and seal(name, value) or value
      end,
    }
    return (world:worker(token_store.source().provider)(world:asking()))
  end

  local good = '{"token":"good","obtained_at":1700000000%s}'

  it("is ignored when it cannot be opened, or is not a token", function()
    local values = { "", "x", "\1" .. ("x"):rep(200), good:format "", "{}" }
    for _, value in ipairs(values) do
      assert.are.equal("token-1", token_beside(value))
    end
  end)

  it("is ignored when it is not encrypted, or not in the form of a worker", function()
    local sealing = assert(sealed_text.new(token_store.encryption_key))
    local function seal(name, value)
      return sealing.seal(name, value)
    end
    assert.are.equal("good", token_beside(good:format "", seal))
    assert.are.equal("token-1", token_beside(good:format ""))
    for _, value in ipairs {
      "5",
      '{"token":5,"obtained_at":1700000000}',
      '{"token":"","obtained_at":1700000000}',
      '{"token":"evil\\r\\nX: y","obtained_at":1700000000}',
      '{"token":"evil"}',
      '{"token":"evil","obtained_at":"1700000000"}',
      '{"token":"evil","obtained_at":1700000100}', -- by a clock that is ahead
      good:format ',"expires_at":"1700003600"',
      good:format ',"fresh_until":"1700003600"',
      good:format ',"claims":5',
    } do
      assert.are.equal("token-1", token_beside(value, seal), value)
    end
  end)

  it("is ignored when another key sealed it, or it was moved to another place", function()
    local fetched = token_store.source()
    world:worker(fetched.provider)(world:asking())
    local other = { encryption_key = ("o"):rep(32) }
    assert.are.equal("token-2", (world:worker(fetched.provider, other)(world:asking())))

    local real = world.store
    world:replace {
      get = function(_, name)
        return real:get((name:gsub("fabrikam", "contoso")))
      end,
    }
    assert.are.equal(
      "token-3",
      (world:worker(fetched.provider)(world:asking { tenant = "fabrikam" }))
    )
  end)

  it("is not needed when the store fails", function()
    for _, fail in ipairs {
      function()
        return nil, "away"
      end,
      function()
        error "broken"
      end,
      function() end,
    } do
      world:replace { add = fail, get = fail, set = fail, delete_if = fail }
      local fetched = token_store.source()
      local provide = world:worker(fetched.provider)
      assert.are.equal("token-1", (provide(world:asking())))
      assert.are.equal("token-1", (provide(world:asking())))
    end
  end)
end)
