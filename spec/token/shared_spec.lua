-- Tokens in a store: fetched once for all workers, encrypted by default.

local cached = require "autopilot.token.cached"
local mistakes = require "support.mistakes"
local overlay = require "support.overlay"
local sealed_text = require "autopilot.token.sealed_text"
local stores = require "autopilot.store"
local turns = require "support.turns"

local key = ("k"):rep(32)
local time, store

local function now()
  return time
end

local function sleep(seconds)
  time = time + seconds
end

local function asking(given)
  local ask = {
    tenant = "contoso",
    cloud = "global",
    scope = "graph",
    refresh = false,
    now = now,
    sleep = sleep,
  }
  overlay(ask, given)
  return ask
end

--- Counts what a provider is asked; it gives `token-1`, `token-2`, …
local function source(expires_in, extra)
  local fetched = { count = 0 }
  function fetched.provider()
    fetched.count = fetched.count + 1
    if fetched.fails then
      return nil, "no token today"
    end
    return "token-" .. fetched.count, expires_in or 3600, extra
  end
  return fetched
end

--- A worker: a cache of its own before the store.
local function worker(provider, given)
  local options = overlay({ store = store, identity = "app", encryption_key = key }, given)
  return cached(provider, options)
end

--- All keys and values that were ever written.
local function spied(inner)
  local seen = {}
  local spy = {}
  for _, method in ipairs { "add", "get", "set", "delete_if" } do
    spy[method] = function(_, ...)
      for _, text in ipairs { ... } do
        seen[#seen + 1] = tostring(text)
      end
      return inner[method](inner, ...)
    end
  end
  return spy, seen
end

before_each(function()
  time = 1700000000.5
  store = stores.memory { now = now }
end)

describe("a token in a store", function()
  it("is fetched once for all workers", function()
    local fetched = source()
    for _ = 1, 5 do
      local token, expires_in = worker(fetched.provider)(asking())
      assert.are.equal("token-1", token)
      assert.is_true(expires_in > 3598 and expires_in <= 3600)
    end
    assert.are.equal(1, fetched.count)
  end)

  it("is another's for another tenant, cloud, scope or identity", function()
    local fetched = source()
    worker(fetched.provider)(asking())
    for _, other in ipairs { { tenant = "fabrikam" }, { cloud = "china" }, { scope = "other" } } do
      worker(fetched.provider)(asking(other))
    end
    worker(fetched.provider, { identity = "another" })(asking())
    assert.are.equal(5, fetched.count)
    worker(fetched.provider)(asking { tenant = "CONTOSO" })
    assert.are.equal(5, fetched.count)
  end)

  it("is not handed out when too little of its life is left", function()
    local fetched = source()
    worker(fetched.provider)(asking())
    time = time + 3301
    assert.are.equal("token-2", (worker(fetched.provider)(asking())))
  end)

  it("is renewed early once for all, and serves on while that fails", function()
    local fetched = source(3600, { refresh_in = 1800 })
    worker(fetched.provider)(asking())
    time = time + 1801
    fetched.fails = true
    assert.are.equal("token-1", (worker(fetched.provider)(asking())))
    fetched.fails = false
    assert.are.equal("token-3", (worker(fetched.provider)(asking())))
    assert.are.equal("token-3", (worker(fetched.provider)(asking())))
    assert.are.equal(3, fetched.count)
  end)

  it("serves for half a minute before a renewal that failed is tried again", function()
    local fetched = source(3600, { refresh_in = 1800 })
    worker(fetched.provider)(asking())
    time = time + 1801
    fetched.fails = true
    local other = worker(fetched.provider)
    for _ = 1, 3 do
      assert.are.equal("token-1", (other(asking())))
    end
    assert.are.equal(2, fetched.count)
    time = time + 31
    assert.are.equal("token-1", (other(asking())))
    assert.are.equal(3, fetched.count)
  end)

  it("is dropped when the service refused it", function()
    local fetched = source()
    local one, other = worker(fetched.provider), worker(fetched.provider)
    one(asking())
    other(asking())
    assert.are.equal("token-2", (one(asking { refresh = true, refused = "token-1" })))
    -- The other worker's service refuses it too: there is a new one by now.
    assert.are.equal("token-2", (other(asking { refresh = true, refused = "token-1" })))
    assert.are.equal(2, fetched.count)
  end)

  it("is dropped when a token was refused, even if it is not said which", function()
    local fetched = source()
    worker(fetched.provider)(asking())
    assert.are.equal("token-2", (worker(fetched.provider)(asking { refresh = true })))
    assert.are.equal("token-2", (worker(fetched.provider)(asking())))
  end)

  it("answers a claims challenge only when it was fetched for that", function()
    local fetched = source()
    worker(fetched.provider)(asking())
    local challenged = asking { refresh = true, refused = "token-1", claims = "{}" }
    assert.are.equal("token-2", (worker(fetched.provider)(challenged)))
    assert.are.equal("token-2", (worker(fetched.provider)(challenged)))
    assert.are.equal(2, fetched.count)
  end)

  it("is fetched by one while the others wait", function()
    local fetched, threads, got = 0, {}, {}
    local function slow()
      fetched = fetched + 1
      for _ = 1, 20 do
        coroutine.yield()
      end
      return "token-" .. fetched, 3600
    end
    local ask = asking {
      sleep = function()
        coroutine.yield()
      end,
    }
    for number = 1, 10 do
      threads[number] = coroutine.create(function()
        got[number] = worker(slow)(ask)
      end)
    end
    local rounds = 0
    while turns.take(threads) do
      rounds, time = rounds + 1, time + 0.01
      assert(rounds < 10000, "nobody comes to an end")
    end
    assert.are.equal(1, fetched)
    assert.are.equal(("token-1 "):rep(10), table.concat(got, " ") .. " ")
  end)

  --- A worker that has begun to fetch, and never goes on.
  local function die_fetching()
    local died = coroutine.create(function()
      worker(function()
        coroutine.yield()
      end)(asking())
    end)
    assert(coroutine.resume(died))
  end

  it("is fetched by another when who fetched it has died, or failed", function()
    local fetched = source()
    die_fetching()
    local began = time
    assert.are.equal("token-1", (worker(fetched.provider)(asking())))
    assert.is_true(time - began < 80)

    local failing = worker(function()
      error "broken"
    end)
    assert.is_nil(failing(asking { tenant = "fabrikam" }))
    began = time
    assert.are.equal("token-2", (worker(fetched.provider)(asking { tenant = "fabrikam" })))
    assert.are.equal(began, time)
  end)

  it("serves on while another renews it, even if that one has died", function()
    local fetched = source(3600, { refresh_in = 1800 })
    worker(fetched.provider)(asking())
    time = time + 1801
    die_fetching()
    local began = time
    assert.are.equal("token-1", (worker(fetched.provider)(asking())))
    assert.are.equal(began, time)
    time = time + 80
    assert.are.equal("token-2", (worker(fetched.provider)(asking())))
  end)

  it("does not make a caller wait beyond its deadline", function()
    die_fetching()
    local began = time
    local seen
    worker(function(ask)
      seen = ask.now() - began
      return nil, "no time left"
    end)(asking {
      deadline = time + 3,
      -- The clock moves in steps of 1/1024 s, as no sleep ends too early: such numbers have no rounding errors.
      sleep = function(seconds)
        time = time + math.ceil(seconds * 1024) / 1024
      end,
    })
    assert.are.equal(3, seen)
  end)
end)

describe("what is in the store", function()
  it("is neither the token nor the key", function()
    local seen
    store, seen = spied(store)
    local function provider()
      return "eyJ-a-very-secret-token", 3600
    end
    assert.are.equal("eyJ-a-very-secret-token", (worker(provider)(asking())))
    assert.are.equal("eyJ-a-very-secret-token", (worker(provider)(asking())))
    local all = table.concat(seen, "\n")
    assert.is_nil(all:find("secret-token", 1, true))
    assert.is_nil(all:find(key, 1, true))
  end)

  it("is the token itself only with share = 'plain'", function()
    local seen
    store, seen = spied(store)
    local fetched = source()
    local options = { store = store, identity = "app", share = "plain" }
    assert.are.equal("token-1", (cached(fetched.provider, options)(asking())))
    assert.are.equal("token-1", (cached(fetched.provider, options)(asking())))
    assert.is_truthy(table.concat(seen, "\n"):find("token-1", 1, true))
  end)

  it("is nothing when tokens are to be kept out", function()
    local seen
    store, seen = spied(store)
    local fetched = source()
    assert.are.equal("token-1", (worker(fetched.provider, { share = false })(asking())))
    assert.are.same({}, seen)
  end)

  --- The token of a worker whose store has this value for every key but those of claims.
  local function token_beside(value, given)
    local real = stores.memory { now = now }
    store = {
      get = function(_, name)
        return name:find ":claim$" and real:get(name) or value
      end,
    }
    for _, method in ipairs { "add", "set", "delete_if" } do
      store[method] = function(_, ...)
        return real[method](real, ...)
      end
    end
    return (worker(source().provider, given)(asking()))
  end

  it("is ignored when it does not open, or is no token", function()
    local values = { "", "x", "\1" .. ("x"):rep(200), '{"token":"evil","obtained_at":1}', "{}" }
    for _, value in ipairs(values) do
      assert.are.equal("token-1", token_beside(value))
    end
  end)

  it("is ignored when it is plain, and not what a worker writes", function()
    local good = '{"token":"good","obtained_at":1700000000%s}'
    assert.are.equal("good", token_beside(good:format "", { share = "plain" }))
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
      assert.are.equal("token-1", token_beside(value, { share = "plain" }), value)
    end
  end)

  it("is ignored when another key sealed it, or it was moved to another place", function()
    local fetched = source()
    worker(fetched.provider)(asking())
    local other = { encryption_key = ("o"):rep(32) }
    assert.are.equal("token-2", (worker(fetched.provider, other)(asking())))

    local real = store
    store = {
      get = function(_, name)
        return real:get((name:gsub("fabrikam", "contoso")))
      end,
    }
    for _, method in ipairs { "add", "set", "delete_if" } do
      store[method] = function(_, ...)
        return real[method](real, ...)
      end
    end
    assert.are.equal("token-3", (worker(fetched.provider)(asking { tenant = "fabrikam" })))
  end)

  it("does not matter when the store fails", function()
    for _, fail in ipairs {
      function()
        return nil, "away"
      end,
      function()
        error "broken"
      end,
      function() end,
    } do
      store = { add = fail, get = fail, set = fail, delete_if = fail }
      local fetched = source()
      local provide = worker(fetched.provider)
      assert.are.equal("token-1", (provide(asking())))
      assert.are.equal("token-1", (provide(asking())))
    end
  end)
end)

describe("a text that is sealed", function()
  local sealing = assert(sealed_text.new(key))

  it("opens with the same key, for the same context", function()
    for _, text in ipairs { "", "x", "\0\255", ("long "):rep(1000) } do
      local sealed = sealing:seal("here", text)
      assert.are.equal(text, sealing:open("here", sealed))
      assert.is_nil(sealing:open("there", sealed))
      assert.is_nil(sealed_text.new(("z"):rep(32)):open("here", sealed))
    end
  end)

  it("is never the same twice", function()
    assert.are_not.equal(sealing:seal("here", "text"), sealing:seal("here", "text"))
  end)

  it("does not open when a single bit of it was changed", function()
    local sealed = sealing:seal("here", "text")
    for place = 1, #sealed do
      local byte = sealed:byte(place)
      local other = string.char(byte % 2 == 0 and byte + 1 or byte - 1)
      local changed = sealed:sub(1, place - 1) .. other .. sealed:sub(place + 1)
      assert.is_nil(sealing:open("here", changed), place)
      assert.is_nil(sealing:open("here", sealed:sub(1, place - 1)), place)
    end
  end)
end)

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
        "option 'store' needs option 'encryption_key', or share = 'plain'",
      },
      {
        { store = stores.memory(), identity = "app", encryption_key = "password" },
        "option 'encryption_key' must have at least 32 random bytes",
      },
      { { store = {} }, "option 'store' must have a method 'add'" },
      { { share = true }, "option 'share' must be 'plain' or false" },
    } do
      local message = mistake(case[1])
      assert.is_truthy(message:find(case[2], 1, true), message)
      assert.is_truthy(message:find("shared_spec.lua:", 1, true), message)
      assert.is_nil(message:find("password", 1, true))
    end
  end)

  it("say what to install where luaossl is missing", function()
    local loaded, preload = package.loaded["openssl.cipher"], package.preload["openssl.cipher"]
    package.loaded["openssl.cipher"] = nil
    package.preload["openssl.cipher"] = function()
      error "not there"
    end
    local given = { store = stores.memory(), identity = "app", encryption_key = key }
    local ok, message = pcall(mistake, given)
    package.loaded["openssl.cipher"], package.preload["openssl.cipher"] = loaded, preload
    assert(ok, message)
    assert.is_truthy(message:find("needs luaossl, which is not installed", 1, true), message)
  end)

  it("go for a provider that has a cache already, without a second one", function()
    local fetched = source()
    local provider = cached(fetched.provider)
    assert.are.equal(provider, cached(provider))
    assert.are.equal("token-1", (worker(provider)(asking())))
    assert.are.equal("token-1", (worker(provider)(asking())))
    assert.are.equal("token-2", (provider(asking())))
  end)
end)
