-- A token in a store: fetched once for all workers.

local token_store = require "support.token_store"
local turns = require "support.turns"

local world

before_each(function()
  world = token_store.new()
end)

describe("a token in a store", function()
  it("is fetched once for all workers", function()
    local fetched = token_store.source()
    for _ = 1, 5 do
      local token, expires_in = world:worker(fetched.provider)(world:asking())
      assert.are.equal("token-1", token)
      assert.is_true(expires_in > 3598 and expires_in <= 3600)
    end
    assert.are.equal(1, fetched.count)
  end)

  it("is separate for another tenant, cloud, scope or identity", function()
    local fetched = token_store.source()
    world:worker(fetched.provider)(world:asking())
    for _, other in ipairs { { tenant = "fabrikam" }, { cloud = "china" }, { scope = "other" } } do
      world:worker(fetched.provider)(world:asking(other))
    end
    world:worker(fetched.provider, { identity = "another" })(world:asking())
    assert.are.equal(5, fetched.count)
    world:worker(fetched.provider)(world:asking { tenant = "CONTOSO" })
    assert.are.equal(5, fetched.count)
  end)

  it("is not returned when too little of its life is left", function()
    local fetched = token_store.source()
    world:worker(fetched.provider)(world:asking())
    world.time = world.time + 3301
    assert.are.equal("token-2", (world:worker(fetched.provider)(world:asking())))
  end)

  it("is renewed early once for all, and stays in use if that fails", function()
    local fetched = token_store.source(3600, { refresh_in = 1800 })
    world:worker(fetched.provider)(world:asking())
    world.time = world.time + 1801
    fetched.fails = true
    assert.are.equal("token-1", (world:worker(fetched.provider)(world:asking())))
    fetched.fails = false
    assert.are.equal("token-3", (world:worker(fetched.provider)(world:asking())))
    assert.are.equal("token-3", (world:worker(fetched.provider)(world:asking())))
    assert.are.equal(3, fetched.count)
  end)

  it("stays in use for half a minute before a failed renewal is tried again", function()
    local fetched = token_store.source(3600, { refresh_in = 1800 })
    world:worker(fetched.provider)(world:asking())
    world.time = world.time + 1801
    fetched.fails = true
    local other = world:worker(fetched.provider)
    for _ = 1, 3 do
      assert.are.equal("token-1", (other(world:asking())))
    end
    assert.are.equal(2, fetched.count)
    world.time = world.time + 31
    assert.are.equal("token-1", (other(world:asking())))
    assert.are.equal(3, fetched.count)
  end)

  it("is dropped when the service refused it", function()
    local fetched = token_store.source()
    local one, other = world:worker(fetched.provider), world:worker(fetched.provider)
    one(world:asking())
    other(world:asking())
    assert.are.equal("token-2", (one(world:asking { refresh = true, refused = "token-1" })))
    -- The other worker's service refuses it too: there is a new one by now.
    assert.are.equal("token-2", (other(world:asking { refresh = true, refused = "token-1" })))
    assert.are.equal(2, fetched.count)
  end)

  it("is dropped when a token was refused, even if it is unknown which", function()
    local fetched = token_store.source()
    world:worker(fetched.provider)(world:asking())
    assert.are.equal("token-2", (world:worker(fetched.provider)(world:asking { refresh = true })))
    assert.are.equal("token-2", (world:worker(fetched.provider)(world:asking())))
  end)

  it("answers a claims challenge only if it was fetched for it", function()
    local fetched = token_store.source()
    world:worker(fetched.provider)(world:asking())
    local challenged = world:asking { refresh = true, refused = "token-1", claims = "{}" }
    assert.are.equal("token-2", (world:worker(fetched.provider)(challenged)))
    assert.are.equal("token-2", (world:worker(fetched.provider)(challenged)))
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
    local ask = world:asking {
      sleep = function()
        coroutine.yield()
      end,
    }
    for number = 1, 10 do
      threads[number] = coroutine.create(function()
        got[number] = world:worker(slow)(ask)
      end)
    end
    local rounds = 0
    while turns.take(threads) do
      rounds, world.time = rounds + 1, world.time + 0.01
      assert(rounds < 10000, "nobody comes to an end")
    end
    assert.are.equal(1, fetched)
    assert.are.equal(("token-1 "):rep(10), table.concat(got, " ") .. " ")
  end)

  --- A worker that has begun to fetch, and never goes on.
  local function die_fetching()
    local died = coroutine.create(function()
      world:worker(function()
        coroutine.yield()
      end)(world:asking())
    end)
    assert(coroutine.resume(died))
  end

  it("is fetched by another if the process that fetched it has died, or failed", function()
    local fetched = token_store.source()
    die_fetching()
    local began = world.time
    assert.are.equal("token-1", (world:worker(fetched.provider)(world:asking())))
    assert.is_true(world.time - began < 80)

    local failing = world:worker(function()
      error "broken"
    end)
    assert.is_nil(failing(world:asking { tenant = "fabrikam" }))
    began = world.time
    assert.are.equal(
      "token-2",
      (world:worker(fetched.provider)(world:asking { tenant = "fabrikam" }))
    )
    assert.are.equal(began, world.time)
  end)

  it("is soon fetched by another if the process that fetched it died in a request", function()
    local fetched = token_store.source()
    local died = coroutine.create(function()
      world:worker(function(ask)
        ask.transport { timeout = { connect = 10, total = 30 } }
      end)(world:asking { transport = coroutine.yield })
    end)
    assert(coroutine.resume(died))
    local began = world.time
    local refused = world:asking { refresh = true, refused = "token-0" }
    assert.are.equal("token-1", (world:worker(fetched.provider)(refused)))
    assert.is_true(world.time - began < 36, world.time - began)
  end)

  it("stays in use while another renews it, even if that one has died", function()
    local fetched = token_store.source(3600, { refresh_in = 1800 })
    world:worker(fetched.provider)(world:asking())
    world.time = world.time + 1801
    die_fetching()
    local began = world.time
    assert.are.equal("token-1", (world:worker(fetched.provider)(world:asking())))
    assert.are.equal(began, world.time)
    world.time = world.time + 80
    assert.are.equal("token-2", (world:worker(fetched.provider)(world:asking())))
  end)

  it("stays in use if another begins to renew it at the same moment", function()
    local fetched = token_store.source(3600, { refresh_in = 1800 })
    world:worker(fetched.provider)(world:asking())
    world.time = world.time + 1801
    world:replace {
      add = function()
        return nil, "exists"
      end,
    }
    local began = world.time
    assert.are.equal("token-1", (world:worker(fetched.provider)(world:asking())))
    assert.are.equal(began, world.time)
    assert.are.equal(1, fetched.count)
  end)

  it("does not make a caller wait beyond its deadline, nor fetch after it", function()
    die_fetching()
    local began, fetched = world.time, token_store.source()
    local token, message = world:worker(fetched.provider)(world:asking {
      deadline = world.time + 3,
      -- The clock moves in steps of 1/1024 s, as no sleep ends too early: such numbers have no rounding errors.
      sleep = function(seconds)
        world.time = world.time + math.ceil(seconds * 1024) / 1024
      end,
    })
    assert.is_nil(token)
    assert.is_truthy(message:find("the deadline passed", 1, true), message)
    assert.are.same({ 3, 0 }, { world.time - began, fetched.count })
  end)
end)
