local merged = require "autopilot.base.merged"

describe("autopilot.base.merged", function()
  it("makes a new table, in which later fields replace earlier ones", function()
    local first, second = { a = 1, b = 2 }, { b = 3, c = 4 }
    assert.same({ a = 1, b = 3, c = 4 }, merged(first, second))
    assert.same({ a = 1, b = 2 }, first)
    assert.same({ b = 3, c = 4 }, second)
  end)

  it("ignores nil arguments", function()
    assert.same({ a = 1, b = 2 }, merged({ a = 1 }, nil, { b = 2 }))
    assert.same({}, merged())
  end)
end)
