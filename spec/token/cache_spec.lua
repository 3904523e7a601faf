-- What is kept, and what goes when there is no room.

local Cache = require "autopilot.token.cache"

describe("the cache of tokens", function()
  it("finds what was opened, by tenant, cloud and scope together", function()
    local cache = Cache.new(100)
    local seen = {}
    for _, tenant in ipairs { "a", "b", "ab", "" } do
      for _, cloud in ipairs { "global", "china" } do
        for _, scope in ipairs { "x/.default", "y/.default" } do
          assert.is_nil(cache:find(tenant, cloud, scope))
          local entry = cache:open(tenant, cloud, scope)
          assert.is_nil(seen[entry])
          assert.is_nil(seen[entry.key])
          seen[entry], seen[entry.key] = true, true
          assert.equal(entry, cache:find(tenant, cloud, scope))
          assert.equal(entry, cache:open(tenant, cloud, scope))
        end
      end
    end
    assert.equal(16, cache.count)
  end)

  it("tells apart parts that run together when they are joined", function()
    local cache = Cache.new(100)
    assert.are_not.equal(cache:open("a", "bc", "d").key, cache:open("ab", "c", "d").key)
    assert.are_not.equal(cache:open("a\0b", "", "").key, cache:open("a", "\0b", "").key)
  end)

  it("knows what has no tenant, no cloud or no scope", function()
    local cache = Cache.new(100)
    local entry = cache:open(nil, nil, nil)
    assert.equal(entry, cache:find(nil, nil, nil))
    assert.is_nil(cache:find("a", nil, nil))
  end)

  it("holds no more than it may: what was not used for longest goes", function()
    local cache = Cache.new(3)
    for _, tenant in ipairs { "a", "b", "c" } do
      cache:open(tenant, "global", "x")
    end
    cache:find("a", "global", "x")
    cache:open("d", "global", "x")
    assert.equal(3, cache.count)
    assert.is_nil(cache:find("b", "global", "x"))
    for _, tenant in ipairs { "a", "c", "d" } do
      assert.is_truthy(cache:find(tenant, "global", "x"), tenant)
    end
  end)

  it("keeps nothing of what went, whatever scopes there were", function()
    local cache = Cache.new(2)
    for index = 1, 500 do
      cache:open("t" .. index, "c" .. index % 3, "s" .. index)
      assert.is_true(cache.count <= 2)
    end
    local spaces = 0
    for _ in pairs(cache.spaces) do
      spaces = spaces + 1
    end
    assert.equal(2, spaces)
    assert.equal(2, cache.count)
  end)

  it("works with room for one", function()
    local cache = Cache.new(1)
    cache:open("a", "global", "x")
    cache:open("b", "global", "x")
    assert.is_nil(cache:find("a", "global", "x"))
    assert.is_truthy(cache:find("b", "global", "x"))
    assert.equal(1, cache.count)
  end)

  it("uses up in the order of use, as a plain list would", function()
    local cache, list, seed = Cache.new(5), {}, 11
    local function model(tenant)
      for index, name in ipairs(list) do
        if name == tenant then
          table.remove(list, index)
        end
      end
      list[#list + 1] = tenant
      if #list > 5 then
        table.remove(list, 1)
      end
    end
    for _ = 1, 2000 do
      seed = (seed * 16807) % 2147483647
      local tenant = "t" .. seed % 9
      cache:open(tenant, "global", "x")
      model(tenant)
    end
    local kept, ring = {}, cache.ring
    local entry = ring.newer
    while entry ~= ring do
      kept[#kept + 1] = entry.tenant
      entry = entry.newer
    end
    assert.same(list, kept)
  end)
end)
