-- A table with a limited number of entries: the least recently used entry goes first.

local Lru = require "autopilot.base.lru"

--- The keys of all entries, the least recently used first, read in both directions.
local function keys_in(lru)
  local forwards, backwards = {}, {}
  local entry = lru.newer
  while entry ~= lru and #forwards < 10 do
    forwards[#forwards + 1] = entry.key
    entry = entry.newer
  end
  entry = lru.older
  while entry ~= lru and #backwards < 10 do
    table.insert(backwards, 1, entry.key)
    entry = entry.older
  end
  assert.same(forwards, backwards)
  assert.equal(lru.count, #forwards)
  return table.concat(forwards, " ")
end

local function filled(max_entries, ...)
  local lru = Lru.new(max_entries)
  for _, key in ipairs { ... } do
    lru:add { key = key }
  end
  return lru
end

describe("a table of the most recently used entries", function()
  it("is empty at first", function()
    assert.equal("", keys_in(Lru.new(3)))
    assert.is_nil(Lru.new(3):find "a")
  end)

  it("finds what was added, which is the most recently used", function()
    local lru, entry = Lru.new(3), { key = "a" }
    lru:add(entry)
    lru:add { key = "b" }
    assert.equal("a b", keys_in(lru))
    assert.equal(entry, lru:find "a")
    assert.is_nil(lru:find "c")
  end)

  it("counts a found entry as just used, wherever it was", function()
    local lru = filled(3, "a", "b", "c")
    lru:find "a"
    assert.equal("b c a", keys_in(lru))
    lru:find "c"
    assert.equal("b a c", keys_in(lru))
    lru:find "c"
    assert.equal("b a c", keys_in(lru))
  end)

  it("replaces an entry by another with its key, even if it is full", function()
    local lru, entry = filled(3, "a", "b", "c"), { key = "a" }
    lru:add(entry)
    assert.equal("b c a", keys_in(lru))
    assert.equal(entry, lru:find "a")
  end)

  it("loses a removed entry, and accepts it again", function()
    local lru = filled(3, "a", "b", "c")
    local entry = lru:find "b"
    lru:remove(entry)
    assert.equal("a c", keys_in(lru))
    assert.is_nil(lru:find "b")
    lru:add(entry)
    assert.equal("a c b", keys_in(lru))
    for _, key in ipairs { "a", "b", "c" } do
      lru:remove(lru:find(key))
    end
    assert.equal("", keys_in(lru))
  end)

  it("is bounded: the least recently used entry is dropped", function()
    local lru = filled(3, "a", "b", "c")
    lru:find "a"
    lru:add { key = "d" }
    assert.equal("c a d", keys_in(lru))
    assert.is_nil(lru:find "b")
  end)

  it("works with room for one", function()
    local lru = filled(1, "a", "b")
    assert.equal("b", keys_in(lru))
  end)

  it("drops entries in the order of their use, as a plain list would", function()
    local lru, list, seed = Lru.new(5), {}, 11
    local function use_in_list(key)
      for index, name in ipairs(list) do
        if name == key then
          table.remove(list, index)
        end
      end
      list[#list + 1] = key
      if #list > 5 then
        table.remove(list, 1)
      end
    end
    for _ = 1, 2000 do
      seed = (seed * 16807) % 2147483647
      local key = "t" .. seed % 9
      if not lru:find(key) then
        lru:add { key = key }
      end
      use_in_list(key)
    end
    assert.equal(table.concat(list, " "), keys_in(lru))
  end)
end)
