-- The order in which entries were last used.

local recency = require "autopilot.base.lru"

--- The names of a ring's entries, the one that was not used for longest first, read in both directions.
local function names_in(ring)
  local forwards, backwards = {}, {}
  local entry = ring.newer
  while entry ~= ring and #forwards < 10 do
    forwards[#forwards + 1] = entry.name
    entry = entry.newer
  end
  entry = ring.older
  while entry ~= ring and #backwards < 10 do
    table.insert(backwards, 1, entry.name)
    entry = entry.older
  end
  assert.same(forwards, backwards)
  return table.concat(forwards, " ")
end

describe("a ring of entries by their last use", function()
  local ring, entries

  before_each(function()
    ring, entries = recency.new(), {}
    for _, name in ipairs { "a", "b", "c" } do
      entries[name] = { name = name }
      recency.add(ring, entries[name])
    end
  end)

  it("is empty at first", function()
    local empty = recency.new()
    assert.equal("", names_in(empty))
    assert.equal(empty, empty.newer)
  end)

  it("has what was added last as the newest", function()
    assert.equal("a b c", names_in(ring))
    assert.equal(entries.a, ring.newer)
    assert.equal(entries.c, ring.older)
  end)

  it("makes what is touched the newest, wherever it was", function()
    recency.touch(ring, entries.a)
    assert.equal("b c a", names_in(ring))
    recency.touch(ring, entries.c)
    assert.equal("b a c", names_in(ring))
    recency.touch(ring, entries.c)
    assert.equal("b a c", names_in(ring))
  end)

  it("loses what is removed, and takes it again", function()
    recency.remove(entries.b)
    assert.equal("a c", names_in(ring))
    recency.add(ring, entries.b)
    assert.equal("a c b", names_in(ring))
    for _, entry in pairs(entries) do
      recency.remove(entry)
    end
    assert.equal("", names_in(ring))
  end)

  it("can hold one entry alone", function()
    recency.remove(entries.a)
    recency.remove(entries.c)
    recency.touch(ring, entries.b)
    assert.equal("b", names_in(ring))
  end)
end)
